"""Follows the figures of a job, `metrics.jsonl` in its directory, and hands them to another tool.

    python -m anytime_client.follow runs/demo --to wandb --project math

It needs the directory and no learner. It may be started and ended at any time: what wandb and trackio were handed is
noted in `.follow-TOOL.json` in the job's directory, and the next start goes on behind it. It ends when the job has ended.

Weights & Biases and trackio take no figure back. So where a learner that was killed does steps again, the follower
begins another run there, of the same group, which has every step once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeAlias

from google.protobuf.message import DecodeError

from .v1 import Job as JobMessage
from .view import Job

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: A line of the file: `step`, `event`, `number`, `time`, `wall_seconds`, and the figures.
Line: TypeAlias = "dict[str, Any]"

_FILE = "metrics.jsonl"
#: What the learner puts before the message in `job.pb`: a mark, a length and a checksum.
_MARK, _HEAD = b"\xfeRE\xfd", 16
#: After so many lines at most it is noted how far the follower is.
_LINES_AT_A_TIME = 200
_USAGE, _INTERRUPTED = 64, 130


class FollowError(Exception):
    """The follower cannot go on; the text says why."""


class MetricsFile:
    """The file as it grows. A new one may take its place at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._rest = b""

    def read(self) -> tuple[bool, list[Line]]:
        """The whole lines that have come since the last call, and whether they are the first of a file.

        Raises:
            FollowError: The file cannot be read. One that is not there yet has no lines.
        """
        try:
            return self._read()
        except OSError as error:
            raise FollowError(f"{self._path}: {error.strerror}") from error

    def _read(self) -> tuple[bool, list[Line]]:
        is_first = self._descriptor < 0 or self._is_replaced()
        if is_first:
            self.close()
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False, []
        while chunk := os.read(self._descriptor, 1 << 20):
            self._rest += chunk
        # What is behind the last end of a line is still being written.
        whole, end, rest = self._rest.rpartition(b"\n")
        self._rest = rest
        return is_first, list(_parsed(whole.split(b"\n"))) if end else []

    def _is_replaced(self) -> bool:
        here = os.fstat(self._descriptor)
        if here.st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
            return True
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)

    def close(self) -> None:
        """Closes it; the next call reads from the beginning."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._rest = -1, b""


def _parsed(lines: list[bytes]) -> Iterator[Line]:
    for text in lines:
        try:
            line = json.loads(text)
            is_one = isinstance(line["step"], int) and isinstance(line["number"], int)
        except (ValueError, LookupError, TypeError):
            is_one = False
        if is_one:
            yield line
        else:
            _say(f"passed over what is no line of figures: {text[:80]!r}")


def figures(line: Line) -> dict[str, float]:
    """The numbers of a line for a tool: the step, the seconds, and all figures that are finite."""
    return {
        name: value
        for name, value in line.items()
        if name != "number" and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


@dataclass
class Progress:
    """How far the figures have been handed over."""

    #: Names the tool's run.
    id: str
    #: How many runs there were before it, because steps were undone.
    earlier: int = 0
    #: How many lines the run has.
    lines: int = 0
    #: The number of the last one.
    last: int = 0

    def rest(self, lines: Sequence[Line]) -> Sequence[Line] | None:
        """What of a whole file is still to be handed over; None where the run has lines that stand no more."""
        known = sum(line["number"] <= self.last for line in lines)
        return lines[known:] if known == self.lines else None


class Sink(Protocol):
    """A tool that takes figures."""

    def begin(self, job: str, run: Progress, settings: dict[str, Any]) -> None:
        """Begins a run, or goes on with it."""

    def log(self, line: Line) -> None:
        """Takes a line."""

    def finish(self) -> None:
        """Ends what `begin` began."""


class Print:
    """Standard output."""

    def begin(self, job: str, run: Progress, settings: dict[str, Any]) -> None:
        """Nothing has to be begun."""

    def log(self, line: Line) -> None:
        """Prints the line as it is."""
        print(json.dumps(line), flush=True)

    def finish(self) -> None:
        """Nothing has to be ended."""


class WeightsAndBiases:
    """Weights & Biases. Its own step is the event's number, which always grows; curves are over `step`."""

    def __init__(self, project: str) -> None:
        self._wandb = _module("wandb")
        self._project = project
        self._run: Any = None

    def begin(self, job: str, run: Progress, settings: dict[str, Any]) -> None:
        """Begins a run, or goes on with the one of this id."""
        self._run = self._wandb.init(
            project=self._project, id=run.id, name=_run_name(job, run), group=job, config=settings, resume="allow"
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, line: Line) -> None:
        """Takes a line."""
        self._run.log(figures(line), step=line["number"])

    def finish(self) -> None:
        """Sends what is left."""
        if self._run is not None:
            self._run.finish()
            self._run = None


class Trackio:
    """trackio, whose runs are told apart by their names."""

    def __init__(self, project: str) -> None:
        self._trackio = _module("trackio")
        self._project = project
        self._run: Any = None

    def begin(self, job: str, run: Progress, settings: dict[str, Any]) -> None:
        """Begins a run, or goes on with the one of this id."""
        self._run = self._trackio.init(
            project=self._project, name=run.id, group=job, config=settings, resume="allow", embed=False
        )

    def log(self, line: Line) -> None:
        """Takes a line."""
        self._run.log(figures(line), step=line["step"])

    def finish(self) -> None:
        """Sends what is left."""
        if self._run is not None:
            self._run.finish()
            self._run = None


def _run_name(job: str, run: Progress) -> str:
    return job if run.earlier == 0 else f"{job} ({run.earlier + 1})"


