"""A reward function for TRL's GRPOTrainer and its like.

    trainer = GRPOTrainer(model=…, reward_funcs=exact_answer, train_dataset=…)

The data set has its ground truths in a column `solution`, or `answer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anytime_verifier import grade_batch


def exact_answer(completions: Sequence[Any], **columns: Any) -> list[float | None]:
    """1.0 for each completion whose last box is right, 0.0 for others. A fault is None, which TRL leaves out."""
    truths = columns["solution"] if "solution" in columns else columns["answer"]
    verdicts = grade_batch([_text(completion) for completion in completions], truths)
    return [verdict.score for verdict in verdicts]


def _text(completion: Any) -> str:
    """A completion is a text, or a conversation whose messages have `content`."""
    if isinstance(completion, str):
        return completion
    return "".join(str(message["content"]) for message in completion)
