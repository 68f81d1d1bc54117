"""The installed wheel: verdicts as those of the program itself, and what happens when the program ends, hangs or is shared."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anytime_verifier
import pytest
from anytime_verifier import Grader, GraderError, Verdict, grade, grade_batch
from anytime_verifier.grader import MAX_TRUTH_CHARS, MAX_TRUTHS

ROOT = Path(__file__).parents[3]
CASES = [json.loads(line) for line in (ROOT / "verifier/tests/cases/labelled.jsonl").read_text("utf-8").splitlines()]

#: The program that the wheel was built from, or the one in the wheel.
BINARY = os.environ.get("ANYTIME_VERIFIER_BINARY") or str(Path(anytime_verifier.__file__).parent / "bin/anytime-verifier")


@pytest.fixture
def grader() -> Iterator[Grader]:
    with Grader() as grader:
        yield grader


def wait_until(holds: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to be"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def of_binary(cases: list[dict[str, Any]], *arguments: str) -> list[dict[str, Any]]:
    lines = "".join(json.dumps({**case, "id": number}) + "\n" for number, case in enumerate(cases))
    ended = subprocess.run([BINARY, "grade", *arguments], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def same(verdict: Verdict, line: dict[str, Any]) -> bool:
    return (verdict.correct, verdict.kind, verdict.extracted) == (line["correct"], line["verdict"], line["extracted"])


def test_the_labelled_cases_are_graded_as_by_the_program(grader: Grader) -> None:
    assert len(CASES) > 400
    verdicts = grader.grade_batch([case["response"] for case in CASES], [case["ground_truth"] for case in CASES])
    for case, verdict, line in zip(CASES, verdicts, of_binary(CASES), strict=True):
        assert same(verdict, line), case["id"]
    singles = [grader.grade(case["response"], case["ground_truth"]) for case in CASES[:100]]
    assert [one.kind for one in singles] == [one.kind for one in verdicts[:100]]
    assert {one.kind for one in verdicts} >= {"correct", "wrong"}


def test_options_are_those_of_the_program() -> None:
    options = {
        "extraction": "last_number",
        "percents": "exact",
        "fractions": "reduced",
        "rounding": "to_ground_truth",
        "units": "ignored",
        "lists": "ordered",
        "brackets": "exact",
    }
    cases = [{"response": "about 1.547", "ground_truth": "1.55"}, {"response": "it is 2/4", "ground_truth": "1/2"}]
    arguments = [f"--{name}={value.replace('_', '-')}" for name, value in options.items()]
    verdicts = grade_batch([one["response"] for one in cases], [one["ground_truth"] for one in cases], **options)
    assert all(same(*pair) for pair in zip(verdicts, of_binary(cases, *arguments), strict=True))
    assert [one.correct for one in verdicts] == [True, False]
    explained = grade("\\boxed{7}", ["8", "7.0"], explain=True)
    assert explained.correct and explained.rule and len(explained.ground_truth_forms) == 2
    for wrong in ({"units": "metric"}, {"extraction": "--help"}, {"percents": ""}):
        with pytest.raises(ValueError, match="not one of"):
            grade("1", "1", **wrong)
    with pytest.raises(TypeError):
        grade("1", "1", colour="red")
    with pytest.raises(TypeError, match="units is a int"):
        Grader(units=3)  # type: ignore[arg-type]
    for settings in ({"patience": 0.0}, {"patience": float("nan")}, {"threads": 0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Grader(**settings)  # type: ignore[arg-type]


def test_ground_truths_are_texts_numbers_and_lists_of_them(grader: Grader) -> None:
    for truth in ("7", 7, 7.0, ["8", 7], ("7",), {"7"}, 7 + 0 * 10**30):
        assert grader.grade("\\boxed{7}", truth).correct, truth
    assert grader.grade("\\boxed{123456789012345678901234567890}", 123456789012345678901234567890).correct
    for truth, error in (
        (None, TypeError),
        (True, TypeError),
        (["7", None], TypeError),
        ([], ValueError),
        (["7"] * (MAX_TRUTHS + 1), ValueError),
        ("7" * (MAX_TRUTH_CHARS + 1), ValueError),
        ("\ud800", ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
    ):
        with pytest.raises(error):
            grader.grade_batch(["\\boxed{7}", "x"], ["7", truth])
    with pytest.raises(TypeError):
        grader.grade(None, "7")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 responses and 1 ground truths"):
        grader.grade_batch(["x", "y"], ["7"])
    assert grader.grade_batch([], []) == []
    assert grader.restarts == 0, "what is refused here never reaches the program"


def test_the_limits_are_those_of_the_program(grader: Grader) -> None:
    """A line beyond them ends the program, with every batch that others have in hand."""
    for truth in ("7" * MAX_TRUTH_CHARS, "ä" * MAX_TRUTH_CHARS, ["7"] * MAX_TRUTHS):
        grader.grade("\\boxed{7}", truth)
    assert grader.restarts == 0
    for truth in ("7" * (MAX_TRUTH_CHARS + 1), ["7"] * (MAX_TRUTHS + 1)):
        line = json.dumps({"id": 1, "response": "", "ground_truth": truth})
        assert subprocess.run([BINARY, "grade"], input=line, capture_output=True, text=True).returncode == 65


def test_odd_responses_have_verdicts(grader: Grader) -> None:
    odd = ["", "\x00", "\ud800 \\boxed{7}", "\u2028\\boxed{7}\r\n", "\\boxed{7}" * 1000, "\U0001f914", "}" * 5000, "\\boxed{"]
    verdicts = grader.grade_batch(odd, ["7"] * len(odd))
    assert [one.kind for one in verdicts[2:5]] == ["correct"] * 3 and verdicts[0].kind == "no_answer"
    for long in ("x" * (5 << 20), "\x01" * (2 << 20), "\U0001f914" * (2 << 20)):
        assert grader.grade(long, ["\x01" * MAX_TRUTH_CHARS] * MAX_TRUTHS).kind == "too_large"
    assert grader.restarts == 0


def test_threads_share_a_program(grader: Grader) -> None:
    def work(number: int) -> bool:
        if number % 3:
            return grader.grade(f"\\boxed{{{number}}}", number).correct
        verdicts = grader.grade_batch([f"\\boxed{{{number}}}"] * 500, [number, number + 1] * 250)
        return [one.correct for one in verdicts] == [True, False] * 250

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(work, range(200)))
    assert grader.restarts == 0


def test_a_program_that_is_killed_is_started_again(grader: Grader, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "anytime_verifier")
    assert grader.grade("\\boxed{7}", "7").correct
    first = grader.pid
    assert first is not None
    count = 200_000

    def kill_it() -> None:
        process = grader._process
        assert process is not None
        wait_until(lambda: process._pending and process._pending[0].lines)
        os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_it)
    killer.start()
    verdicts = grader.grade_batch([f"\\boxed{{{number}}}" for number in range(count)], range(count))
    killer.join()
    assert len(verdicts) == count and all(one.correct for one in verdicts)
    assert grader.restarts == 1 and grader.pid not in (None, first)
    assert "started again" in caplog.text and "-9" in caplog.text
    # One that ended between two calls is started again without a word.
    os.kill(grader.pid or 0, signal.SIGKILL)
    wait_until(lambda: grader.pid is None)
    assert grader.grade("\\boxed{7}", "7").correct and grader.restarts == 2


def fake(directory: Path, script: str) -> Path:
    program = directory / "fake"
    program.write_text(f"#!{sys.executable}\nimport sys, os, json, time\n{textwrap.dedent(script)}")
    program.chmod(0o755)
    return program


ANSWER = """
def answer(line):
    verdict = {"id": json.loads(line)["id"], "correct": True, "verdict": "correct", "extracted": "7", "seconds": 0.0}
    print(json.dumps(verdict), flush=True)
