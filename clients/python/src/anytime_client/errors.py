"""The one exception of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

#: Trailing metadata by which the learner names the setting at fault.
SETTING_KEY = "anytime-setting"

#: Trailing metadata with the details of `google.rpc`.
DETAILS_KEY = "grpc-status-details-bin"

#: The domain of the learner's reasons.
DOMAIN = "anytime"

#: What a call ends with when no connection comes about, or breaks.
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Violation:
    """A setting or an argument that cannot work."""

    #: Its dotted name, as in the job file.
    field: str
    #: The sentence that says why.
    description: str


@dataclass(frozen=True)
class ErrorInfo:
    """Why a call was refused, for programs. docs/clients.md lists the reasons."""

    #: Such as `JOB_UNKNOWN`.
    reason: str
    #: Names that the sentence is about, such as `job_id`.
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Details:
    """What the learner says to programs beside its sentence."""

    violations: Sequence[Violation] = ()
    info: ErrorInfo | None = None
    retry_after: float | None = None
    resource: tuple[str, str] | None = None


class AnytimeError(Exception):
    """Whatever went wrong: the learner refused a call, cannot be reached, or a setting cannot be.

    What this package finds out by itself, such as a setting that does not exist, has the code that the learner would
    answer with.
    """

    def __init__(
        self, code: grpc.StatusCode, reason: str, field: str | None = None, details: Details | None = None
    ) -> None:
        super().__init__(reason)
        details = details or Details()
        #: The gRPC status. INVALID_ARGUMENT: a setting or an argument; NOT_FOUND: a job, step or problem;
        #: FAILED_PRECONDITION: not in this state; UNAUTHENTICATED, PERMISSION_DENIED: the token or its role;
        #: UNAVAILABLE, DEADLINE_EXCEEDED: the learner does not answer.
        self.code = code
        #: A sentence for people.
        self.reason = reason
        #: The dotted name of the setting at fault, such as `training.steps`, or of an argument of this package, such as
        #: `token_file`; None where none is.
        self.field = field
        #: Every setting or argument that was found at fault, the one of `field` first.
        self.violations: list[Violation] = list(details.violations)
        if field is not None and not self.violations:
            self.violations = [Violation(field, reason)]
        #: Why, in a word for programs; None where the learner says none, or nothing came from it.
        self.info = details.info
        #: In how many seconds the same call may succeed, where the learner says so.
        self.retry_after = details.retry_after
        #: Kind and name of what is not there, such as `("anytime.v1.Job", "demo")`.
        self.resource = details.resource

    def __str__(self) -> str:
        return f"{self.reason} ({self.code.name})"

    @property
    def is_unreachable(self) -> bool:
        """Whether the learner did not answer. The same call may succeed later."""
        return self.code in _UNREACHABLE


def invalid(reason: str, field: str | None = None) -> AnytimeError:
    """A setting or argument that this package refuses."""
    return AnytimeError(grpc.StatusCode.INVALID_ARGUMENT, reason, field)


def of_rpc(error: Any, address: str) -> AnytimeError:
    """The error of a call that failed."""
    code = error.code() if callable(getattr(error, "code", None)) else grpc.StatusCode.UNKNOWN
    details = (error.details() if callable(getattr(error, "details", None)) else None) or str(error)
    setting = None
    said = Details()
    trailers = error.trailing_metadata() if callable(getattr(error, "trailing_metadata", None)) else None
    for key, value in trailers or ():
        if key == SETTING_KEY and code is grpc.StatusCode.INVALID_ARGUMENT:
            setting = value if isinstance(value, str) else value.decode("ascii", "replace")
        elif key == DETAILS_KEY:
            said = details_of(value)
    if code is grpc.StatusCode.UNAVAILABLE:
        details = f"learner at {address} cannot be reached: {details}"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"learner at {address} has not answered in time"
    elif code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        details = f"learner at {address} refuses this: {details}"
    return AnytimeError(code, details, setting, said)


def details_of(encoded: bytes | str) -> Details:
    """The details of a status. What cannot be read, or is of somebody else, is left out."""
    status = status_pb2.Status()
    try:
        status.ParseFromString(encoded if isinstance(encoded, bytes) else encoded.encode("latin-1"))
    except (DecodeError, UnicodeEncodeError):
        return Details()
    found: dict[str, Any] = {}
    for packed in status.details:
        request, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
        retry, resource = error_details_pb2.RetryInfo(), error_details_pb2.ResourceInfo()
        try:
            if packed.Unpack(request):
                found["violations"] = [Violation(one.field, one.description) for one in request.field_violations]
            elif packed.Unpack(info) and info.domain == DOMAIN:
                found["info"] = ErrorInfo(info.reason, dict(info.metadata))
            elif packed.Unpack(retry):
                found["retry_after"] = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
            elif packed.Unpack(resource):
                found["resource"] = (resource.resource_type, resource.resource_name)
        except DecodeError:
            continue
    return Details(**found)
