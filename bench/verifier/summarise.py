#!/usr/bin/env python3
"""Puts the figures of all graders side by side.

usage: summarise.py DIRECTORY RESULTS.json

DIRECTORY holds `anytime.json` from the benchmark of the crate, `cases.jsonl`, and `<peer>.jsonl` with the verdicts of
each peer.
"""
import json
import os
import platform
import sys

PEERS = ("reference", "math-verify")


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def peer_figures(cases, verdicts):
    by_id = {verdict["id"]: verdict for verdict in verdicts}
    figures = {"pairs": len(cases), "right": 0, "false_accepts": 0, "false_rejects": 0, "hangs": 0}
    for case in cases:
        verdict = by_id[case["id"]]
        figures["hangs"] += verdict["status"] == "hang"
        if verdict["correct"] == case["expected"]:
            figures["right"] += 1
        else:
            figures["false_accepts" if verdict["correct"] else "false_rejects"] += 1
    seconds = sorted(verdict["seconds"] for verdict in verdicts)
    figures["pairs_per_second_mean"] = len(seconds) / sum(seconds)
    figures["pairs_per_second_median"] = 1 / seconds[len(seconds) // 2]
    figures["worst_microseconds"] = 1e6 * seconds[-1]
    return figures


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def duration(microseconds):
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.1f} s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.1f} ms"
    return f"{microseconds:.0f} µs"


def main():
    directory, results_path = sys.argv[1:]
    with open(os.path.join(directory, "anytime.json"), encoding="utf-8") as file:
        graders = {"anytime": json.load(file)}
    cases = rows(os.path.join(directory, "cases.jsonl"))
    for peer in PEERS:
        path = os.path.join(directory, f"{peer}.jsonl")
        if os.path.exists(path):
            graders[peer] = peer_figures(cases, rows(path))
    print("| grader | right | false accepts | false rejects | hangs | pairs/s, mean | pairs/s, median | worst pair |")
    print("|---|---|---|---|---|---|---|---|")
    for name, figures in graders.items():
        print(
            f"| {name} | {figures['right']} of {figures['pairs']} | {figures['false_accepts']} | "
            f"{figures['false_rejects']} | {figures['hangs']} | {figures['pairs_per_second_mean']:,.0f} | "
            f"{figures['pairs_per_second_median']:,.0f} | {duration(figures['worst_microseconds'])} |"
        )
    own = graders["anytime"]
    print(f"\nworst of all cases, adversarial ones included: {duration(own['worst_of_all_microseconds'])}", end="")
    print(f" ({own['worst_of_all_why']})")
    if own["resident_bytes_after_passes"]:
        after, more = own["resident_bytes_after_passes"], own["resident_bytes_after_more_pairs"]
        print(f"resident memory: {after / 2**20:.1f} MiB after all passes, {more / 2**20:.1f} MiB 200,000 pairs later")
    with open(os.path.join(directory, "grpc.json"), encoding="utf-8") as file:
        grpc = json.load(file)
    for cache, rates in grpc["figures"].items():
        calls, stream = rates["calls_pairs_per_second"], rates["stream_pairs_per_second"]
        print(f"gRPC on loopback, batches of {grpc['batch']}, {cache.replace('_', ' ')}: ", end="")
        print(f"{calls:,.0f} pairs/s in calls, {stream:,.0f} pairs/s in a stream")
    with open(results_path, "w", encoding="utf-8") as file:
        json.dump({"processor": processor(), "graders": graders, "grpc": grpc}, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