"""


def test_a_program_that_ends_again_and_again_is_an_error(tmp_path: Path) -> None:
    program = fake(tmp_path, "sys.stdin.readline(); print('no memory', file=sys.stderr); sys.exit(70)")
    with Grader(program=program) as grader, pytest.raises(GraderError, match="(?s)exit code 70 twice.*no memory"):
        grader.grade("\\boxed{7}", "7")
    assert grader.restarts == 1
    with pytest.raises(GraderError, match="no program"):
        Grader(program=tmp_path / "none")
    program.chmod(0o644)
    with Grader(program=program) as grader, pytest.raises(GraderError, match="cannot be started"):
        grader.grade("\\boxed{7}", "7")


def test_a_program_that_ends_every_now_and_then_gets_to_the_end(tmp_path: Path) -> None:
    program = fake(tmp_path, ANSWER + "for _ in range(3):\n    answer(sys.stdin.readline())\nsys.exit(70)")
    with Grader(program=program) as grader:
        verdicts = grader.grade_batch(["x"] * 10, ["7"] * 10)
    assert len(verdicts) == 10 and grader.restarts >= 3


def test_a_program_that_hangs_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "anytime_verifier")
    program = fake(tmp_path, ANSWER + "answer(sys.stdin.readline())\ntime.sleep(3600)")
    start = time.monotonic()
    with Grader(program=program, patience=0.3) as grader:
        # Far more than a pipe holds: whoever writes waits, too.
        with pytest.raises(GraderError, match="no verdict for 0.3 s twice"):
            grader.grade_batch(["x" * 1000] * 3000, ["7"] * 3000)
        assert grader.grade("x", "7").correct, "the next call has a program again"
    assert time.monotonic() - start < 30
    silent = fake(tmp_path, "time.sleep(3600)")
    with Grader(program=silent, patience=0.3) as grader, pytest.raises(GraderError, match="twice"):
        grader.grade("x", "7")
    with Grader(patience=0.5) as grader:
        assert grader.grade("\\boxed{7}", "7").correct
        os.kill(grader.pid or 0, signal.SIGSTOP)
        assert grader.grade("\\boxed{7}", "7").correct and grader.restarts == 1
        time.sleep(1.5)
        assert grader.grade("\\boxed{7}", "7").correct and grader.restarts == 1, "silence without work is no fault"


def test_a_verdict_out_of_its_place_is_no_verdict(tmp_path: Path) -> None:
    program = fake(tmp_path, ANSWER + "for line in sys.stdin:\n    answer('{\"id\": 99}')")
    with Grader(program=program) as grader, pytest.raises(GraderError, match="item 99 where item 0"):
        grader.grade("x", "7")


def test_faults_are_no_scores() -> None:
    assert Verdict(True, "correct", "7", 0.0).score == 1.0 and Verdict(False, "too_large", "", 0.0).score == 0.0
    for kind in ("out_of_time", "internal_error"):
        verdict = Verdict(False, kind, "", 0.0)
        assert verdict.is_fault and verdict.score is None


def test_a_closed_grader_grades_no_more() -> None:
    grader = Grader()
    grader.grade("\\boxed{7}", "7")
    pid = grader.pid or 0
    grader.close()
    grader.close()
    assert is_gone(pid) and grader.pid is None
    with pytest.raises(GraderError, match="closed"):
        grader.grade("\\boxed{7}", "7")


def test_a_grader_is_pickled_as_its_options() -> None:
    with Grader(units="required") as grader, pickle.loads(pickle.dumps(grader)) as other:
        assert not other.grade("\\boxed{3}", "3 kg").correct and grader.grade("\\boxed{3 kg}", "3 kg").correct


SCRIPT = """
import os, sys, time
from anytime_verifier import Grader, grade
grader = Grader()
grader.grade("1", "1"); grade("1", "1")
if os.fork() == 0:
    # A forked process that lives on holds no end of the pipes, and has a program of its own.
    assert grader.pid is None and grader.grade("\\\\boxed{7}", "7").correct and grade("\\\\boxed{7}", "7").correct
    print(os.getpid(), grader.pid, flush=True)
    time.sleep(60)
