"""Calls as the learner gets them, events over broken connections, and errors, against a learner that is no learner."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timezone
from pathlib import Path
from typing import Any

import anytime_client.client as client_module
import grpc
import pytest
from anytime_client import AnytimeError, Client, ErrorInfo, Event, Job, Violation, v1
from anytime_client.report import make_report
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2 as rpc
from google.rpc import status_pb2

from conftest import FakeLearner

JOB = {"name": "job", "kind": "train", "model": {"path": "m"}, "data": {"path": "p"}, "training": {"steps": 3}}


def job_message(state: str = "RUNNING", **rest: Any) -> v1.Job:
    message = v1.Job(id="job", state=v1.JobState.Value(f"JOB_STATE_{state}"), **rest)
    message.spec.name = "job"
    message.spec.kind = v1.JOB_KIND_TRAIN
    message.spec.training.steps = 3
    return message


def state_event(number: int, state: str, **rest: Any) -> v1.JobEvent:
    change = v1.StateChanged(state=v1.JobState.Value(f"JOB_STATE_{state}"), **rest)
    return v1.JobEvent(number=number, time=Timestamp(seconds=number), state=change)


def step_event(number: int, step: int, rewards: tuple[float, ...] = (0.5, 0.75)) -> v1.JobEvent:
    metrics = v1.StepMetrics(step=step, reward_per_budget=rewards, step_seconds=2.0, generated_tokens_per_second=10.0)
    metrics.account.trained.add(sequence=step)
    return v1.JobEvent(number=number, time=Timestamp(seconds=number), step=metrics)


EVENTS = [state_event(1, "QUEUED"), state_event(2, "RUNNING"), step_event(3, 1), step_event(4, 2), state_event(5, "SUCCEEDED")]


def after(events: list[v1.JobEvent], number: int) -> list[v1.JobEvent]:
    return [event for event in events if event.number > number]


def refused(learner: FakeLearner, name: str, code: grpc.StatusCode, details: str, setting: str | None = None) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> None:
        if setting:
            context.set_trailing_metadata((("anytime-setting", setting),))
        context.abort(code, details)

    learner.on[name] = refuse


def test_every_method_of_the_service_is_called_with_a_deadline(learner: FakeLearner, client: Client) -> None:
    left: dict[str, float] = {}

    def answering(name: str, answer: Any) -> Any:
        def answer_it(_: Any, context: grpc.ServicerContext) -> Any:
            left[name] = context.time_remaining()
            return answer

        return answer_it

    answers = {
        "Submit": job_message(),
        "Check": v1.JobCheck(parameters=5),
        "Get": job_message(),
        "List": v1.ListJobsResponse(),
        "Delete": v1.DeleteJobResponse(models=["final"]),
        "Cancel": job_message("CANCELLED"),
        "Resume": job_message("QUEUED"),
        "Export": v1.ExportJobResponse(step=2, directory="d"),
        "Watch": iter([state_event(1, "SUCCEEDED")]),
        "Account": v1.JobAccount(last_event=1),
        "ListDeadLetters": v1.ListDeadLettersResponse(letters=[v1.DeadLetter(sequence=3)]),
        "GetDeadLetter": v1.GetDeadLetterResponse(group=v1.ScoredGroup(group_id="g").SerializeToString()),
        "ReplayDeadLetters": v1.ReplayDeadLettersResponse(replayed=[3]),
        "Generations": v1.GenerationsResponse(problems=['{"id": "a"}']),
    }
    learner.on = {name: answering(name, answer) for name, answer in answers.items()}
    assert client.submit(JOB).id == "job"
    assert client.check(JOB)["parameters"] == 5
    assert client.status("job").state == "running"
    assert client.jobs() == []
    assert client.delete("job", with_models=True) == ["final"]
    assert client.cancel("job").state == "cancelled"
    assert client.resume("job").state == "queued"
    assert client.export("job", step=2) == (2, "d")
    assert client.account("job")["last_event"] == 1
    assert client.dead_letters("job")[0]["sequence"] == 3
    group = client.dead_group("job", 3)
    assert group is not None and group.group_id == "g"
    assert client.replay_dead_letters("job", [3])["replayed"] == [3]
    assert client.generations("job") == [{"id": "a"}]
    learner.on["Get"] = answering("Get", job_message("SUCCEEDED"))
    assert [event.kind for event in client.watch("job")] == ["state"]
    assert set(left) == {method.name for method in v1.job_pb2.DESCRIPTOR.services_by_name["JobService"].methods}
    assert all(0 < seconds <= client_module.EXPORT * 1.01 for seconds in left.values()), left


def test_a_submission_is_repeated_with_its_request_id(learner: FakeLearner, client: Client) -> None:
    tries = []

    def submit(request: Any, context: grpc.ServicerContext) -> v1.Job:
        tries.append(request.request_id)
        if len(tries) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
        return job_message("QUEUED")

    learner.on["Submit"] = submit
    job = client.submit(JOB, changes={"training.steps": 7})
    assert job.state == "queued" and len(tries) == 3 and len(set(tries)) == 1
    assert learner.requests[-1][1].spec.training.steps == 7
    client.submit(JOB, request_id="mine")
    assert tries[-1] == "mine" and tries[0] != "mine"


def test_errors_have_code_field_and_reason(learner: FakeLearner, client: Client) -> None:
    reason = "training.steps is 0; it must be 1 or more"
    refused(learner, "Submit", grpc.StatusCode.INVALID_ARGUMENT, reason, "training.steps")
    with pytest.raises(AnytimeError) as caught:
        client.submit(JOB)
    error = caught.value
    assert (error.code, error.field, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "training.steps", reason)
    assert str(error) == f"{reason} (INVALID_ARGUMENT)" and learner.names() == ["Submit"]
    refused(learner, "Get", grpc.StatusCode.NOT_FOUND, "job `x` does not exist")
    with pytest.raises(AnytimeError, match="does not exist") as caught:
        client.status("x")
    assert caught.value.field is None and not caught.value.is_unreachable
    # Refused before anything is sent.
    with pytest.raises(AnytimeError) as caught:
        client.submit({"training": {"step": 1}})
    assert caught.value.field == "training.step" and learner.names() == ["Submit", "Get"]


def packed(*details: Any, code: int = 3, message: str = "") -> bytes:
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    encoded: bytes = status.SerializeToString()
    return encoded


def answered(learner: FakeLearner, code: grpc.StatusCode, details: bytes, sentence: str = "no") -> AnytimeError:
    def refuse(_: Any, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(code, sentence)

    learner.on["Get"] = refuse
    with Client(learner.address) as client, pytest.raises(AnytimeError) as caught:
        client.status("x")
    return caught.value


def test_errors_have_the_details_that_the_learner_sends(learner: FakeLearner) -> None:
    violations = [rpc.BadRequest.FieldViolation(field=name, description=f"{name} is 0") for name in ("a.b", "c")]
    info = rpc.ErrorInfo(reason="SETTING_REFUSED", domain="anytime", metadata={"setting": "a.b"})
    retry = rpc.RetryInfo()
    retry.retry_delay.FromMilliseconds(2500)
    resource = rpc.ResourceInfo(resource_type="anytime.v1.Job", resource_name="x")
    unknown = rpc.Help(links=[rpc.Help.Link(url="https://example.org")])
    sent = packed(rpc.BadRequest(field_violations=violations), info, unknown, retry, resource)
    error = answered(learner, grpc.StatusCode.INVALID_ARGUMENT, sent)
    assert error.violations == [Violation("a.b", "a.b is 0"), Violation("c", "c is 0")]
    assert error.info == ErrorInfo("SETTING_REFUSED", {"setting": "a.b"})
    assert error.retry_after == 2.5 and error.resource == ("anytime.v1.Job", "x")


def test_details_that_are_none_are_left_out(learner: FakeLearner) -> None:
    foreign = packed(rpc.ErrorInfo(reason="STOCKOUT", domain="example.org"))
    torn = status_pb2.Status()
    torn.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\x01garbage")
    for sent in (b"", b"\xff\x01garbage", foreign, torn.SerializeToString()):
        error = answered(learner, grpc.StatusCode.NOT_FOUND, sent, "not here")
        assert error.reason == "not here" and error.info is None and error.violations == [], sent
        assert error.retry_after is None and error.resource is None


def test_a_setting_that_this_package_refuses_is_a_violation(client: Client) -> None:
    with pytest.raises(AnytimeError) as caught:
        client.submit({"training": {"step": 1}})
    (violation,) = caught.value.violations
    assert (violation.field, violation.description) == ("training.step", caught.value.reason)


def test_a_submission_that_finds_the_learner_busy_comes_again_when_it_says(learner: FakeLearner, client: Client) -> None:
    retry = rpc.RetryInfo()
    retry.retry_delay.FromMilliseconds(20)
    busy = [packed(retry), packed(retry)]

    def submit(_: Any, context: grpc.ServicerContext) -> v1.Job:
        if busy:
            context.set_trailing_metadata((("grpc-status-details-bin", busy.pop()),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "there are 1024 already")
        return job_message("QUEUED")

    learner.on["Submit"] = submit
    assert client.submit(JOB).state == "queued" and len(learner.names()) == 3
    refused(learner, "Submit", grpc.StatusCode.RESOURCE_EXHAUSTED, "it says nothing of a later time")
    with pytest.raises(AnytimeError):
        client.submit(JOB)
    assert len(learner.names()) == 4


def test_a_learner_that_is_away_is_unavailable(learner: FakeLearner, client: Client) -> None:
    learner.stop()
    with pytest.raises(AnytimeError, match="cannot be reached") as caught:
        client.status("job")
    assert caught.value.is_unreachable and learner.address in caught.value.reason


def test_a_learner_that_hangs_is_late(
    learner: FakeLearner, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_: Any) -> v1.Job:
        released.wait(10)
        return job_message()

    monkeypatch.setattr(client_module, "CALL", 0.2)
    learner.on["Get"] = hang
    with pytest.raises(AnytimeError) as caught:
        client.status("job")
    released.set()
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED and caught.value.is_unreachable


def test_the_learner_is_asked_for_some_jobs_only(learner: FakeLearner, client: Client) -> None:
    jobs = [v1.Job(id=f"job-{index}") for index in range(3)]
    learner.on["List"] = lambda *_: v1.ListJobsResponse(jobs=jobs)
    found = client.jobs(states=["queued", "failed"], labels={"team": "math"}, name="r1-*", limit=2)
    assert [job.id for job in found] == ["job-0", "job-1"]
    request = learner.requests[-1][1]
    assert list(request.states) == [v1.JobState.JOB_STATE_QUEUED, v1.JobState.JOB_STATE_FAILED]
    assert (dict(request.labels), request.name) == ({"team": "math"}, "r1-*")
    with pytest.raises(AnytimeError, match="states holds 'asleep'"):
        client.jobs(states=["asleep"])


def test_a_job_says_what_it_waits_for_and_what_it_started_from(learner: FakeLearner, client: Client) -> None:
    message = job_message("QUEUED")
    message.spec.priority = -3
    message.spec.labels["team"] = "math"
    message.forked_from.job_id, message.forked_from.step = "other", 20
    message.waiting.reason = "position 2 of 3 on cuda:0; waits for job a, which is running"
    learner.on["Get"] = lambda *_: message
    job = client.status("job")
    assert (job.priority, job.labels, job.forked_from) == (-3, {"team": "math"}, ("other", 20))
    assert job.waits_for.startswith("position 2 of 3") and "position 2 of 3" in job._repr_html_()
    assert make_report(job, [])["forked_from"]["step"] == 20


def test_pages_follow_each_other(learner: FakeLearner, client: Client) -> None:
    def page(request: Any, _: grpc.ServicerContext) -> v1.ListJobsResponse:
        first = int(request.page_token or 0)
        jobs = [v1.Job(id=f"job-{number}") for number in range(first, min(first + request.page_size, 5))]
        return v1.ListJobsResponse(jobs=jobs, next_page_token=str(first + 2) if first + 2 < 5 else "")

    learner.on["List"] = page
    assert [[job.id for job in jobs] for jobs in client.pages(2)] == [["job-0", "job-1"], ["job-2", "job-3"], ["job-4"]]
    learner.on["List"] = lambda *_: v1.ListJobsResponse(jobs=[v1.Job(id="a")])
    assert [job.id for job in client.jobs()] == ["a"]


def test_events_go_on_behind_the_last_one_when_the_learner_was_away(learner: FakeLearner, client: Client) -> None:
    asked: list[int] = []
    ended = threading.Event()

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[v1.JobEvent]:
        asked.append(request.after)
        if len(asked) == 1:
            yield from EVENTS[:3]
            # Until the connection breaks.
            while context.is_active():
                time.sleep(0.01)
        elif len(asked) == 2:
            yield EVENTS[3]
            context.abort(grpc.StatusCode.UNAVAILABLE, "the learner is shutting down")
        else:
            ended.set()
            # A learner that sends what was seen is no reason to see it twice.
            yield from after(EVENTS, request.after - 1)

    learner.on["Watch"] = watch
    learner.on["Get"] = lambda *_: job_message("SUCCEEDED" if ended.is_set() else "RUNNING")
    seen: list[Event] = []
    for event in client.watch("job"):
        seen.append(event)
        if event.number == 3:
            learner.stop()
            threading.Timer(0.3, learner.restart).start()
    assert [event.number for event in seen] == [1, 2, 3, 4, 5]
    assert asked == [0, 3, 4]
    assert [event.kind for event in seen] == ["state", "state", "step", "step", "state"]


def test_a_silent_stream_is_opened_again(learner: FakeLearner, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[v1.JobEvent]:
        asked.append(request.after)
        if len(asked) < 3:
            yield from after(EVENTS[:2], request.after)
            while context.is_active():
                time.sleep(0.01)
            return
        yield from after(EVENTS, request.after)

    monkeypatch.setattr(client_module, "STREAM", 0.3)
    learner.on["Watch"] = watch
    learner.on["Get"] = lambda *_: job_message("SUCCEEDED" if len(asked) == 3 else "RUNNING")
    assert [event.number for event in client.watch("job")] == [1, 2, 3, 4, 5]
    assert asked == [0, 2, 2]


def test_a_learner_that_stays_away_is_given_up(learner: FakeLearner) -> None:
    learner.on["Watch"] = lambda *_: iter(EVENTS[:2])
    learner.on["Get"] = lambda *_: job_message("RUNNING")
    with Client(learner.address, patience=0.5) as client:
        events = client.watch("job")
        next(events), next(events)
        learner.stop()
        with pytest.raises(AnytimeError) as caught:
            list(events)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_streams_that_never_last_are_given_up(learner: FakeLearner) -> None:
    refused(learner, "Watch", grpc.StatusCode.INTERNAL, "it broke")
    learner.on["Get"] = lambda *_: job_message("RUNNING")
    with Client(learner.address, patience=0.5) as client, pytest.raises(AnytimeError, match="it broke") as caught:
        list(client.watch("job"))
    assert caught.value.code is grpc.StatusCode.INTERNAL


def test_an_unknown_job_is_not_waited_for(learner: FakeLearner, client: Client) -> None:
    refused(learner, "Watch", grpc.StatusCode.NOT_FOUND, "job `x` does not exist")
    refused(learner, "Get", grpc.StatusCode.NOT_FOUND, "job `x` does not exist")
    with pytest.raises(AnytimeError, match="does not exist"):
        list(client.watch("x"))


def test_a_job_that_waits_for_a_person_is_followed_no_further(learner: FakeLearner, client: Client) -> None:
    retry = Timestamp(seconds=100)
    events = [state_event(1, "PAUSED", retry_at=retry), state_event(2, "RUNNING"), state_event(3, "PAUSED", error="no model")]

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[v1.JobEvent]:
        yield from after(events, request.after)
        while context.is_active():
            time.sleep(0.01)

    learner.on["Watch"] = watch
    learner.on["Get"] = lambda *_: job_message("PAUSED", error="no model")
    shown: list[str] = []
    job = client.wait("job", lambda event: shown.append(str(event)))
    assert shown == ["paused", "running", "paused: no model"]
    assert job.waits_for_person and not job.has_ended and job.error == "no model"
    assert not Job(job_message("PAUSED", retry_at=retry)).waits_for_person


def test_whoever_stops_watching_ends_the_stream(learner: FakeLearner, client: Client) -> None:
    ended = threading.Event()

    def watch(_: Any, context: grpc.ServicerContext) -> Iterator[v1.JobEvent]:
        context.add_callback(ended.set)
        yield EVENTS[0]
        while context.is_active():
            time.sleep(0.01)

    learner.on["Watch"] = watch
    for _ in client.watch("job"):
        break
    assert ended.wait(5)


def test_resuming_with_changes_keeps_the_other_settings(learner: FakeLearner, client: Client) -> None:
    learner.on["Get"] = lambda *_: job_message("PAUSED")
    learner.on["Resume"] = lambda *_: job_message("QUEUED")
    client.resume("job")
    assert not learner.requests[-1][1].HasField("spec")
    client.resume("job", changes={"training.steps": 9})
    spec = learner.requests[-1][1].spec
    assert (spec.name, spec.training.steps) == ("job", 9)


def test_a_token_is_shown_and_read_again(learner: FakeLearner, tmp_path: Path) -> None:
    learner.on["Get"] = lambda *_: job_message()
    file = tmp_path / "token"
    file.write_text("a" * 32 + "\n", encoding="utf-8")
    with Client(learner.address, token_file=file) as client:
        client.status("job")
        file.write_text("b" * 40, encoding="utf-8")
        client.status("job")
        file.write_text("no token", encoding="utf-8")
        client.status("job")
        file.unlink()
        client.status("job")
    shown = [metadata["authorization"] for _, _, metadata in learner.requests]
    assert shown == ["Bearer " + "a" * 32] + ["Bearer " + "b" * 40] * 3


def test_without_a_token_none_is_shown(learner: FakeLearner, client: Client) -> None:
    learner.on["Get"] = lambda *_: job_message()
    client.status("job")
    assert "authorization" not in learner.requests[0][2]


@pytest.mark.parametrize("address", ["http://learner:7100", "learner:7100", "http://10.0.0.1", "http://localhost.example.com"])
def test_a_token_does_not_travel_in_the_clear(address: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 32, encoding="utf-8")
    with pytest.raises(AnytimeError, match="unencrypted") as caught:
        Client(address, token_file=file)
    assert caught.value.field == "token_file" and "aaa" not in str(caught.value)
    Client(address, token_file=file, insecure=True).close()
    for here in ("http://localhost:1", "http://127.8.0.1:1", "http://[::1]:1", "http://[::ffff:127.0.0.1]:1"):
        Client(here, token_file=file).close()


def test_arguments_that_cannot_be_are_named(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("abc", encoding="utf-8")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"address": "ftp://learner"}, "address"),
        ({"address": "http://learner:port"}, "address"),
        ({"address": "https://learner", "tls_ca": tmp_path / "none"}, "tls_ca"),
        ({"token_file": tmp_path / "none"}, "token_file"),
        ({"token_file": short}, "token_file"),
        ({"tls_cert": short}, "tls_cert"),
    ]
    for arguments, field in cases:
        with pytest.raises(AnytimeError) as caught:
            Client(**arguments)
        assert caught.value.field == field, caught.value
        assert "abc" not in str(caught.value)


def test_what_is_left_out_comes_from_the_environment(
    learner: FakeLearner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 32, encoding="utf-8")
    assert Client().address == "http://127.0.0.1:7100"
    monkeypatch.setenv("ANYTIME_LEARNER", learner.host)
    monkeypatch.setenv("ANYTIME_TOKEN_FILE", str(file))
    learner.on["Get"] = lambda *_: job_message()
    with Client() as client:
        assert client.address == learner.address and client.status("job").id == "job"
    assert "authorization" in learner.requests[0][2]
    for value, is_insecure in (("1", True), ("true", True), ("0", False), ("off", False), ("", False)):
        monkeypatch.setenv("ANYTIME_INSECURE", value)
        if is_insecure:
            Client("http://learner").close()
        else:
            with pytest.raises(AnytimeError):
                Client("http://learner")


def test_a_job_shows_itself(learner: FakeLearner, client: Client) -> None:
    message = job_message("FAILED", error="<b>disk</b>\nmore", step=2, total_steps=3, created=Timestamp(seconds=5))
    message.evaluations.add(step=0, budgets=[1, 2], accuracy=[0.25, 0.5], anytime=0.375)
    learner.on["Get"] = lambda *_: message
    learner.on["List"] = lambda *_: v1.ListJobsResponse(jobs=[message])
    job = client.status("job")
    assert repr(job) == "<Job job (train) failed, step 2 of 3: <b>disk</b>\nmore>"
    html = job._repr_html_()
    assert "&lt;b&gt;disk" in html and "<b>" not in html and "1: 0.250, 2: 0.500" in html
    assert job.created is not None and job.created.tzinfo is timezone.utc and job.started is None
    table = client.jobs()._repr_html_()
    assert "&lt;b&gt;disk" in table and "more" not in table and "2/3" in table
    values = job.to_dict()
    assert (values["state"], values["kind"], values["created"]) == ("failed", "train", "1970-01-01T00:00:05Z")
    assert values["retry_at"] is None and values["spec"]["training"] == {"steps": 3}
    assert job.settings["kind"] == "train"


def test_an_event_of_a_newer_learner_is_no_error(learner: FakeLearner, client: Client) -> None:
    learner.on["Watch"] = lambda *_: iter([v1.JobEvent(number=1)])
    learner.on["Get"] = lambda *_: job_message("SUCCEEDED")
    (event,) = client.watch("job")
    assert (event.kind, event.body, event.to_dict()) == ("unknown", None, {"number": 1, "time": None, "event": "unknown"})
    assert "unknown kind" in str(event)
