"""The follower of `metrics.jsonl`: what it hands over, and how it goes on over restarts of both sides."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anytime_client import v1
from anytime_client.follow import FollowError, MetricsFile, Print, Progress, Trackio, WeightsAndBiases, figures, follow, main


def step(number: int, step: int, **more: Any) -> dict[str, Any]:
    line = {"step": step, "event": "step", "number": number, "time": "2026-01-01T00:00:00Z", "wall_seconds": 1.5 * step}
    return {**line, "train/loss": 1 / step, "reward/budget_6": 0.25, **more}


def evaluation(number: int, step: int) -> dict[str, Any]:
    return {"step": step, "event": "evaluation", "number": number, "time": "", "wall_seconds": 0.0, "eval/accuracy/mean": 0.5}


def append(job: Path, *lines: dict[str, Any]) -> None:
    with (job / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def replace(job: Path, *lines: dict[str, Any]) -> None:
    """As the learner does it."""
    aside = job / ".metrics.jsonl.part"
    aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.replace(aside, job / "metrics.jsonl")


def end_as(job: Path, state: int) -> None:
    content = v1.Job(id=job.name, state=state).SerializeToString()
    (job / "job.pb").write_bytes(b"\xfeRE\xfd" + len(content).to_bytes(4, "little") + bytes(8) + content)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    directory = tmp_path / "demo"
    directory.mkdir()
    (directory / "job.toml").write_text('name = "demo"\n[training]\nsteps = 5\n', encoding="utf-8")
    return directory


class FakeWandb(types.ModuleType):
    """Keeps the calls, and refuses what Weights & Biases would drop: a step that does not grow."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.began: list[dict[str, Any]] = []
        self.defined: set[tuple[str, str | None]] = set()
        self.finished = 0
        self.fail_at: int | None = None

    def init(self, **arguments: Any) -> Any:
        self.began.append(arguments)
        history = self.runs.setdefault(arguments["id"], [])

        class Run:
            def define_metric(_, name: str, step_metric: str | None = None) -> None:
                self.defined.add((name, step_metric))

            def log(_, values: dict[str, float], step: int) -> None:
                if step == self.fail_at:
                    raise ConnectionError("the tool is away")
                assert not history or step > history[-1][0]
                history.append((step, values))

            def finish(_) -> None:
                self.finished += 1

        return Run()


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def hand_over(job: Path) -> None:
    assert main([str(job), "--to", "wandb", "--project", "math", "--once"]) == 0


def steps(history: list[tuple[int, dict[str, float]]]) -> list[float]:
    return [values["step"] for _, values in history]


def test_a_line_becomes_numbers() -> None:
    line = {**step(7, 2), "train/loss": None, "odd": True, "text": "x"}
    assert figures(line) == {"step": 2, "wall_seconds": 3.0, "reward/budget_6": 0.25}


def test_a_run_is_begun_with_the_settings_and_gone_on_with(job: Path, wandb: FakeWandb) -> None:
    append(job, evaluation(3, 0), step(4, 1))
    hand_over(job)
    append(job, step(5, 2), step(6, 3))
    hand_over(job)
    hand_over(job)
    ((run, history),) = wandb.runs.items()
    assert run.startswith("demo-") and [number for number, _ in history] == [3, 4, 5, 6]
    assert steps(history) == [0, 1, 2, 3] and history[1][1]["train/loss"] == 1
    assert len(wandb.began) == 2 == wandb.finished, "nothing new begins nothing"
    assert wandb.began[0] == {
        "project": "math",
        "id": run,
        "name": "demo",
        "group": "demo",
        "config": {"name": "demo", "training": {"steps": 5}},
        "resume": "allow",
    }
    assert wandb.defined == {("step", None), ("*", "step")}


def test_a_file_that_is_only_written_anew_goes_on_in_the_same_run(job: Path, wandb: FakeWandb) -> None:
    append(job, step(2, 1), step(3, 2))
    hand_over(job)
    replace(job, step(2, 1), step(3, 2), step(4, 3))
    hand_over(job)
    ((_, history),) = wandb.runs.items()
    assert steps(history) == [1, 2, 3]


@pytest.mark.parametrize("again", [[step(6, 2), step(7, 3), step(8, 4)], [], [step(6, 2)]])
def test_undone_steps_are_in_no_run_twice(job: Path, wandb: FakeWandb, again: list[dict[str, Any]]) -> None:
    append(job, step(2, 1), step(3, 2), step(4, 3))
    hand_over(job)
    # Killed, and gone on with from step 1.
    replace(job, step(2, 1), *again)
    hand_over(job)
    append(job, step(9, 5))
    hand_over(job)
    (_, before), (_, after) = wandb.runs.items()
    assert steps(before) == [1, 2, 3]
    assert steps(after) == [1, *(line["step"] for line in again), 5]
    assert wandb.began[1]["name"] == "demo (2)" and wandb.began[1]["group"] == "demo"


