"""What came of a job: accuracy at every budget before and after, the figures of its steps, and pictures of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from .errors import AnytimeError, invalid
from .v1 import EvaluationResult, StepMetrics
from .view import Job, as_dict, html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: As in docs/demo-curves.svg: colour-blind people tell them apart.
_ORANGE, _BLUE = "#d55e00", "#0072b2"


class Point(NamedTuple):
    """Accuracy at one budget, with its 95 % interval."""

    budget: int
    accuracy: float
    low: float
    high: float


class Report(dict[str, Any]):
    """What `report.json` of the command line holds; a table in a notebook."""

    def _repr_html_(self) -> str:
        columns = [(name, self[name]) for name in ("before", "after") if self[name]]
        rows: list[list[str]] = []
        if columns:
            for index, budget in enumerate(columns[0][1]["budgets"]):
                rows.append([str(budget)] + [_cell(accuracy, index) for _, accuracy in columns])
            for name, key in (("anytime", "anytime"), ("final", "final"), ("thinking tokens", "mean_thinking_tokens")):
                rows.append([name] + [f"{accuracy[key]:.3f}" for _, accuracy in columns])
        title = f"{self['job_id']} ({self['kind']}), {self['state']}: {self['steps']} steps in {self['seconds']:.0f} s"
        return html_table([title], []) + html_table(["budget"] + [name for name, _ in columns], rows)


def make_report(job: Job, steps: Iterable[StepMetrics]) -> Report:
    """The report of a job whose steps were seen in this order."""
    series: list[StepMetrics] = []
    for step in steps:
        # A step that a restarted learner does again is kept once, as it was done last.
        while series and series[-1].step >= step.step:
            series.pop()
        series.append(step)
    seen = series or ([job.message.last_step] if job.message.HasField("last_step") else [])
    before, after = before_and_after(job)
    return Report(
        job_id=job.id,
        name=job.name,
        kind=job.kind,
        state=job.state,
        forked_from=as_dict(job.message.forked_from) if job.message.HasField("forked_from") else None,
        before=accuracy_of(before) if before else None,
        after=accuracy_of(after) if after else None,
        steps=job.step,
        seconds=job.seconds,
        tokens_per_second=_tokens_per_second(job.kind, seen),
        checkpoint=job.checkpoint,
        evaluations=[accuracy_of(result) for result in job.message.evaluations],
        notices=[as_dict(notice) for notice in job.message.notices],
        series=[as_dict(step) | {"account": None, "timeline": None} for step in series],
        timeline=None,
    )


def before_and_after(job: Job) -> tuple[EvaluationResult | None, EvaluationResult | None]:
    """The evaluation of the weights that a job started from, and the newest after a step. An evaluation has no before."""
    results = list(job.message.evaluations)
    if job.kind == "evaluate":
        return None, results[-1] if results else None
    before = next((result for result in results if result.step == 0), None)
    after = next((result for result in reversed(results) if result.step > 0), None)
    return before, after


def curve_of(job: Job, which: str | int = "after") -> list[Point]:
    """Accuracy against budget of one evaluation: before, after, or that of a step.

    Raises:
        AnytimeError: NOT_FOUND where there is no such evaluation.
    """
    before, after = before_and_after(job)
    by_step = {result.step: result for result in job.message.evaluations}
    if isinstance(which, str) and which not in ("before", "after"):
        raise invalid(f"which is {which!r}; it must be before, after or a step", "which")
    chosen = {"before": before, "after": after}[which] if isinstance(which, str) else by_step.get(which)
    if chosen is None:
        there = ", ".join(str(step) for step in by_step) or "none"
        wanted = which if isinstance(which, str) else f"step {which}"
        reason = f"job {job.id} has no evaluation {wanted}; it has those after steps {there}"
        raise AnytimeError(grpc.StatusCode.NOT_FOUND, reason)
    return points(chosen)


def points(result: EvaluationResult) -> list[Point]:
    """The curve of an evaluation."""
    pairs = zip(result.budgets, result.accuracy, _intervals(result), strict=False)
    return [Point(budget, mean, low, high) for budget, mean, (low, high) in pairs]


def accuracy_of(result: EvaluationResult) -> dict[str, Any]:
    """An evaluation as reports show it."""
    intervals = _intervals(result)
    anytime = (result.anytime_low, result.anytime_high)
    if not result.accuracy_low:
        anytime = _around(result.anytime, result.anytime_ci95)
    values = as_dict(result)
    kept = ("budgets", "accuracy", "ci95", "anytime", "anytime_ci95", "final", "mean_thinking_tokens", "formatted_share")
    rest = ("finished_share", "overthinking_share", "problems", "samples", "step", "seconds", "generations")
    return {key: values[key] for key in (*kept, *rest)} | {
        "accuracy_low": [low for low, _ in intervals],
        "accuracy_high": [high for _, high in intervals],
        "anytime_low": anytime[0],
        "anytime_high": anytime[1],
        "tokens_per_second": _rate(result.generated_tokens, result.seconds),
    }


def _intervals(result: EvaluationResult) -> list[tuple[float, float]]:
    """Jobs that are older than the bootstrap have half widths only."""
    count = len(result.accuracy)
    if len(result.accuracy_low) == count == len(result.accuracy_high):
        return list(zip(result.accuracy_low, result.accuracy_high, strict=True))
    half_widths = list(result.ci95) + [0.0] * count
    return [_around(mean, half_width) for mean, half_width in zip(result.accuracy, half_widths, strict=False)]


def _around(mean: float, half_width: float) -> tuple[float, float]:
    return max(mean - half_width, 0.0), min(mean + half_width, 1.0)


def _tokens_per_second(kind: str, steps: Iterable[StepMetrics]) -> float | None:
    """All tokens over all seconds: each step has the weight of its time."""
    tokens = seconds = 0.0
    for step in steps:
        seconds += step.step_seconds
        is_sft = kind == "sft"
        tokens += step.trained_tokens if is_sft else step.generated_tokens_per_second * step.step_seconds
    return _rate(tokens, seconds)


def _rate(tokens: float, seconds: float) -> float | None:
    return tokens / seconds if seconds > 0 and tokens > 0 else None


def _cell(accuracy: dict[str, Any], index: int) -> str:
    if index >= len(accuracy["accuracy"]):
        return ""
    low, high = accuracy["accuracy_low"][index], accuracy["accuracy_high"][index]
    return f"{accuracy['accuracy'][index]:.3f} [{low:.3f}, {high:.3f}]"


def plot_accuracy(report: Report, axes: Axes | None = None) -> Axes:
    """Draws accuracy against budget, before and after, with 95 % bands.

    Raises:
        AnytimeError: FAILED_PRECONDITION without matplotlib, NOT_FOUND where nothing was evaluated.
    """
    axes = axes or _new_axes()
    drawn = [(name, report[name]) for name in ("before", "after") if report[name]]
    if not drawn:
        reason = f"job {report['job_id']} has no evaluation to draw"
        raise AnytimeError(grpc.StatusCode.NOT_FOUND, reason)
    for name, accuracy in drawn:
        colour = _ORANGE if name == "before" else _BLUE
        label = f"{name}: anytime {accuracy['anytime']:.3f}"
        axes.fill_between(accuracy["budgets"], accuracy["accuracy_low"], accuracy["accuracy_high"], color=colour, alpha=0.18)
        axes.plot(accuracy["budgets"], accuracy["accuracy"], marker="o", color=colour, label=label)
    axes.set(xlabel="thinking budget (tokens)", ylabel="accuracy, with 95 % interval", ylim=(0, 1))
    axes.set_title(f"Accuracy at every thinking budget: {report['name']}")
    axes.legend()
    return axes


def plot_steps(report: Report, axes: Axes | None = None) -> Axes:
    """Draws what the steps reported: the mean score at every budget, or the loss where there are no scores.

    Raises:
        AnytimeError: FAILED_PRECONDITION without matplotlib, NOT_FOUND before the first step.
    """
    axes = axes or _new_axes()
    series = report["series"]
    if not series:
        raise AnytimeError(grpc.StatusCode.NOT_FOUND, f"job {report['job_id']} has no step to draw")
    steps = [step["step"] for step in series]
    rewards = [step["reward_per_budget"] for step in series]
    if rewards[-1]:
        # The figures of a step have a segment for each budget of training, which evaluations need not have.
        names = [str(segment["budget"]) for segment in series[-1]["segments"]]
        if len(names) != len(rewards[-1]):
            names = [f"{index + 1} of {len(rewards[-1])}" for index in range(len(rewards[-1]))]
        for index, name in enumerate(names):
            axes.plot(steps, [reward[index] for reward in rewards], label=f"budget {name}")
        axes.set(ylabel="mean score", ylim=(0, 1))
        axes.legend()
    else:
        axes.plot(steps, [step["loss"] for step in series])
        axes.set(ylabel="loss")
    axes.set(xlabel="step", title=report["name"])
    return axes


def _new_axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError:
        reason = 'pictures need matplotlib: pip install "anytime-client[plot]"'
        raise AnytimeError(grpc.StatusCode.FAILED_PRECONDITION, reason) from None
    axes: Axes = pyplot.subplots()[1]
    return axes
