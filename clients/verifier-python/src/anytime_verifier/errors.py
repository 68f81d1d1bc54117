"""The one exception of this package, beside ValueError and TypeError for arguments that cannot be."""

from __future__ import annotations


class GraderError(RuntimeError):
    """The program cannot be started, or has ended or hung twice at the same place. It says nothing about any answer."""