print(os.getpid(), grader.pid, flush=True)
time.sleep(60)
"""


def test_a_program_ends_with_its_parent_however_that_ends() -> None:
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pids = dict(tuple(map(int, child.stdout.readline().split())) for _ in range(2))
    (forked,) = set(pids) - {child.pid}
    try:
        assert not is_gone(pids[child.pid]) and not is_gone(pids[forked])
        child.kill()
        child.wait()
        wait_until(lambda: is_gone(pids[child.pid]))
        assert not is_gone(pids[forked]), "that of the other process goes on"
    finally:
        os.kill(forked, signal.SIGKILL)
    wait_until(lambda: is_gone(pids[forked]))
    child.stdout.close()


def test_an_interrupt_does_not_reach_the_program() -> None:
    script = (
        "import os, signal\nfrom anytime_verifier import Grader\ngrader = Grader()\ngrader.grade('1', '1')\n"
        "try:\n    os.killpg(0, signal.SIGINT)\n    signal.pause()\nexcept KeyboardInterrupt:\n    pass\n"
        "assert grader.grade('\\\\boxed{7}', '7').correct and grader.restarts == 0\nprint('fine')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, start_new_session=True, timeout=30)
    assert ended.stdout == "fine\n", ended.stderr


def test_an_interrupt_in_the_middle_of_a_batch_mixes_nothing_up(grader: Grader) -> None:
    # Only the main thread is interrupted.
    for pause in (0.01, 0.03, 0.1, 0.2):
        timer = threading.Timer(pause, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            grader.grade_batch(["x" * 200 + "\\boxed{1}"] * 300_000, ["1"] * 300_000)
            time.sleep(5)
        except KeyboardInterrupt:
            pass
        timer.join()
        assert grader.grade("\\boxed{7}", "7").correct and not grader.grade("\\boxed{8}", "7").correct


def graded_in_a_worker(number: int) -> bool:
    return grade(f"\\boxed{{{number}}}", number).correct


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_pool_have_programs_of_their_own(method: str) -> None:
    assert graded_in_a_worker(1)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all(pool.map(graded_in_a_worker, range(50)))
    assert graded_in_a_worker(2)
