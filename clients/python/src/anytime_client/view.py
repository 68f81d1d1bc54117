"""What comes back from the learner, as plain Python and for notebooks."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from .settings import Field, is_choice, is_map, settings_of, short_name
from .v1 import Job as JobMessage
from .v1 import JobEvent, JobKind, JobSpec, JobState, StepMetrics

_ENDED = (JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED)

_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"


def as_dict(message: Message) -> dict[str, Any]:
    """A message as plain values, with the names of the proto files: every field, also one that is zero; enumerations by
    their short names; times as text; None for what is absent. It is what `--json` of the command line prints.
    """
    if isinstance(message, JobSpec):
        return settings_of(message)
    values: dict[str, Any] = {}
    fields: Sequence[Field] = message.DESCRIPTOR.fields
    for field in fields:
        if is_choice(field) and not message.HasField(field.name):
            continue
        if field.has_presence and not message.HasField(field.name):
            values[field.name] = None
            continue
        value = getattr(message, field.name)
        if is_map(field):
            values[field.name] = dict(value)
        elif field.is_repeated:
            values[field.name] = [_value(field, item) for item in value]
        else:
            values[field.name] = _value(field, value)
    return values


def _value(field: Field, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return as_dict(value)
    if field.enum_type is not None:
        return short_name(field.enum_type, value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    # JSON has no other numbers.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def moment(message: Message, field: str) -> datetime | None:
    """A time, with its zone, which is UTC; None where it is absent."""
    if not message.HasField(field):
        return None
    time: Timestamp = getattr(message, field)
    return time.ToDatetime(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Job:
    """A job as it was when the learner was asked. Ask again for news: `client.status(job)`."""

    #: The message, with everything that proto/anytime/v1/job.proto says.
    message: JobMessage

    @property
    def id(self) -> str:
        """What the learner calls it."""
        return self.message.id

    @property
    def name(self) -> str:
        """What its job file calls it."""
        return self.message.spec.name

    @property
    def kind(self) -> str:
        """train, sft or evaluate."""
        return short_name(JobKind.DESCRIPTOR, self.message.spec.kind) or "unspecified"

    @property
    def state(self) -> str:
        """queued, running, paused, succeeded, failed or cancelled."""
        return short_name(JobState.DESCRIPTOR, self.message.state) or "unspecified"

    @property
    def error(self) -> str:
        """Why it failed or is paused; else empty."""
        return self.message.error

    @property
    def priority(self) -> int:
        """Among jobs that wait, the higher goes first."""
        return self.message.spec.priority

    @property
    def labels(self) -> dict[str, str]:
        """What it is found by."""
        return dict(self.message.spec.labels)

    @property
    def waits_for(self) -> str:
        """Its place among the jobs that wait, and for which it waits; empty where it does not wait for its turn."""
        return self.message.waiting.reason

    @property
    def forked_from(self) -> tuple[str, int] | None:
        """The job and the step that it started from, where that is another job's recovery checkpoint."""
        if not self.message.HasField("forked_from"):
            return None
        return self.message.forked_from.job_id, self.message.forked_from.step

    @property
    def step(self) -> int:
        """The last finished step."""
        return self.message.step

    @property
    def total_steps(self) -> int:
        """How many steps it is to do; 0 for an evaluation."""
        return self.message.total_steps or self.message.spec.training.steps

    @property
    def seconds(self) -> float:
        """For how long it has run."""
        return self.message.seconds

    @property
    def created(self) -> datetime | None:
        """When it was submitted."""
        return moment(self.message, "created")

    @property
    def started(self) -> datetime | None:
        """When it began to run."""
        return moment(self.message, "started")

    @property
    def ended(self) -> datetime | None:
        """When it ended."""
        return moment(self.message, "ended")

    @property
    def retry_at(self) -> datetime | None:
        """When a paused job goes on by itself."""
        return moment(self.message, "retry_at")

    @property
    def checkpoint(self) -> str:
        """Directory of the newest model, on the learner's file system; empty before the first."""
        return self.message.checkpoint

    @property
    def settings(self) -> dict[str, Any]:
        """All its settings, with the defaults filled in. They can be changed and submitted again."""
        return settings_of(self.message.spec)

    @property
    def notices(self) -> list[str]:
        """What its user should know, the newest at most 100, oldest first."""
        return [notice.text for notice in self.message.notices]

    @property
    def has_ended(self) -> bool:
        """Whether it has succeeded, failed or been cancelled."""
        return self.message.state in _ENDED

    @property
    def waits_for_person(self) -> bool:
        """Whether it is paused and goes on only when somebody resumes it."""
        return self.message.state == JobState.JOB_STATE_PAUSED and not self.message.HasField("retry_at")

    def to_dict(self) -> dict[str, Any]:
        """The job as `anytime get --json` prints it."""
        values = as_dict(self.message)
        kept = ("id", "state", "error", "created", "started", "ended", "step", "seconds", "checkpoint", "retry_at")
        rest = ("notices", "evaluations", "last_step", "hub", "forked_from", "waiting", "spec")
        derived: dict[str, Any] = {"name": self.name, "kind": self.kind, "total_steps": self.total_steps}
        derived |= {"priority": self.priority, "labels": self.labels}
        return {key: values[key] for key in kept} | derived | {key: values[key] for key in rest}

    def __repr__(self) -> str:
        error = f": {self.error}" if self.error else ""
        return f"<Job {self.id} ({self.kind}) {self.state}, step {self.step} of {self.total_steps}{error}>"

    def _repr_html_(self) -> str:
        rows = [("job", self.id), ("kind", self.kind), ("state", self.state)]
        rows.append(("step", f"{self.step} of {self.total_steps}"))
        rows.append(("seconds", f"{self.seconds:.1f}"))
        for name, text in (("waits", self.waits_for), ("error", self.error), ("checkpoint", self.checkpoint)):
            if text:
                rows.append((name, text))
        if self.retry_at:
            rows.append(("next try", self.retry_at.isoformat()))
        for evaluation in self.message.evaluations:
            pairs = zip(evaluation.budgets, evaluation.accuracy, strict=False)
            accuracy = ", ".join(f"{budget}: {mean:.3f}" for budget, mean in pairs)
            rows.append((f"evaluation at step {evaluation.step}", f"{accuracy}; anytime {evaluation.anytime:.3f}"))
        rows += [("note", text) for text in self.notices]
        return html_table([], rows)


