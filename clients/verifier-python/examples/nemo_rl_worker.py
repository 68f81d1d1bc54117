"""A worker for NeMo-RL's MathEnvironment, in the place of its HFVerifyWorker.

In an environment of one's own (a copy of `nemo_rl/environments/math_environment.py`), `worker_cls` has it beside the others:

    worker_cls = {"math": ray.remote(ExactVerifyWorker), …}[verifier_type]

Each worker has one grading program, which ends with the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anytime_verifier import Grader


class ExactVerifyWorker:
    """Grades the last box of each response."""

    def __init__(self, **options: Any) -> None:
        self.grader = Grader(**options)

    def verify(
        self,
        pred_responses: Sequence[str],
        ground_truths: Sequence[Any],
        return_extracted_answer: bool = False,
        math_verify_impl: str = "",
    ) -> list[float] | tuple[list[float], list[str | None]]:
        """The scores, and on demand the answers, as MathEnvironment asks for them."""
        verdicts = self.grader.grade_batch(pred_responses, ground_truths)
        # There is no missing reward: a fault counts as 0.
        scores = [verdict.score or 0.0 for verdict in verdicts]
        if return_extracted_answer:
            return scores, [verdict.extracted or None for verdict in verdicts]
        return scores
