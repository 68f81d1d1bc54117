"""The one exception of this package."""

from __future__ import annotations

from typing import Any

import grpc

#: Trailing metadata by which the learner names the setting at fault.
SETTING_KEY = "anytime-setting"

#: What a call ends with when no connection comes about, or breaks.
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class AnytimeError(Exception):
    """Whatever went wrong: the learner refused a call, cannot be reached, or a setting cannot be.

    What this package finds out by itself, such as a setting that does not exist, has the code that the learner would
    answer with.
    """

    def __init__(self, code: grpc.StatusCode, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        #: The gRPC status. INVALID_ARGUMENT: a setting or an argument; NOT_FOUND: a job, step or problem;
        #: FAILED_PRECONDITION: not in this state; UNAUTHENTICATED, PERMISSION_DENIED: the token or its role;
        #: UNAVAILABLE, DEADLINE_EXCEEDED: the learner does not answer.
        self.code = code
        #: A sentence for people.
        self.reason = reason
        #: The dotted name of the setting at fault, such as `training.steps`, or of an argument of this package, such as
        #: `token_file`; None where none is.
        self.field = field

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
    field = None
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        for key, value in error.trailing_metadata() or ():
            if key == SETTING_KEY:
                field = value if isinstance(value, str) else value.decode("ascii", "replace")
    if code is grpc.StatusCode.UNAVAILABLE:
        details = f"learner at {address} cannot be reached: {details}"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"learner at {address} has not answered in time"
    elif code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        details = f"learner at {address} refuses this: {details}"
    return AnytimeError(code, details, field)
