"""Reports, curves and pictures of what a learner says."""

from __future__ import annotations

import builtins
import json
import math
from pathlib import Path
from typing import Any

import pytest
from anytime_client import AnytimeError, Client, Point, Report, as_dict, v1

from conftest import FakeLearner
from test_client import EVENTS, after, job_message, state_event, step_event


def evaluation(step: int, accuracy: list[float], bootstrap: bool = True) -> v1.EvaluationResult:
    result = v1.EvaluationResult(step=step, budgets=[6, 12], accuracy=accuracy, ci95=[0.5, 0.125], seconds=2.0)
    result.generated_tokens = 100
    result.anytime = sum(accuracy) / 2
    if bootstrap:
        result.accuracy_low.extend(mean - 0.125 for mean in accuracy)
        result.accuracy_high.extend(mean + 0.125 for mean in accuracy)
    return result


@pytest.fixture
def trained(learner: FakeLearner) -> FakeLearner:
    """A job that has ended, with an evaluation before and one after its steps; step 2 was done twice."""
    message = job_message("SUCCEEDED", step=2, seconds=9.0, checkpoint="runs/job/final")
    message.evaluations.extend([evaluation(0, [0.25, 0.5], bootstrap=False), evaluation(2, [0.5, 0.75])])
    message.notices.add(topic="checkpoint", text="a note", step=1)
    events = [*EVENTS[:4], v1.JobEvent(number=5, went_on=v1.WentOn(step=1)), step_event(6, 2, (1.0, 1.0))]
    events.append(state_event(7, "SUCCEEDED"))
    learner.on["Get"] = lambda *_: message
    learner.on["Watch"] = lambda request, _: iter(after(events, request.after))
    learner.on["Account"] = lambda *_: v1.JobAccount(last_event=7)
    return learner


def test_a_report_has_what_the_command_line_writes(trained: FakeLearner, client: Client) -> None:
    report = client.report("job")
    assert (report["kind"], report["state"], report["steps"]) == ("train", "succeeded", 2)
    assert report["before"]["accuracy"] == [0.25, 0.5] and report["after"]["step"] == 2
    assert report["before"]["accuracy_low"] == [0.0, 0.375], "half widths where there is no bootstrap"
    assert report["after"]["accuracy_high"] == [0.625, 0.875]
    assert report["after"]["tokens_per_second"] == 50.0 and report["tokens_per_second"] == 10.0
    assert [(step["step"], step["reward_per_budget"]) for step in report["series"]] == [(1, [0.5, 0.75]), (2, [1.0, 1.0])]
    assert report["series"][0]["account"] is None and report["notices"][0]["text"] == "a note"
    json.dumps(report)
    html = report._repr_html_()
    assert "0.500 [0.375, 0.625]" in html and "before" in html


def test_a_job_that_runs_is_reported_as_far_as_it_is(trained: FakeLearner, client: Client) -> None:
    trained.on["Get"] = lambda *_: job_message("RUNNING", step=1)
    trained.on["Account"] = lambda *_: v1.JobAccount(last_event=3)
    report = client.report("job")
    assert [step["step"] for step in report["series"]] == [1]
    assert report["before"] is None and report["after"] is None
    trained.on["Account"] = lambda *_: v1.JobAccount(last_event=0)
    assert client.report("job")["series"] == []


def test_a_curve_is_a_list_of_points(trained: FakeLearner, client: Client) -> None:
    assert client.curve("job") == [Point(6, 0.5, 0.375, 0.625), Point(12, 0.75, 0.625, 0.875)]
    assert client.curve("job", "before")[1] == Point(12, 0.5, 0.375, 0.625)
    assert client.curve("job", 2) == client.curve("job", "after")
    with pytest.raises(AnytimeError, match="no evaluation step 1; it has those after steps 0, 2"):
        client.curve("job", 1)
    with pytest.raises(AnytimeError) as caught:
        client.curve("job", "later")
    assert caught.value.field == "which"


def test_an_evaluation_has_no_before(learner: FakeLearner, client: Client) -> None:
    message = job_message("SUCCEEDED")
    message.spec.kind = v1.JOB_KIND_EVALUATE
    message.evaluations.append(evaluation(0, [0.5, 0.5]))
    learner.on["Get"] = lambda *_: message
    assert client.curve("job")[0].accuracy == 0.5
    with pytest.raises(AnytimeError) as caught:
        client.curve("job", "before")
    assert caught.value.code.name == "NOT_FOUND"


def test_pictures_are_drawn(trained: FakeLearner, client: Client, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("agg")
    axes = client.plot("job")
    assert [line.get_label() for line in axes.lines] == ["before: anytime 0.375", "after: anytime 0.625"]
    axes.figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    report = client.report("job")
    steps = client.plot_steps(report)
    assert len(steps.lines) == 2 and list(steps.lines[0].get_xdata()) == [1, 2]
    assert [line.get_label() for line in steps.lines] == ["budget 1 of 2", "budget 2 of 2"]
    report["series"][-1]["segments"] = [{"budget": 6}, {"budget": 12}]
    assert [line.get_label() for line in client.plot_steps(report).lines] == ["budget 6", "budget 12"]
    assert client.plot(report, axes=steps) is steps
    nothing = Report(report, before=None, after=None, series=[])
    for draw in (client.plot, client.plot_steps):
        with pytest.raises(AnytimeError, match="to draw"):
            draw(nothing)


def test_without_matplotlib_an_error_says_what_to_install(
    trained: FakeLearner, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(AnytimeError, match=r'pip install "anytime-client\[plot\]"') as caught:
        client.plot("job")
    assert caught.value.code.name == "FAILED_PRECONDITION"


def test_messages_become_plain_values() -> None:
    result = as_dict(v1.StepMetrics(step=2**53 + 1, loss=math.nan, segments=[v1.SegmentStatistics(budget=6)]))
    assert result["step"] == 2**53 + 1 and result["loss"] is None and result["skipped_updates"] == 0
    assert result["segments"] == [
        {"budget": 6, "traces": 0}
        | {f"{kind}_{baseline}": None for kind in ("correlation", "variance") for baseline in ("v1", "v2", "v")}
    ]
    assert result["account"] is None
    pushed = as_dict(v1.PushRequest(abandoned=v1.AbandonedGroup(reason=v1.ABANDON_REASON_ENGINE), lease_token=b"\xff"))
    assert pushed["abandoned"]["reason"] == "engine" and "group" not in pushed and pushed["lease_token"] == "/w=="
