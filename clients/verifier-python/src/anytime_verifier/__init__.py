"""Exact grading of mathematical answers: no floating point, in bounded time, without sympy.

    from anytime_verifier import grade, grade_batch

    grade("so it is \\\\boxed{\\\\frac{2}{4}}", "1/2").correct      # True
    grade_batch(responses, truths, units="required")          # a list of verdicts

Options are those of `Grader`. One program is started for each set of options, on first use, and ends with this process.
"""

from .errors import GraderError
from .grader import Grader, Verdict, grade, grade_batch

__all__ = ["Grader", "GraderError", "Verdict", "grade", "grade_batch"]
