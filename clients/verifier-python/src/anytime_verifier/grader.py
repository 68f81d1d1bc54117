"""Grades responses with the program that this package brings."""

from __future__ import annotations

import atexit
import json
import math
import numbers
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import GraderError
from .process import Process, logger

#: Limits of the program (verifier/src/limits.rs). What is beyond them is refused here, because a line that cannot be
#: graded ends the program.
MAX_TRUTHS = 64
MAX_TRUTH_CHARS = 4096
#: A longer response is `too_large`, however long it is: no more is sent.
MAX_RESPONSE_CHARS = (1 << 20) + 1

#: What the program ends with where an option cannot be.
_BAD_OPTION = 64

#: Made once: `json.dumps` would make one for each line.
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode

_FAULTS = ("out_of_time", "internal_error")


@dataclass(frozen=True)
class Verdict:
    """What was decided about one response."""

    #: Whether the answer equals a ground truth.
    correct: bool
    #: correct, wrong, no_answer, unparsable, too_large; or a fault, which says nothing about the answer: out_of_time,
    #: internal_error.
    kind: str
    #: The answer as it was found in the response; empty where there was none.
    extracted: str
    #: How long it took.
    seconds: float
    #: With `explain`: the rule that decided.
    rule: str | None = None
    #: With `explain`: the answer as it was understood, and each ground truth.
    answer_form: str | None = None
    ground_truth_forms: tuple[str | None, ...] = ()

    @property
    def is_fault(self) -> bool:
        """Whether the grader failed. A fault must not be scored as a wrong answer."""
        return self.kind in _FAULTS

    @property
    def score(self) -> float | None:
        """1.0 where it is correct, 0.0 where it is not, None for a fault."""
        return None if self.is_fault else float(self.correct)


class Grader:
    """A program that grades, with its options. Threads may share it; their batches run one after the other.

    The program starts on first use, again when it has ended, and in a forked process as a program of its own. Where it ends
    or hangs in the middle of a batch, it is started once more for the rest, and that is logged. It ends with this process.

        with Grader(extraction="last_number", threads=4) as grader:
            verdicts = grader.grade_batch(responses, truths)

    Args:
        extraction: Where the answer is: the last `boxed`, in the `anytime` block behind `**Final Answer**`, the `last_number`.
        percents: 50 % is 0.5 and 50 (`either`), or not 50 (`exact`).
        fractions: 2/4 is 1/2 (`any`), or not (`reduced`).
        rounding: 1.547 is not 1.55 (`exact`), or is where that is the ground truth (`to_ground_truth`).
        units: They may be left out or added (`optional`), must be there (`required`), or count for nothing (`ignored`).
        lists: `1, 2` is `2, 1` (`unordered`), or not (`ordered`).
        brackets: `1, 2` may stand for `(1, 2)` (`lenient`), or not (`exact`).
        explain: Say what was compared, and what decided.
        threads: Threads of the program.
        patience: For how many seconds it may give no verdict while some are owed. A single item takes a second at most.
        program: The path of another `anytime-verifier`.
    """

    def __init__(
        self,
        *,
        extraction: str = "boxed",
        percents: str = "either",
        fractions: str = "any",
        rounding: str = "exact",
        units: str = "optional",
        lists: str = "unordered",
        brackets: str = "lenient",
        explain: bool = False,
        threads: int = 1,
        patience: float = 30.0,
        program: str | os.PathLike[str] | None = None,
    ) -> None:
        if not patience > 0:
            raise ValueError(f"patience is {patience}; it must be above 0")
        if threads < 1:
            raise ValueError(f"threads is {threads}; it must be 1 or more")
        self._options = {name: value for name, value in locals().items() if name != "self"}
        choices = {
            "extraction": extraction,
            "percents": percents,
            "fractions": fractions,
            "rounding": rounding,
            "units": units,
            "lists": lists,
            "brackets": brackets,
        }
        for name, value in choices.items():
            if not isinstance(value, str):
                raise TypeError(f"{name} is a {type(value).__name__}; it must be a text")
        arguments = [f"--{name}={value.replace('_', '-')}" for name, value in choices.items()]
        if explain:
            arguments.append("--explain")
        self._command = [_program(program), "grade", *arguments, f"--threads={threads}"]
        self._patience = patience
        self._process: Process | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        #: How often the program was started again.
        self.restarts = 0
        _ALL.add(self)

    def grade(self, response: str, truth: Any) -> Verdict:
        """Grades one response. The ground truth is a text, a number or a list of them, any of which is right.

        Raises:
            TypeError: Something is neither; ValueError: a ground truth cannot be, or an option; GraderError: no grading.
        """
        return self.grade_batch([response], [truth])[0]

    def grade_batch(self, responses: Iterable[str], truths: Iterable[Any]) -> list[Verdict]:
        """Grades responses, each against its own ground truth. The verdicts come in the same order.

        Raises:
            As `grade`; nothing is graded where one of them cannot be.
        """
        responses, truths = list(responses), list(truths)
        if len(responses) != len(truths):
            raise ValueError(f"there are {len(responses)} responses and {len(truths)} ground truths")
        lines = [_line(number, *pair) for number, pair in enumerate(zip(responses, truths, strict=True))]
        return [_verdict(number, line) for number, line in enumerate(self._ask(lines))]

    def close(self) -> None:
        """Ends the program."""
        with self._lock:
            self._is_closed = True
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_options, (self._options,)

    @property
    def pid(self) -> int | None:
        """The process id of the program; None while there is none."""
        process = self._process
        return None if process is None or process.has_ended else process.pid

    def _ask(self, lines: Sequence[bytes]) -> list[bytes]:
        answered: list[bytes] = []
        has_failed = has_hung = False
        while True:
            process = self._running()
            batch = process.submit(lines[len(answered) :])
            batch.wait()
            answered += batch.lines
            if batch.failure is None:
                return answered
            if self._is_closed:
                raise GraderError("the grader was closed")
            if process.exit_code == _BAD_OPTION:
                raise ValueError(process.said)
            # One that ended, but further on, is started once more: it ends by itself where too many items have hung.
            if (has_failed and not batch.lines) or (has_hung and process.hung):
                raise GraderError(
                    f"anytime-verifier {batch.failure} twice, with {len(answered)} of {len(lines)} items graded: "
                    f"{process.said or 'it said nothing'}"
                )
            has_failed, has_hung = True, has_hung or process.hung
            logger.warning("anytime-verifier %s; it is started again for what is not graded yet", batch.failure)

    def _running(self) -> Process:
        with self._lock:
            if self._is_closed:
                raise GraderError("the grader was closed")
            if self._process is None or self._process.has_ended:
                self.restarts += self._process is not None
                self._process = Process(self._command, self._patience)
            return self._process

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._process is not None:
            self._process.forget()
            self._process = None


