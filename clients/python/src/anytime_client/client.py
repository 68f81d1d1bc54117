"""Calls the learner's job service. Every call has a deadline, and every error is an `AnytimeError`."""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from . import v1
from .connection import connect
from .errors import AnytimeError, invalid, of_rpc
from .report import Point, Report, curve_of, make_report, plot_accuracy, plot_steps
from .settings import JobLike, job_spec
from .v1 import job_pb2
from .view import Event, Job, JobList, as_dict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SERVICE = job_pb2.DESCRIPTOR.services_by_name["JobService"]

#: Deadlines in seconds. A call that only moves a message:
CALL = 20.0
#: The learner reads the model's files, and the data for a bounded time; other submissions may come first.
SUBMIT = 300.0
#: It fetches a model or data from the Hugging Face hub first.
FETCH = 3600.0
#: It reads a file that may hold gigabytes.
GENERATIONS = 120.0
#: It reads and writes a whole model.
EXPORT = 1800.0
#: A stream of events. It is opened again behind the last event, so that a learner that hangs is noticed.
STREAM = 60.0
#: What is left of the events of a job that has ended.
LAST_EVENTS = 3.0

#: How often a submission is tried; the request id makes repeating it harmless.
_SUBMIT_TRIES = 3

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0

#: The longest pause before the next try that a busy learner may ask for.
_LONGEST_BUSY_PAUSE = 10.0

_M = TypeVar("_M", bound=Message)


