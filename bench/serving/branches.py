"""Accuracy against generated tokens, and latency under load, of several ways to ask one server of answers.

    usage: branches.py --server http://127.0.0.1:7103 --verifier PROGRAM --problems FILE --budget N --out FILE

bench/serving/run.sh runs it. Only Python's standard library is needed. Ways: one trace; all of N branches, which vote; the first M
of N; the same with pruning; and one trace that stops where its summaries agree. Every way answers every problem as often as
the others. Accuracies have 95 % intervals from a bootstrap over problems. Latencies are those of an open load: requests
arrive at random (Poisson) at a rate, whether earlier ones are answered or not."""

import argparse
import http.client
import json
import random
import statistics
import subprocess
import threading
import time
import urllib.parse

N, M = 8, 4
RESAMPLES = 2000


def ways(budget):
    quarter = max(1, budget // 4)
    branches = {"branches": N, "budgets": [budget]}
    return {
        "one trace": {"budgets": [budget]},
        f"{N} of {N}": branches,
        f"first {M} of {N}": branches | {"finish_first": M},
        f"first {M} of {N}, pruned": branches
        | {"finish_first": M, "summaries": 2, "prune": {"every": quarter, "threshold": 0.3}},
        "stop where 4 summaries agree": {
            "budgets": sorted({max(1, budget * part // 8) for part in range(1, 9)}),
            "summaries": 4,
            "stop": {"agreement": 1.0, "rounds": 2},
        },
    }


class Server:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.local = threading.local()

    def ask(self, problem, anytime, seed):
        """The answer's content, the tokens that it took, and its seconds."""
        body = json.dumps({"messages": [{"role": "user", "content": problem}], "anytime": anytime, "seed": seed})
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        began = time.monotonic()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        seconds = time.monotonic() - began
        if response.status != 200:
            raise SystemExit(f"{response.status}: {text.decode()}")
        answer = json.loads(text)
        return answer["choices"][0]["message"]["content"], answer["usage"]["completion_tokens"], seconds


def together(work, items, threads):
    """`work` of every item, by so many threads, in the order of the items."""
    results, places, lock = [None] * len(items), iter(range(len(items))), threading.Lock()

    def run():
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            results[place] = work(items[place])

    crew = [threading.Thread(target=run) for _ in range(threads)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    return results


def grade(program, contents, answers):
    pairs = "".join(
        json.dumps({"id": place, "response": content, "ground_truth": answer}) + "\n"
        for place, (content, answer) in enumerate(zip(contents, answers))
    )
    verdicts = subprocess.run([program, "grade"], input=pairs, text=True, capture_output=True, check=True).stdout
    return [json.loads(line)["correct"] for line in verdicts.splitlines()]


def interval(of_problems):
    draw = random.Random(1)
    means = sorted(statistics.fmean(draw.choices(of_problems, k=len(of_problems))) for _ in range(RESAMPLES))
    return means[RESAMPLES * 25 // 1000], means[RESAMPLES * 975 // 1000]


def accuracy(server, arguments, problems, anytime):
    asked = [(row, sample) for row in problems for sample in range(arguments.samples)]
    told = together(lambda one: server.ask(one[0]["problem"], anytime, hash_of(one)), asked, arguments.threads)
    right = grade(arguments.verifier, [content for content, _, _ in told], [row["answer"] for row, _ in asked])
    of_problems = [
        statistics.fmean(right[first : first + arguments.samples]) for first in range(0, len(right), arguments.samples)
    ]
    low, high = interval(of_problems)
    tokens = statistics.fmean(tokens for _, tokens, _ in told)
    return {"accuracy": statistics.fmean(of_problems), "low": low, "high": high, "tokens": tokens}


def hash_of(one):
    row, sample = one
    return random.Random(f"{row['problem']} {sample}").getrandbits(31)


def latency(server, problems, anytime, rate, seconds):
    """p50 and p99 of requests that arrive at this rate."""
    draw, found, crew = random.Random(7), [], []

    def one(problem, seed, due):
        server.ask(problem, anytime, seed)
        # From when it was due: a late start counts.
        found.append(time.monotonic() - due)

    began = due = time.monotonic()
    while due - began < seconds:
        due += draw.expovariate(rate)
        time.sleep(max(0.0, due - time.monotonic()))
        row = draw.choice(problems)
        thread = threading.Thread(target=one, args=(row["problem"], draw.getrandbits(31), due))
        thread.start()
        crew.append(thread)
    for thread in crew:
        thread.join()
    found.sort()
    return {"requests": len(found), "p50": found[len(found) // 2], "p99": found[len(found) * 99 // 100]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--verifier", required=True)
    parser.add_argument("--problems", required=True)
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    with open(arguments.problems) as file:
        problems = [json.loads(line) for line in file][: arguments.most]
    server, result = Server(arguments.server), {"budget": arguments.budget, "problems": len(problems), "ways": {}}

    # What the server does of the most expensive way, one after the other without a pause.
    every = ways(arguments.budget)[f"{N} of {N}"]
    began = time.monotonic()
    together(lambda row: server.ask(row["problem"], every, 1), problems[:100], arguments.threads)
    capacity = min(100, len(problems)) / (time.monotonic() - began)
    rates = [round(capacity * share, 2) for share in (0.3, 0.6, 0.9)]
    result["rates"] = rates

    print(f"| way | accuracy | tokens | p50, p99 in ms at {rates[0]}, {rates[1]}, {rates[2]} requests/s |")
    print("|---|---|---|---|")
    for name, anytime in ways(arguments.budget).items():
        figures = accuracy(server, arguments, problems, anytime)
        figures["latency"] = [latency(server, problems, anytime, rate, arguments.seconds) for rate in rates]
        result["ways"][name] = figures
        spans = "; ".join(f"{1000 * one['p50']:.0f}, {1000 * one['p99']:.0f}" for one in figures["latency"])
        shown = f"{figures['accuracy']:.3f} [{figures['low']:.3f}, {figures['high']:.3f}]"
        print(f"| {name} | {shown} | {figures['tokens']:.1f} | {spans} |", flush=True)
    with open(arguments.out, "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


main()