def grade(response: str, truth: Any, **options: Any) -> Verdict:
    """Grades one response: `Grader(**options).grade`, with one program for each set of options."""
    return _shared(options).grade(response, truth)


def grade_batch(responses: Iterable[str], truths: Iterable[Any], **options: Any) -> list[Verdict]:
    """Grades responses: `Grader(**options).grade_batch`, with one program for each set of options."""
    return _shared(options).grade_batch(responses, truths)


_ALL: weakref.WeakSet[Grader] = weakref.WeakSet()
_SHARED: dict[tuple[tuple[str, Any], ...], Grader] = {}
_SHARED_LOCK = threading.Lock()


def _shared(options: dict[str, Any]) -> Grader:
    key = tuple(sorted(options.items()))
    with _SHARED_LOCK:
        grader = _SHARED.get(key)
        if grader is None:
            grader = _SHARED[key] = Grader(**options)
        return grader


def _of_options(options: dict[str, Any]) -> Grader:
    return Grader(**options)


def _program(given: str | os.PathLike[str] | None) -> str:
    path = Path(given or os.environ.get("ANYTIME_VERIFIER_PROGRAM") or Path(__file__).parent / "bin" / "anytime-verifier")
    if not path.is_file():
        raise GraderError(f"there is no program {path}")
    return str(path)


def _line(number: int, response: str, truth: Any) -> bytes:
    if not isinstance(response, str):
        raise TypeError(f"response {number} is a {type(response).__name__}; it must be a text")
    item = {"id": number, "response": response[:MAX_RESPONSE_CHARS], "ground_truth": _truths(number, truth)}
    # What a tokenizer makes of half a character is no reason to fail; it is in no answer.
    return _ENCODE(item).encode("utf-8", "replace") + b"\n"


def _truths(number: int, truth: Any) -> list[str]:
    if hasattr(truth, "tolist"):
        truth = truth.tolist()
    several = list(truth) if isinstance(truth, (list, tuple, set, frozenset)) else [truth]
    if not 1 <= len(several) <= MAX_TRUTHS:
        raise ValueError(f"item {number} has {len(several)} ground truths; it must have 1 to {MAX_TRUTHS}")
    return [_truth(number, one) for one in several]


def _truth(number: int, truth: Any) -> str:
    if hasattr(truth, "tolist"):
        truth = truth.tolist()
    if isinstance(truth, numbers.Real) and not isinstance(truth, bool):
        if not math.isfinite(truth):
            raise ValueError(f"ground truth {number} is {truth}; it must be a finite number")
        truth = str(truth)
    if not isinstance(truth, str):
        raise TypeError(f"ground truth {number} is a {type(truth).__name__}; it must be a text, a number or a list of them")
    if len(truth) > MAX_TRUTH_CHARS:
        raise ValueError(f"ground truth {number} has {len(truth)} characters; it must have {MAX_TRUTH_CHARS} or fewer")
    try:
        truth.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"ground truth {number} has half a character (a lone surrogate)") from None
    return truth


def _verdict(number: int, line: bytes) -> Verdict:
    found = json.loads(line)
    if found["id"] != number:
        raise GraderError(f"anytime-verifier answered item {found['id']} where item {number} was due")
    return Verdict(
        correct=found["correct"],
        kind=found["verdict"],
        extracted=found["extracted"],
        seconds=found["seconds"],
        rule=found.get("rule"),
        answer_form=found.get("answer_form"),
        ground_truth_forms=tuple(found.get("ground_truth_forms", ())),
    )


def _close_all() -> None:
    for grader in list(_ALL):
        grader.close()


def _after_fork_in_child() -> None:
    global _SHARED_LOCK
    _SHARED_LOCK = threading.Lock()
    for grader in list(_ALL):
        grader._after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
