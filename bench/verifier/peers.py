#!/usr/bin/env python3
"""Runs one of the peers over labelled cases and writes what it said and how long it took.

usage: peers.py math-verify|reference CASES.jsonl VERDICTS.jsonl

The peer works in a process of its own, on one core. It is timed inside that process, so that handing over a pair costs it
nothing; a pair on which it takes longer than LIMIT is a hang, and the process is killed and started anew.
"""
import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import time
import types

LIMIT = 10.0
# A peer caches what it has seen; only a fresh process shows what a new pair costs. One pass, as in training.
STARTUP_LIMIT = 120.0


def math_verify_grader():
    """Math-Verify as its documentation uses it: default extraction from the whole response, gold in dollar signs."""
    import logging

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)

    def grade(response, ground_truth):
        gold = ground_truth.strip()
        if not (gold.startswith("$") and gold.endswith("$")):
            gold = f"${gold}$"
        return bool(verify(parse(gold), parse(response)))

    return grade


def reference_grader():
    """The mathd and sympy rules of PRM800K as packaged in verl, without the rest of that package."""

    class Unlimited(contextlib.ContextDecorator):
        """Stands in for the package's own limit: the process is killed from outside instead."""

        def __init__(self, seconds=None):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

    # `import verl` would need torch and ray; the two modules with the rules need one function of it.
    root = next(
        path for path in (os.path.join(entry, "verl") for entry in sys.path) if os.path.isdir(path)
    )
    for name in ("verl", "verl.utils", "verl.utils.reward_score"):
        module = types.ModuleType(name)
        module.__path__ = [os.path.join(root, *name.split(".")[1:])]
        sys.modules[name] = module
    limits = types.ModuleType("verl.utils.py_functional")
    limits.timeout_limit = Unlimited
    sys.modules["verl.utils.py_functional"] = limits
    rules = importlib.import_module("verl.utils.reward_score.prime_math")

    def grade(response, ground_truth):
        answer = rules._last_boxed_only_string(response)
        return answer is not None and bool(rules.grade_answer(answer, ground_truth))

    return grade


PEERS = {"math-verify": math_verify_grader, "reference": reference_grader}


def work(peer, pipe):
    # What a peer prints about a pair it cannot read is none of the result.
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    grade = PEERS[peer]()
    # The first pair pays for what is imported late.
    with contextlib.suppress(Exception):
        grade("\\boxed{\\frac{x+1}{2}}", "\\frac{1+x}{2}")
    pipe.send("ready")
    while True:
        response, ground_truth = pipe.recv()
        start = time.perf_counter()
        try:
            correct, error = grade(response, ground_truth), None
        except Exception as exception:  # noqa: BLE001 - whatever a peer raises counts as "not correct"
            correct, error = False, repr(exception)[:200]
        pipe.send((correct, time.perf_counter() - start, error))


class Worker:
    def __init__(self, peer):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=work, args=(peer, theirs), daemon=True)
        self.process.start()
        theirs.close()
        if not self.pipe.poll(STARTUP_LIMIT):
            sys.exit(f"{peer} did not start")
        try:
            self.pipe.recv()
        except EOFError:
            sys.exit(f"{peer} could not be loaded")

    def grade(self, case):
        self.pipe.send((case["response"], case["ground_truth"]))
        if self.pipe.poll(LIMIT):
            with contextlib.suppress(EOFError):
                return self.pipe.recv()
        return None

    def kill(self):
        self.process.kill()
        self.process.join()


def main():
    peer, cases_path, verdicts_path = sys.argv[1:]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # A fork would hand the parent's state over to every new worker.
    multiprocessing.set_start_method("spawn")
    with open(cases_path, encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    worker = Worker(peer)
    with open(verdicts_path, "w", encoding="utf-8") as verdicts:
        for case in cases:
            outcome = worker.grade(case)
            if outcome is None:
                worker.kill()
                worker = Worker(peer)
                row = {"id": case["id"], "correct": False, "status": "hang", "seconds": LIMIT}
            else:
                correct, seconds, error = outcome
                row = {"id": case["id"], "correct": correct, "status": "error" if error else "ok", "seconds": seconds}
            verdicts.write(json.dumps(row) + "\n")
    worker.kill()


if __name__ == "__main__":
    main()