def test_an_evaluation_that_was_repeated_begins_another_run(job: Path, wandb: FakeWandb) -> None:
    append(job, evaluation(2, 0), step(3, 1))
    hand_over(job)
    replace(job, step(3, 1), evaluation(4, 0))
    hand_over(job)
    (_, before), (_, after) = wandb.runs.items()
    assert [number for number, _ in before] == [2, 3] and [number for number, _ in after] == [3, 4]


def test_a_follower_that_runs_sees_the_file_grow_and_be_replaced(job: Path, wandb: FakeWandb) -> None:
    class Script(WeightsAndBiases):
        """Does the next thing to the file whenever so many lines have come."""

        def __init__(self, acts: list[tuple[int, Callable[[], None]]]) -> None:
            super().__init__("math")
            self.acts = acts
            self.seen = 0

        def log(self, line: dict[str, Any]) -> None:
            super().log(line)
            self.seen += 1
            while self.acts and self.acts[0][0] == self.seen:
                self.acts.pop(0)[1]()

    append(job, step(2, 1))
    acts: list[tuple[int, Callable[[], None]]] = [
        (1, lambda: append(job, step(3, 2), step(4, 3))),
        (3, lambda: replace(job, step(2, 1), step(3, 2), step(6, 3))),
        (6, lambda: append(job, step(7, 4))),
        (7, lambda: end_as(job, v1.JOB_STATE_SUCCEEDED)),
    ]
    follow(job, Script(acts), job / "state", poll=0.01)
    before, after = wandb.runs.values()
    assert (steps(before), steps(after)) == ([1, 2, 3], [1, 2, 3, 4])


def test_half_a_line_is_waited_for_and_other_text_is_passed_over(job: Path) -> None:
    path = job / "metrics.jsonl"
    file = MetricsFile(path)
    assert file.read() == (False, []), "there is no file yet"
    text = json.dumps(step(2, 1)).encode()
    path.write_bytes(text[:20])
    assert file.read() == (True, [])
    path.open("ab").write(text[20:])
    assert file.read() == (False, [])
    path.open("ab").write(b'\n{"step": 1}\n[]\nnull\n\xff\n\n')
    assert file.read() == (False, [step(2, 1)])
    # Shorter than what was read, or gone for a moment.
    path.write_bytes(b"")
    assert file.read() == (True, [])
    path.unlink()
    assert file.read() == (False, [])
    append(job, step(3, 1))
    assert file.read() == (True, [step(3, 1)])
    # A new file of the same length under the same name.
    replace(job, step(4, 1))
    assert file.read() == (True, [step(4, 1)])
    file.close()


def test_a_tool_that_is_away_costs_no_line(job: Path, wandb: FakeWandb) -> None:
    append(job, *(step(number, number) for number in range(1, 451)))
    wandb.fail_at = 321
    with pytest.raises(ConnectionError):
        hand_over(job)
    assert wandb.finished == 1
    wandb.fail_at = None
    # Weights & Biases drops what it has already, which is those since the last note.
    history = next(iter(wandb.runs.values()))
    assert len(history) == 320
    del history[200:]
    hand_over(job)
    ((_, history),) = wandb.runs.items()
    assert steps(history) == list(range(1, 451))


def test_where_a_run_is_behind_follows_from_the_lines_alone() -> None:
    lines = [step(2, 1), step(3, 2), evaluation(4, 2), step(5, 3)]
    assert Progress("x").rest(lines) == lines
    assert Progress("x", lines=3, last=4).rest(lines) == lines[3:]
    assert Progress("x", lines=4, last=5).rest(lines) == []
    assert Progress("x", lines=4, last=4).rest(lines) is None
    assert Progress("x", lines=4, last=9).rest(lines) == []
    assert Progress("x", lines=1, last=1).rest([]) is None