class Client:
    """A learner. It connects on first use, and again after every loss; threads may share it.

    What is left out is taken from the environment, by the variables of the command line: `ANYTIME_LEARNER`,
    `ANYTIME_TLS_CA`, `ANYTIME_TLS_CERT`, `ANYTIME_TLS_KEY`, `ANYTIME_TOKEN_FILE`, `ANYTIME_INSECURE`. There is no argument
    for the token itself, which would stay in notebooks.

        client = Client("https://learner:7100", tls_ca="secrets/ca.pem", token_file="secrets/submit.token")
        job = client.submit("job.toml")
        for event in client.watch(job):
            print(event)

    Args:
        address: `https://HOST:PORT` or `http://HOST:PORT`. One without a scheme is called over TLS where `tls_ca` is given.
        tls_ca: The CA of the learner (PEM). Without it those that grpcio brings count, and not those of the system;
            gRPC's own variable GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names others.
        tls_cert: The certificate to show (PEM), where the learner asks for one; with `tls_key`.
        tls_key: Its private key (PEM).
        token_file: File with the token to show. It is read again when it changes, and not sent unencrypted to another
            machine.
        insecure: Send the token unencrypted all the same.
        patience: For how many seconds `watch` and `wait` wait for a learner that went away.

    Raises:
        AnytimeError: INVALID_ARGUMENT for an address, certificate or token that cannot be used.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        tls_ca: str | os.PathLike[str] | None = None,
        tls_cert: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        insecure: bool | None = None,
        patience: float = 120.0,
    ) -> None:
        self._connection = connect(
            address, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, token_file=token_file, insecure=insecure
        )
        self._patience = patience
        self._methods: dict[str, Callable[..., Any]] = {}
        for method in _SERVICE.methods:
            answer = message_factory.GetMessageClass(method.output_type)
            channel = self._connection.channel
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
            self._methods[method.name] = make(
                f"/{_SERVICE.full_name}/{method.name}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=answer.FromString,
            )

    @property
    def address(self) -> str:
        """Where the learner is."""
        return self._connection.address

    def close(self) -> None:
        """Closes the connection."""
        self._connection.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.address}>"

    def submit(
        self, job: JobLike, *, changes: Mapping[str, Any] | None = None, request_id: str | None = None
    ) -> Job:
        """Submits a job: nested tables as in a job file, the path of one, its text, or the message.

        Args:
            changes: Settings that are laid over it: `{"training.steps": 10}`.
            request_id: The same id gives the same job again, however often it is submitted; a new one without it. A
                submission that does not get through is tried again with the same id.

        Raises:
            AnytimeError: INVALID_ARGUMENT with the setting at fault.
        """
        request = v1.SubmitJobRequest(request_id=request_id or str(uuid.uuid4()), spec=job_spec(job, changes))
        pauses = _pauses()
        for tries in range(1, _SUBMIT_TRIES + 1):
            try:
                return Job(self._call("Submit", request, v1.Job, _deadline(request.spec)))
            except AnytimeError as error:
                # A late one may still be read; another submission would only make it longer.
                is_busy = error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and error.retry_after is not None
                if tries == _SUBMIT_TRIES or not (is_busy or error.code is grpc.StatusCode.UNAVAILABLE):
                    raise
                pause = min(error.retry_after or 0.0, _LONGEST_BUSY_PAUSE) if is_busy else next(pauses)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def check(self, job: JobLike, *, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Has the learner open everything that a job names, and says what it found. No job is made.

        Raises:
            AnytimeError: INVALID_ARGUMENT with the setting at fault.
        """
        request = v1.CheckJobRequest(spec=job_spec(job, changes))
        return as_dict(self._call("Check", request, v1.JobCheck, _deadline(request.spec)))

    def status(self, job: str | Job) -> Job:
        """A job as it is now.

        Raises:
            AnytimeError: NOT_FOUND where there is none.
        """
        return Job(self._call("Get", v1.GetJobRequest(job_id=_id(job)), v1.Job, CALL))

    def pages(
        self,
        page_size: int = 0,
        *,
        states: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Iterator[JobList]:
        """The jobs page by page, the newest first, at most `page_size` in each; 0 is the most that there may be, 100.

        Only those in one of these states (queued, running, …) that have all these labels and were submitted under this
        name, in which `*` stands for any characters.
        """
        token = ""
        names = [_state(state) for state in states]
        while True:
            request = v1.ListJobsRequest(
                page_size=page_size, page_token=token, states=names, labels=labels or {}, name=name
            )
            page = self._call("List", request, v1.ListJobsResponse, CALL)
            yield JobList(Job(job) for job in page.jobs)
            token = page.next_page_token
            if not token:
                return

    def jobs(
        self,
        *,
        states: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        name: str = "",
        limit: int | None = None,
    ) -> JobList:
        """All jobs, or those that are asked for as in `pages`, the newest first; at most `limit` of them."""
        pages = self.pages(states=states, labels=labels, name=name)
        return JobList(islice((job for page in pages for job in page), limit))

    def cancel(self, job: str | Job) -> Job:
        """Ends a job: after the step under way where it runs, for good where it has failed or is paused."""
        return Job(self._call("Cancel", v1.CancelJobRequest(job_id=_id(job)), v1.Job, CALL))

    def resume(self, job: str | Job, spec: JobLike | None = None, *, changes: Mapping[str, Any] | None = None) -> Job:
        """Lets a failed or paused job go on from its newest good checkpoint, with the settings of `spec`, or its own with
        `changes`. Does nothing to a job that is queued or running.

        Raises:
            AnytimeError: INVALID_ARGUMENT for a setting that cannot change, FAILED_PRECONDITION with why it cannot go on.
        """
        request = v1.ResumeJobRequest(job_id=_id(job))
        if spec is not None or changes:
            base = self.status(job).message.spec if spec is None else spec
            request.spec.CopyFrom(job_spec(base, changes))
        return Job(self._call("Resume", request, v1.Job, _deadline(request.spec)))

    def delete(self, job: str | Job, *, with_models: bool = False) -> list[str]:
        """Removes a job that is over, with its directory. Returns the models that went with it.

        Raises:
            AnytimeError: FAILED_PRECONDITION where it is not over, or has models and `with_models` is not given.
        """
        request = v1.DeleteJobRequest(job_id=_id(job), with_models=with_models)
        return list(self._call("Delete", request, v1.DeleteJobResponse, CALL).models)

    def export(self, job: str | Job, *, step: int | None = None, output: str | None = None) -> tuple[int, str]:
        """Has a recovery checkpoint written as a Hugging Face directory on the learner's file system: the newest, or that
        of a step. Returns its step and the directory.
        """
        request = v1.ExportJobRequest(job_id=_id(job), step=step, output=output)
        answer = self._call("Export", request, v1.ExportJobResponse, EXPORT)
        return answer.step, answer.directory

    def watch(self, job: str | Job, after: int = 0) -> Iterator[Event]:
        """The events of a job with a higher number than `after`, each once and in order, until the job has ended or is
        paused for a person. After a lost connection it goes on behind the last event, for as long as `patience` says.

        Raises:
            AnytimeError: NOT_FOUND where there is no such job; UNAVAILABLE where the learner stays away; what its streams
                end with, where it answers but none of them lasts.
        """
        job_id, last_seen = _id(job), after
        pauses, last_contact = _pauses(), time.monotonic()
        #: Since when no stream brings an event or lasts, though the learner answers other calls.
        broken_since: float | None = None
        while True:
            seen_before = last_seen
            end = _StreamEnd()
            with closing(end.of(self._events(job_id, last_seen, STREAM))) as events:
                for event in events:
                    last_seen = event.number
                    yield event
            if last_seen > seen_before:
                pauses, last_contact = _pauses(), time.monotonic()
            try:
                now = self.status(job_id)
            except AnytimeError as error:
                if not error.is_unreachable or time.monotonic() - last_contact > self._patience:
                    raise
            else:
                last_contact = time.monotonic()
                if now.has_ended or now.waits_for_person:
                    if not end.is_whole:
                        yield from _StreamEnd().of(self._events(job_id, last_seen, LAST_EVENTS))
                    return
            is_idle = end.error is not None and end.error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            if end.error is None or is_idle or last_seen > seen_before:
                broken_since = None
            elif broken_since is None:
                broken_since = time.monotonic()
            elif time.monotonic() - broken_since > self._patience:
                raise end.error
            if not is_idle and (end.error is not None or last_seen == seen_before):
                time.sleep(next(pauses))

    def wait(self, job: str | Job, on_event: Callable[[Event], None] | None = None) -> Job:
        """Follows a job until it has ended or is paused for a person, and returns it as it is then. Every event is handed
        to `on_event`; `wait(job, print)` shows them.
        """
        for event in self.watch(job):
            if on_event is not None:
                on_event(event)
        return self.status(job)

    def report(self, job: str | Job) -> Report:
        """What came of a job so far, as `report.json` of the command line holds it: accuracy before and after, every
        evaluation, and the figures of every step.
        """
        job_id = _id(job)
        # Before the events: what comes later belongs to the next report.
        newest = self._call("Account", v1.AccountRequest(job_id=job_id), v1.JobAccount, CALL).last_event
        steps = []
        end = _StreamEnd()
        for event in end.of(self._events(job_id, 0, GENERATIONS, newest)):
            if event.kind == "step":
                steps.append(event.body)
        if end.error is not None:
            raise end.error
        return make_report(self.status(job_id), steps)

    def curve(self, job: str | Job, which: str | int = "after") -> list[Point]:
        """Accuracy against thinking budget with 95 % intervals: of the weights `"before"` training, `"after"` the newest
        evaluated step, or of the evaluation at a step.

        Raises:
            AnytimeError: NOT_FOUND where there is no such evaluation.
        """
        return curve_of(self.status(job), which)

    def plot(self, job: str | Job | Report, axes: Axes | None = None) -> Axes:
        """Draws accuracy against thinking budget, before and after. Needs matplotlib: `anytime-client[plot]`."""
        return plot_accuracy(self._report_of(job), axes)

    def plot_steps(self, job: str | Job | Report, axes: Axes | None = None) -> Axes:
        """Draws the mean score at every budget over the steps, or the loss of an sft job. Needs matplotlib."""
        return plot_steps(self._report_of(job), axes)

    def generations(
        self, job: str | Job, *, step: int | None = None, problem: str | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """What an evaluation generated, for people to read: one problem with its traces, or the list of all problems.

        Raises:
            AnytimeError: NOT_FOUND with the steps or the problems that exist.
        """
        request = v1.GenerationsRequest(job_id=_id(job), step=step, problem=problem)
        answer = self._call("Generations", request, v1.GenerationsResponse, GENERATIONS)
        if problem is not None:
            found: dict[str, Any] = json.loads(answer.line)
            return found
        return [json.loads(line) for line in answer.problems]

    def account(self, job: str | Job) -> dict[str, Any]:
        """Where the training groups of a job are, beside what its events say of them."""
        return as_dict(self._call("Account", v1.AccountRequest(job_id=_id(job)), v1.JobAccount, CALL))

    def dead_letters(self, job: str | Job) -> list[dict[str, Any]]:
        """The groups of a job that could not be trained, the oldest first."""
        request = v1.ListDeadLettersRequest(job_id=_id(job))
        answer = self._call("ListDeadLetters", request, v1.ListDeadLettersResponse, CALL)
        return [as_dict(letter) for letter in answer.letters]

    def dead_group(self, job: str | Job, sequence: int) -> v1.ScoredGroup | None:
        """The group of a dead letter as it was delivered last; None where none was.

        Raises:
            AnytimeError: NOT_FOUND where there is no such letter; DATA_LOSS where the group cannot be read.
        """
        request = v1.GetDeadLetterRequest(job_id=_id(job), sequence=sequence)
        encoded = self._call("GetDeadLetter", request, v1.GetDeadLetterResponse, CALL).group
        if not encoded:
            return None
        try:
            return v1.ScoredGroup.FromString(encoded)
        except Exception as error:
            raise AnytimeError(grpc.StatusCode.DATA_LOSS, f"group {sequence} cannot be read: {error}") from None

    def replay_dead_letters(self, job: str | Job, sequences: Sequence[int]) -> dict[str, Any]:
        """Has the problems of dead letters generated again and trained after all.

        Raises:
            AnytimeError: FAILED_PRECONDITION where the job does not train now.
        """
        request = v1.ReplayDeadLettersRequest(job_id=_id(job), sequences=sequences)
        return as_dict(self._call("ReplayDeadLetters", request, v1.ReplayDeadLettersResponse, CALL))

    def _call(self, name: str, request: Message, kind: type[_M], deadline: float) -> _M:
        try:
            answer = self._methods[name](request, timeout=deadline, metadata=self._connection.metadata())
        except grpc.RpcError as error:
            raise of_rpc(error, self.address) from None
        assert isinstance(answer, kind)
        return answer

    def _events(self, job_id: str, after: int, deadline: float, last: int | None = None) -> Iterator[Event]:
        """The events of one stream, up to one with the number `last`."""
        if last is not None and after >= last:
            return
        request = v1.WatchJobRequest(job_id=job_id, after=after)
        stream = self._methods["Watch"](request, timeout=deadline, metadata=self._connection.metadata())
        try:
            for message in stream:
                if message.number <= after:
                    continue
                after = message.number
                event = Event(message)
                yield event
                is_pause = event.kind == "state" and event.body.state == v1.JobState.JOB_STATE_PAUSED
                is_last = last is not None and event.number >= last
                # A job that waits for a person has no end of its stream.
                if is_last or (last is None and is_pause and not event.body.HasField("retry_at")):
                    return
        except grpc.RpcError as error:
            raise of_rpc(error, self.address) from None
        finally:
            stream.cancel()

    def _report_of(self, job: str | Job | Report) -> Report:
        return job if isinstance(job, Report) else self.report(job)


class _StreamEnd:
    """How a stream of events ended."""

    def __init__(self) -> None:
        self.error: AnytimeError | None = None
        #: The learner closed it, as it does when the job has ended, or the job waits for a person.
        self.is_whole = False

    def of(self, events: Iterator[Event]) -> Generator[Event, None, None]:
        """Passes the events on, and keeps the error that they end with."""
        try:
            yield from events
            self.is_whole = True
        except AnytimeError as error:
            self.error = error


def _state(name: str) -> str:
    full = f"JOB_STATE_{name.upper()}"
    if full not in v1.JobState.keys() or full == "JOB_STATE_UNSPECIFIED":
        raise invalid(f"states holds {name!r}, which is no state of a job", "states")
    return full


def _id(job: str | Job | Report) -> str:
    if isinstance(job, Report):
        return str(job["job_id"])
    return job.id if isinstance(job, Job) else job


def _pauses() -> Iterator[float]:
    """Each pause is twice as long as the one before, up to a bound, and shortened at random."""
    pause = _FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _deadline(spec: v1.JobSpec) -> float:
    """How long a learner may take to read what a job names, and to fetch it."""
    names = [spec.model.path, *spec.data.path, *spec.evaluation.path]
    return FETCH if any(name.startswith("hf://") for name in names) else SUBMIT
