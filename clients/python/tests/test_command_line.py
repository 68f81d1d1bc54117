"""The same as `anytime`: what both send for a job, and what both make of the learner's answers. Needs the program, whose
path is in ANYTIME_TEST_CLI.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from anytime_client import Client, Job, job_spec, v1

from conftest import FakeLearner
from test_client import after, job_message, state_event, step_event
from test_report import evaluation, trained
from test_settings import ROOT

PROGRAM = os.environ.get("ANYTIME_TEST_CLI", "")

pytestmark = pytest.mark.skipif(not PROGRAM, reason="ANYTIME_TEST_CLI has no path of the program")

__all__ = ["trained"]


def run(*arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    ended = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in codes, ended.stderr
    return ended.stdout


def as_written(value: Any) -> Any:
    """The command line prints settings that are not written as well: as null, or as an empty list."""
    if isinstance(value, dict):
        return {name: as_written(item) for name, item in value.items() if item is not None and item != []}
    return value


def submitted(learner: FakeLearner, *arguments: str) -> v1.JobSpec:
    learner.on["Submit"] = lambda *_: job_message("QUEUED")
    run("submit", *arguments, "--learner", learner.address)
    spec: v1.JobSpec = learner.requests[-1][1].spec
    return spec


def test_job_files_are_sent_alike(learner: FakeLearner, tmp_path: Path) -> None:
    files = sorted([*(ROOT / "deploy" / "jobs").glob("*.toml"), *(ROOT / "deploy" / "demo").glob("*.toml")])
    assert len(files) > 4
    for file in files:
        assert job_spec(file) == submitted(learner, str(file)), file
    text = (
        'name = "x"\nkind = "evaluate"\npriority = -2\nlabels = { team = "math", empty = "" }\n[model]\npath = "m"\n[evaluation]\npath = ["a", "b/*.parquet"]\n[data]\n'
        '[data.template_arguments]\nthinking = false\nnames = ["ä", 1, 0.5]\n[data.template_arguments.more]\nb = "c"\na = 1\n'
    )
    file = tmp_path / "job.toml"
    file.write_text(text, encoding="utf-8")
    assert job_spec(file) == submitted(learner, str(file))


def test_presets_are_sent_alike(learner: FakeLearner) -> None:
    names = [preset["name"] for preset in json.loads(run("presets", "--json"))]
    assert len(names) > 5
    for name in names[:: max(len(names) // 8, 1)]:
        spec = job_spec(run("presets", name), {"training.steps": 7})
        assert spec == submitted(learner, "--preset", name, "--set", "training.steps=7"), name


def test_a_job_and_its_events_are_shown_alike(trained: FakeLearner, client: Client) -> None:
    assert_shown_alike(trained, client, 0)


def test_a_job_with_everything_is_shown_alike(learner: FakeLearner, client: Client) -> None:
    message = job_message("PAUSED", error="no disk", step=2, total_steps=3, seconds=1.5)
    message.spec.CopyFrom(job_spec(ROOT / "deploy" / "jobs" / "reference.toml"))
    message.spec.priority = 5
    message.spec.labels["team"] = "math"
    message.forked_from.job_id, message.forked_from.step, message.forked_from.checksum = "other", 20, "ab"
    message.waiting.position, message.waiting.total, message.waiting.reason = 1, 2, "position 1 of 2 on cpu"
    message.created.FromNanoseconds(1_700_000_000_123_456_789)
    message.retry_at.FromNanoseconds(1_700_000_001_500_000_000)
    message.last_step.CopyFrom(step_event(1, 2).step)
    message.last_step.segments.add(budget=6, traces=3, correlation_v1=0.5)
    message.evaluations.append(evaluation(0, [0.1, 0.2]))
    learner.on["Get"] = lambda *_: message
    shown = json.loads(run("get", "job", "--json", "--learner", learner.address))
    ours = Job(message).to_dict()
    assert ours | {"spec": 0} == shown | {"spec": 0}
    assert ours["spec"] == as_written(shown["spec"])


def test_every_kind_of_event_is_shown_alike(learner: FakeLearner, client: Client) -> None:
    step = step_event(3, 1)
    step.step.account.left_out.add(sequence=4, reason="it could not be read")
    events = [state_event(1, "QUEUED"), state_event(2, "RUNNING"), step]
    events.append(v1.JobEvent(number=4, evaluation_progress=v1.EvaluationProgress(done_groups=1, total_groups=2)))
    events.append(v1.JobEvent(number=5, evaluation=evaluation(1, [0.5, 0.25])))
    events.append(v1.JobEvent(number=7, notice=v1.Notice(topic="collapse", text="a note", step=1)))
    events.append(v1.JobEvent(number=8, went_on=v1.WentOn(step=0)))
    events.append(state_event(9, "FAILED", error="no disk"))
    for event in events:
        event.time.FromMilliseconds(1_700_000_000_000 + event.number * 1_001)
    learner.on["Watch"] = lambda request, _: iter(after(events, request.after))
    learner.on["Get"] = lambda *_: job_message("FAILED", error="no disk")
    lines = run("watch", "job", "--json", "--learner", learner.address, codes=(70,)).splitlines()
    assert [event.to_dict() for event in client.watch("job")] == [json.loads(line) for line in lines]


def assert_shown_alike(learner: FakeLearner, client: Client, code: int) -> None:
    lines = run("watch", "job", "--json", "--learner", learner.address, codes=(code,)).splitlines()
    assert [event.to_dict() for event in client.watch("job")] == [json.loads(line) for line in lines]
    shown = json.loads(run("get", "job", "--json", "--learner", learner.address))
    assert client.status("job").to_dict() | {"spec": 0} == shown | {"spec": 0}


def test_reports_are_the_same(trained: FakeLearner, client: Client, tmp_path: Path) -> None:
    shown = json.loads(run("report", "job", "--json", "--out", str(tmp_path), "--learner", trained.address))
    assert client.report("job") == shown
