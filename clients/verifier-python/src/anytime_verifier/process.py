"""One running program: lines go in, as many lines come out, in the same order."""

from __future__ import annotations

import logging
import os
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from .errors import GraderError

logger = logging.getLogger("anytime_verifier")

#: Bytes that are read at once.
_READ = 1 << 20

#: Bytes that are written at once: others get their turn between two of them.
_WRITE = 1 << 20

#: How often a program that is silent is looked at, in seconds.
_LOOK = 0.5

#: How long a program that was told to end may take, in seconds.
_END = 2.0


class Batch:
    """Lines that were handed over together, and what came back."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.lines: list[bytes] = []
        #: Why the rest does not come; None where nothing is missing.
        self.failure: str | None = None
        self._done = threading.Event()

    def wait(self) -> None:
        """Waits until all lines are there, or the program has ended. It ends where it hangs, so that this returns."""
        self._done.wait()

    def end(self, failure: str | None = None) -> None:
        """Wakes whoever waits."""
        self.failure = failure
        self._done.set()


class Process:
    """A program that answers each line with a line.

    It is ended where it gives no line for `patience` seconds though some are owed. It ends by itself when its input does,
    so also when this process is killed; an interrupt from the keyboard does not reach it.

    Raises:
        GraderError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], patience: float) -> None:
        self._patience = patience
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise GraderError(f"{command[0]} cannot be started: {error}") from None
        self._pending: deque[Batch] = deque()
        self._last_line = time.monotonic()
        self._ended = False
        self._hung = False
        self._said: deque[str] = deque(maxlen=20)
        #: Guards what is above; never held while something waits.
        self._lock = threading.Lock()
        #: Whoever writes, so that lines are written in the order of `_pending`.
        self._writing = threading.Lock()
        self._listener = threading.Thread(target=self._listen, name="anytime-verifier stderr", daemon=True)
        self._listener.start()
        threading.Thread(target=self._read, name="anytime-verifier stdout", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more lines."""
        return self._ended

    @property
    def hung(self) -> bool:
        """Whether it was ended because it hung."""
        return self._hung

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._child.returncode

    @property
    def said(self) -> str:
        """The last lines of its standard error."""
        return "\n".join(self._said)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def submit(self, lines: Sequence[bytes]) -> Batch:
        """Hands lines over. Those of one call stay together."""
        batch = Batch(len(lines))
        if not lines:
            batch.end()
            return batch
        with self._writing:
            try:
                with self._lock:
                    if self._ended:
                        batch.end("has ended")
                        return batch
                    if not self._pending:
                        self._last_line = time.monotonic()
                    self._pending.append(batch)
                self._write(lines)
            except (OSError, ValueError):
                # It has ended, and the thread that reads tells so to the batch.
                pass
            except BaseException:
                # An interrupt in the middle of a line: what is written behind it would be answered wrongly.
                self._child.kill()
                raise
        return batch

    def _write(self, lines: Sequence[bytes]) -> None:
        assert self._child.stdin is not None
        part: list[bytes] = []
        size = 0
        for number, line in enumerate(lines, 1):
            part.append(line)
            size += len(line)
            if size < _WRITE and number < len(lines):
                continue
            rest = memoryview(b"".join(part))
            while rest:
                rest = rest[self._child.stdin.write(rest) or 0 :]
            part, size = [], 0

    def _read(self) -> None:
        assert self._child.stdout is not None
        output = self._child.stdout.fileno()
        torn = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                if not selector.select(min(_LOOK, self._patience)):
                    self._end_if_it_hangs()
                    continue
                found = os.read(output, _READ)
                if not found:
                    break
                *lines, torn = (torn + found).split(b"\n")
                self._deliver(lines)
        code = self._child.wait()
        # What it says last comes at its end.
        self._listener.join(_END)
        why = f"gave no verdict for {self._patience:g} s" if self._hung else f"ended with exit code {code}"
        with self._lock:
            self._ended = True
            lost = list(self._pending)
            self._pending.clear()
        for batch in lost:
            batch.end(why)

    def _end_if_it_hangs(self) -> None:
        with self._lock:
            is_owed = bool(self._pending) and time.monotonic() - self._last_line > self._patience
        if is_owed:
            self._hung = True
            self._child.kill()

    def _deliver(self, lines: list[bytes]) -> None:
        with self._lock:
            self._last_line = time.monotonic()
            while lines and self._pending:
                batch = self._pending[0]
                owed = batch.count - len(batch.lines)
                batch.lines += lines[:owed]
                lines = lines[owed:]
                if len(batch.lines) == batch.count:
                    self._pending.popleft()
                    batch.end()

    def _listen(self) -> None:
        assert self._child.stderr is not None
        for line in iter(lambda: self._child.stderr.readline(4096), b""):  # type: ignore[union-attr]
            text = line.decode("utf-8", "replace").rstrip()
            self._said.append(text)
            logger.warning("anytime-verifier: %s", text)

    def close(self) -> None:
        """Ends it: its input ends, and where that is not enough it is killed."""
        assert self._child.stdin is not None
        with suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(_END)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def forget(self) -> None:
        """Lets go of it in a process that was forked from the one that started it: there it belongs to the other one."""
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert pipe is not None
            pipe.close()
