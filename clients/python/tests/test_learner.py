"""A real learner: a job from its submission to its deletion. Needs ANYTIME_LEARNER, and in ANYTIME_TEST_JOB the path of a
job file that it can run; tests/tests/python_client.rs starts both.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import grpc
import pytest
from anytime_client import AnytimeError, Client, as_dict, job_spec, to_spec

JOB = os.environ.get("ANYTIME_TEST_JOB", "")
PROGRAM = os.environ.get("ANYTIME_TEST_CLI", "")

pytestmark = [
    pytest.mark.learner,
    pytest.mark.skipif(not (JOB and os.environ.get("ANYTIME_LEARNER")), reason="ANYTIME_LEARNER has no learner"),
]


def test_a_job_is_checked_submitted_followed_reported_and_deleted(tmp_path: Path) -> None:
    client = Client()
    found = client.check(JOB)
    assert found["parameters"] > 0 and found["data"][0]["kept"] > 0 and found["prompt_ids"]
    with pytest.raises(AnytimeError) as caught:
        client.submit(JOB, changes={"training.batch": 0})
    assert caught.value.field == "training.batch" and caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [(one.field, one.description) for one in caught.value.violations] == [("training.batch", caught.value.reason)]
    assert caught.value.info and caught.value.info.reason == "SETTING_REFUSED"
    with pytest.raises(AnytimeError) as caught:
        client.submit(JOB, changes={"model.path": "nowhere"})
    assert caught.value.field == "model.path"

    job = client.submit(JOB, request_id="python-1")
    assert client.submit(JOB, request_id="python-1").id == job.id, "the same request is the same job"
    assert job.kind == "train" and job.id in [other.id for other in client.jobs()]
    # All defaults are filled in, and what comes back can be sent again.
    assert job.settings["training"]["clip"] == 0.2
    assert to_spec(job.settings) == job.message.spec

    events = list(client.watch(job))
    steps = job_spec(JOB).training.steps
    assert [event.body.step for event in events if event.kind == "step"] == list(range(1, steps + 1))
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers)) and numbers[0] == 1
    assert [str(event) for event in events if event.kind == "state"] == ["queued", "running", "succeeded"]
    again = list(client.watch(job, after=numbers[2]))
    assert again == events[3:], "what was seen is not sent again"

    job = client.status(job)
    assert (job.state, job.step, job.total_steps) == ("succeeded", steps, steps)
    assert job.has_ended and job.checkpoint and "succeeded" in job._repr_html_()
    assert client.account(job)["last_event"] == numbers[-1]

    report = client.report(job)
    assert [step["step"] for step in report["series"]] == list(range(1, steps + 1))
    assert report["before"]["step"] == 0 and report["after"]["step"] == steps
    curve = client.curve(job)
    assert [point.budget for point in curve] == report["after"]["budgets"]
    assert all(0 <= point.low <= point.accuracy <= point.high <= 1 for point in curve)
    problems = client.generations(job, step=steps)
    assert isinstance(problems, list) and len(problems) == report["after"]["problems"]
    problem = client.generations(job, step=steps, problem=problems[0]["id"])
    assert isinstance(problem, dict) and problem["traces"]
    assert client.dead_letters(job) == []
    with pytest.raises(AnytimeError) as caught:
        client.replay_dead_letters(job, [0])
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION

    if PROGRAM:
        ended = subprocess.run(
            [PROGRAM, "report", job.id, "--json", "--out", str(tmp_path)], capture_output=True, text=True, check=True
        )
        assert report == json.loads(ended.stdout)
        ended = subprocess.run([PROGRAM, "watch", job.id, "--json"], capture_output=True, text=True, check=True)
        assert [event.to_dict() for event in events] == [json.loads(line) for line in ended.stdout.splitlines()]

    with pytest.raises(AnytimeError) as caught:
        client.resume(job)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(AnytimeError) as caught:
        client.delete(job)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION, "its model is to stay"
    assert client.delete(job, with_models=True)
    with pytest.raises(AnytimeError) as caught:
        client.status(job)
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_every_refusal_has_its_details_whatever_was_sent() -> None:
    client = Client()
    changes = {"training.clip": 7.0, "rollout.top_p": -1.0, "training.batch": 0}
    with pytest.raises(AnytimeError) as caught:
        client.submit(JOB, changes=changes)
    assert {one.field for one in caught.value.violations} == set(changes)
    with pytest.raises(AnytimeError) as caught:
        client.status("nobody")
    error = caught.value
    assert error.reason == "job `nobody` does not exist" and error.resource == ("anytime.v1.Job", "nobody")
    assert error.info and (error.info.reason, dict(error.info.metadata)) == ("JOB_UNKNOWN", {"job_id": "nobody"})
    # gRPC's own libraries take 8 KiB of headers, and give the answer up beyond that.
    for text in ("\U0001f914", "%\n", "x"):
        for _ in range(10):
            with pytest.raises(AnytimeError) as caught:
                client.status(text * 10_000)
            assert caught.value.code is grpc.StatusCode.NOT_FOUND and caught.value.info, caught.value
            with pytest.raises(AnytimeError) as caught:
                client.submit(JOB, changes={"name": text * 10_000, "markers.open": text * 10_000, "training.clip": 7.0})
            assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT and caught.value.field == "name", caught.value


def test_a_job_that_runs_is_cancelled() -> None:
    client = Client()
    changes = {"name": "python-long", "training.steps": 5000, "evaluation.before": False}
    job = client.submit(JOB, changes=changes)
    for event in client.watch(job):
        if event.kind == "step":
            client.cancel(job)
    job = client.status(job)
    assert job.state == "cancelled" and 0 < job.step < 5000
    assert [step["step"] for step in client.report(job)["series"]] == list(range(1, job.step + 1))
    assert as_dict(job.message)["state"] == "cancelled"
    pages = list(client.pages(1))
    assert all(len(page) == 1 for page in pages) and [page[0].id for page in pages] == [other.id for other in client.jobs()]