def _module(name: str) -> Any:
    """Only who uses a tool needs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise FollowError(f"--to {name}: it is not installed; pip install {name}") from error


class Follower:
    """Hands the lines of a job to a tool, each once, over restarts of both sides."""

    def __init__(self, directory: Path, sink: Sink, state: Path | None) -> None:
        self._directory = directory
        self._job = directory.resolve().name
        self._sink = sink
        self._state = state
        self._file = MetricsFile(directory / _FILE)
        self._progress = self._noted() or self._new_progress(0)
        self._has_begun = False

    def step(self) -> bool:
        """Hands over what there is. Returns whether that was anything."""
        is_first, lines = self._file.read()
        rest: Sequence[Line] = lines
        if is_first:
            of_run = self._progress.rest(lines)
            if of_run is None:
                _say("steps were undone; all lines come again, in another run")
                self.finish()
                self._progress = self._new_progress(self._progress.earlier + 1)
            else:
                rest = of_run
        for start in range(0, len(rest), _LINES_AT_A_TIME):
            self._hand_over(rest[start : start + _LINES_AT_A_TIME])
        return bool(rest)

    def _hand_over(self, lines: Sequence[Line]) -> None:
        if not self._has_begun:
            self._sink.begin(self._job, self._progress, self._settings())
            self._has_begun = True
        for line in lines:
            self._sink.log(line)
            self._progress.lines += 1
            self._progress.last = line["number"]
        self._note()

    def finish(self) -> None:
        """Ends the tool's run, which a later follower goes on with."""
        if self._has_begun:
            self._has_begun = False
            self._sink.finish()

    def close(self) -> None:
        """Ends everything."""
        self._file.close()
        self.finish()

    def job_has_ended(self) -> str | None:
        """How the job ended: succeeded, failed or cancelled; None while it may go on, or where nobody knows."""
        try:
            content = (self._directory / "job.pb").read_bytes()
            message = JobMessage.FromString(content[_HEAD:] if content.startswith(_MARK) else content)
        except (OSError, DecodeError):
            return None
        job = Job(message)
        return job.state if job.has_ended else None

    def _settings(self) -> dict[str, Any]:
        try:
            return tomllib.loads((self._directory / "job.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _new_progress(self, earlier: int) -> Progress:
        return Progress(f"{self._job}-{uuid.uuid4().hex[:8]}", earlier)

    def _noted(self) -> Progress | None:
        if self._state is None:
            return None
        try:
            noted = json.loads(self._state.read_text(encoding="utf-8"))
            progress = Progress(str(noted["id"]), int(noted["earlier"]), int(noted["lines"]), int(noted["last"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            reason = f"it cannot be read; remove it to begin a new run: {error}"
            raise FollowError(f"--state {self._state}: {reason}") from error
        return progress

    def _note(self) -> None:
        if self._state is None:
            return
        aside = self._state.with_name(self._state.name + ".tmp")
        try:
            aside.write_text(json.dumps(asdict(self._progress)), encoding="utf-8")
            os.replace(aside, self._state)
        except OSError as error:
            raise FollowError(f"--state {self._state}: {error.strerror}; name a file that can be written") from error


def _say(text: str) -> None:
    print(f"follow: {text}", file=sys.stderr, flush=True)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m anytime_client.follow",
        description="Hands the figures of a job (metrics.jsonl in its directory) to another tool until the job has ended.",
    )
    parser.add_argument("directory", type=Path, metavar="JOBDIR", help="the job's directory: RUNS/JOB")
    parser.add_argument("--to", choices=("print", "wandb", "trackio"), default="print", help="the tool [print]")
    parser.add_argument("--project", default="anytime", help="the tool's project [anytime]")
    parser.add_argument("--once", action="store_true", help="hand over what there is, and end")
    parser.add_argument("--poll", type=float, default=2.0, metavar="SECONDS", help="how often to look for news [2]")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="where to note what was handed over [JOBDIR/.follow-TOOL.json; print notes nothing]",
    )
    parsed = parser.parse_args(arguments)
    if not 0.01 <= parsed.poll <= 3600:
        parser.error("--poll: it must be 0.01 to 3600")
    return parsed


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def follow(directory: Path, sink: Sink, state: Path | None = None, poll: float = 2.0, once: bool = False) -> None:
    """Follows a job until it has ended, or with `once` to the present end of its figures. Where `state` names a file, it is
    noted there how far that went, and the next call goes on from there.

    Raises:
        FollowError: The directory is none, or what was handed over cannot be noted.
    """
    if not directory.is_dir():
        raise FollowError(f"{directory}: it is no directory")
    follower = Follower(directory, sink, state)
    try:
        while True:
            # Asked first: the figures are complete when the job says that it has ended.
            ended = follower.job_has_ended()
            has_news = follower.step()
            if once:
                return
            if ended and not has_news:
                _say(f"the job has ended: {ended}")
                return
            if not has_news:
                time.sleep(poll)
    finally:
        follower.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Returns its exit code: 0, 64 where it cannot work, 130 where it was interrupted."""
    try:
        parsed = _arguments(arguments)
    except SystemExit as ended:
        return _USAGE if ended.code else 0
    signal.signal(signal.SIGTERM, _interrupt)
    state = parsed.state
    try:
        sink: Sink
        if parsed.to == "print":
            sink = Print()
        else:
            sink = (WeightsAndBiases if parsed.to == "wandb" else Trackio)(parsed.project)
            state = state or parsed.directory / f".follow-{parsed.to}.json"
        follow(parsed.directory, sink, state, parsed.poll, parsed.once)
    except FollowError as error:
        _say(str(error))
        return _USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the lines has gone; Python would complain about its standard output once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