class JobList(list[Job]):
    """Jobs, the newest first; a table in a notebook."""

    def _repr_html_(self) -> str:
        heads = ["job", "kind", "state", "step", "created", ""]
        rows = []
        for job in self:
            created = job.created.strftime("%Y-%m-%d %H:%M:%S") if job.created else ""
            reason = job.error.splitlines()[0] if job.error else job.waits_for
            rows.append((job.id, job.kind, job.state, f"{job.step}/{job.total_steps}", created, reason))
        return html_table(heads, rows)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job."""

    #: The message, with everything that proto/anytime/v1/job.proto says.
    message: JobEvent

    @property
    def number(self) -> int:
        """Events are counted from 1 within the job."""
        return self.message.number

    @property
    def time(self) -> datetime | None:
        """When it happened."""
        return moment(self.message, "time")

    @property
    def kind(self) -> str:
        """state, step, evaluation, evaluation_progress, notice or went_on; unknown for one of a newer learner."""
        return self.message.WhichOneof("event") or "unknown"

    @property
    def body(self) -> Any:
        """The message of its kind: `StepMetrics` for a step, and so on; None for an unknown one."""
        kind = self.message.WhichOneof("event")
        return getattr(self.message, kind) if kind else None

    def to_dict(self) -> dict[str, Any]:
        """The event as a line of `anytime watch --json`: number, time, kind, and the fields of its kind."""
        time = self.message.time.ToJsonString() if self.message.HasField("time") else None
        fields = as_dict(self.body) if self.body is not None else {}
        return {"number": self.number, "time": time, "event": self.kind} | fields

    def __str__(self) -> str:
        body = self.body
        match self.kind:
            case "step":
                return f"step {body.step}  {step_text(body)}"
            case "state":
                reason = f": {body.error}" if body.error else ""
                return f"{short_name(JobState.DESCRIPTOR, body.state)}{reason}"
            case "evaluation":
                pairs = zip(body.budgets, body.accuracy, strict=False)
                accuracy = "  ".join(f"{budget}: {mean:.3f}" for budget, mean in pairs)
                return f"evaluation at step {body.step}  {accuracy}  anytime {body.anytime:.3f}"
            case "evaluation_progress":
                return f"evaluating  {body.done_groups}/{body.total_groups} groups"
            case "notice":
                return f"note at step {body.step}: {body.text}"
            case "went_on":
                return f"goes on from step {body.step}; the steps after it are done again"
        return f"event {self.number} of an unknown kind"


def step_text(step: StepMetrics) -> str:
    """The figures of a step in a line."""
    if not step.reward_per_budget:
        return f"loss {step.loss:.4f}  learning rate {step.learning_rate:.2e}"
    rewards = " ".join(f"{reward:.2f}" for reward in step.reward_per_budget)
    return f"reward {rewards}  thinking {step.mean_thinking_tokens:.1f}  {step.generated_tokens_per_second:.0f} tokens/s"


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a notebook; every text is escaped."""
    cell = f'<td style="{_CELL}">'
    head = "".join(f'<th style="{_CELL}">{escape(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(f"{cell}{escape(str(text))}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if head else f"<table>{body}</table>"
