"""Items per second on the labelled cases: in batches, one by one, from threads, and with a process for each item.

    clients/verifier-python/run.sh bench PROGRAM

Prints a line of JSON. The adversarial cases are left out, as in bench/verifier/run.sh: they are there to break a grader.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from anytime_verifier import Grader

CASES = Path(__file__).parents[2] / "verifier" / "tests" / "cases" / "labelled.jsonl"

#: How often the cases are graded in a measurement, and how many processes are started for single items.
ROUNDS, PROCESSES = 40, 100


def rate(count: int, work: Callable[[], object]) -> float:
    """Items per second, the best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return round(count / best, 1)


def main() -> None:
    cases = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    cases = [case for case in cases if case["problem_kind"] != "adversarial"]
    responses = [case["response"] for case in cases]
    truths = [case["ground_truth"] for case in cases]
    pairs = list(zip(responses, truths, strict=True))
    lines = [json.dumps({"id": 0, "response": one, "ground_truth": truth}) for one, truth in pairs[:PROCESSES]]
    with Grader() as grader:
        command = grader._command
        grader.grade_batch(responses, truths)

        def each_in_a_process() -> None:
            for line in lines:
                subprocess.run(command, input=line, capture_output=True, text=True, check=True)

        with ThreadPoolExecutor(8) as threads:
            found = {
                "cases": len(cases),
                "batch": rate(ROUNDS * len(cases), lambda: grader.grade_batch(responses * ROUNDS, truths * ROUNDS)),
                "one by one": rate(len(cases), lambda: [grader.grade(*pair) for pair in pairs]),
                "one by one, 8 threads": rate(len(cases), lambda: list(threads.map(lambda pair: grader.grade(*pair), pairs))),
                "a process for each": rate(len(lines), each_in_a_process),
            }
    json.dump(found, sys.stdout)
    print()


if __name__ == "__main__":
    main()