def test_what_cannot_work_is_said(job: Path, wandb: FakeWandb, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    assert main([str(job / "nowhere"), "--once"]) == 64
    assert "nowhere: it is no directory" in capsys.readouterr().err
    assert main([str(job), "--to", "paper"]) == 64 and main([str(job), "--poll", "0"]) == 64 and main([]) == 64
    assert main(["--help"]) == 0
    append(job, step(2, 1))
    for text in ["", "[]", '{"id": "x"}', '{"id": "x", "earlier": "y", "lines": 0, "last": 0}']:
        (job / ".follow-wandb.json").write_text(text)
        assert main([str(job), "--to", "wandb", "--once"]) == 64
        assert "remove it to begin a new run" in capsys.readouterr().err
    (job / ".follow-wandb.json").unlink()
    assert main([str(job), "--to", "wandb", "--once", "--state", str(job / "no" / "state")]) == 64
    assert "name a file that can be written" in capsys.readouterr().err
    (job / "metrics.jsonl").unlink()
    (job / "metrics.jsonl").mkdir()
    assert main([str(job), "--once"]) == 64
    assert "metrics.jsonl: Is a directory" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main([str(job), "--to", "wandb", "--once"]) == 64
    assert "pip install wandb" in capsys.readouterr().err


def program(job: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "anytime_client.follow", str(job), "--poll", "0.05", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def test_lines_are_printed_until_the_job_has_ended(job: Path) -> None:
    end_as(job, v1.JOB_STATE_RUNNING)
    append(job, step(2, 1))
    follower = program(job)
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline()) == step(2, 1)
    append(job, step(3, 2))
    assert json.loads(follower.stdout.readline()) == step(3, 2)
    append(job, step(4, 3))
    end_as(job, v1.JOB_STATE_FAILED)
    out, err = follower.communicate(timeout=20)
    assert json.loads(out) == step(4, 3) and "the job has ended: failed" in err
    assert follower.returncode == 0
    assert not list(job.glob(".follow*")), "printing notes nothing"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_interrupted(job: Path, number: int) -> None:
    append(job, step(2, 1))
    follower = program(job)
    assert follower.stdout is not None and follower.stdout.readline()
    follower.send_signal(number)
    out, err = follower.communicate(timeout=20)
    assert (follower.returncode, out, err) == (130, "", "")


def test_a_reader_that_has_gone_is_no_fault(job: Path) -> None:
    append(job, *(step(number, number) for number in range(1, 5000)))
    follower = program(job, "--once")
    assert follower.stdout is not None and follower.stderr is not None
    follower.stdout.readline()
    follower.stdout.close()
    assert follower.stderr.read() == "" and follower.wait(20) == 0


def test_weights_and_biases_takes_the_lines_offline(job: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    append(job, evaluation(2, 0), step(3, 1), step(4, 2))
    environment = {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_SILENT": "true",
        "WANDB_CACHE_DIR": str(tmp_path / "cache"),
        "WANDB_CONFIG_DIR": str(tmp_path / "config"),
        "WANDB_DATA_DIR": str(tmp_path / "data"),
    }
    follower = program(job, "--to", "wandb", "--once", **environment)
    out, err = follower.communicate(timeout=120)
    assert follower.returncode == 0, err
    noted = json.loads((job / ".follow-wandb.json").read_text())
    assert (noted["lines"], noted["last"], noted["earlier"]) == (3, 4, 0)
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert noted["id"] in log.name
    history = wandb_history(log)
    assert [row["step"] for row in history] == [0, 1, 2]
    assert [row["_step"] for row in history] == [2, 3, 4]
    assert history[2]["train/loss"] == 0.5 and history[0]["eval/accuracy/mean"] == 0.5


def wandb_history(log: Path) -> list[dict[str, Any]]:
    from wandb.proto import wandb_internal_pb2

    rows = []
    for data in leveldb_records(log.read_bytes()[7:]):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format. The head of the file takes 7 bytes of the first block."""
    place, data = 0, b""
    while place + 7 <= len(content):
        room = 32768 - (place + 7) % 32768
        if room < 7:
            place += room
            continue
        length, part = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        # Whole, or the last part.
        if part in (1, 4):
            yield data
            data = b""


def test_trackio_takes_the_lines(job: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    append(job, step(3, 1), step(4, 2))
    environment = {"TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    for _ in ("begun", "gone on with"):
        follower = program(job, "--to", "trackio", "--once", "--project", "math", **environment)
        out, err = follower.communicate(timeout=120)
        assert follower.returncode == 0, err
        append(job, step(5, 3))
    noted = json.loads((job / ".follow-trackio.json").read_text())
    (database,) = (tmp_path / "trackio").glob("math*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    assert [(run, at) for run, at, _ in rows] == [(noted["id"], 1), (noted["id"], 2), (noted["id"], 3)]
    assert json.loads(rows[1][2])["train/loss"] == 0.5
