"""What a real learner leaves of a job for other tools, read by TensorBoard itself and by the follower. Needs a learner, as
test_learner.py, and in ANYTIME_TEST_RUNS the directory of its runs.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from anytime_client import Client
from anytime_client.follow import figures

RUNS = os.environ.get("ANYTIME_TEST_RUNS", "")
JOB = os.environ.get("ANYTIME_TEST_JOB", "")

pytestmark = [
    pytest.mark.learner,
    pytest.mark.skipif(not (RUNS and JOB and os.environ.get("ANYTIME_LEARNER")), reason="ANYTIME_LEARNER has no learner"),
]


def single(value: float) -> float:
    """As TensorBoard keeps it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def scalars(accumulator: Any) -> dict[str, list[tuple[int, float]]]:
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


def test_a_jobs_figures_are_read_by_other_tools() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    client = Client()
    job = client.wait(client.submit(JOB, changes={"name": "figures"}))
    assert job.state == "succeeded"
    directory = Path(RUNS) / job.id
    text = (directory / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    report = client.report(job)
    assert [line["step"] for line in lines if line["event"] == "step"] == list(range(1, job.step + 1))
    evaluations = [line for line in lines if line["event"] == "evaluation"]
    assert [line["step"] for line in evaluations] == [0, job.step]
    assert [line["eval/accuracy/budget_12"] for line in evaluations] == [
        report[which]["accuracy"][report[which]["budgets"].index(12)] for which in ("before", "after")
    ]
    for line, step in zip([line for line in lines if line["event"] == "step"], report["series"]):
        assert (line["train/loss"], line["reward/mean"]) == (step["loss"], step["anytime"])
        assert [value for name, value in line.items() if name.startswith("reward/budget_")] == step["reward_per_budget"]
    seconds = [line["wall_seconds"] for line in lines]
    assert seconds == sorted(seconds) and 0 < seconds[0] and seconds[-1] <= job.seconds + 60

    expected: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in figures(line).items():
            if name not in ("step", "wall_seconds"):
                expected.setdefault(name, []).append((line["step"], single(value)))
    board = directory / "tensorboard"
    (file,) = board.iterdir()
    accumulator = EventAccumulator(str(board), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert scalars(accumulator) == expected and math.isfinite(expected["train/loss"][0][1])
    assert accumulator.FirstEventTimestamp() > 1.7e9

    # As its web server reads it: the job is a run among others.
    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 0})
    multiplexer.AddRunsFromDirectory(RUNS)
    multiplexer.Reload()
    run = f"{job.id}/tensorboard"
    assert run in multiplexer.Runs()
    assert set(multiplexer.Runs()[run]["tensors"]) == set(expected)
    assert [event.step for event in multiplexer.Tensors(run, "train/loss")] == list(range(1, job.step + 1))

    # A learner that writes the file anew gives it a later name and empties the other. TensorBoard forgets what it has read.
    content, number = file.read_bytes(), int(file.name.split(".")[3])
    file.with_name(file.name.replace(str(number), str(number + 1))).write_bytes(content)
    file.write_bytes(b"")
    for reader in (accumulator, multiplexer):
        reader.Reload()
    assert scalars(accumulator) == expected, "each step once"
    assert [event.step for event in multiplexer.Tensors(run, "train/loss")] == list(range(1, job.step + 1))

    command = [sys.executable, "-m", "anytime_client.follow", str(directory)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout.splitlines()) == (0, [json.dumps(line) for line in lines])
    assert "the job has ended: succeeded" in ended.stderr

    client.delete(job, with_models=True)
    assert not directory.exists()
