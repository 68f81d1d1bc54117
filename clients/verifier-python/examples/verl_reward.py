"""A reward function for verl: exact grading instead of its own.

    custom_reward_function.path=verl_reward.py custom_reward_function.name=compute_score

With `reward_model.reward_manager=batch` and `custom_reward_function.name=compute_scores` a whole batch is graded at once.
Answers are those of the last \\boxed{…}; other options are handed over with `custom_reward_function.reward_kwargs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anytime_verifier import Verdict, grade, grade_batch


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None, **options: Any
) -> dict[str, Any]:
    """One response."""
    return _reward(grade(solution_str, ground_truth, **options))


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Any] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """A batch."""
    return [_reward(verdict) for verdict in grade_batch(solution_strs, ground_truths, **options)]


def _reward(verdict: Verdict) -> dict[str, Any]:
    # verl takes no missing reward: a fault counts as 0 here, and its own column says how many there were.
    return {"score": verdict.score or 0.0, "pred": verdict.extracted, "fault": float(verdict.is_fault)}
