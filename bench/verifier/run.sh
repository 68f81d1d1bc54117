#!/usr/bin/env bash
# Runs the grader and its peers on the same labelled pairs, one core and one thread each, one after the other, and
# prints a table. The peers are installed into a virtual environment that is deleted again; without a network they are
# left out. Usage: bench/verifier/run.sh [CASES.jsonl]: other cases of the same format may be given to all.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
all_cases="${1:-$root/verifier/tests/cases/labelled.jsonl}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# The adversarial cases are there to break a grader, not to time it.
cases="$scratch/cases.jsonl"
grep -v '"problem_kind": *"adversarial"' "$all_cases" > "$cases"

echo "building the grader" >&2
(cd "$root" && cargo build --quiet --release -p anytime-verifier --benches)
# One core, like the peers.
one_core=()
if command -v taskset > /dev/null; then one_core=(taskset -c 0); fi
(cd "$root" && CASES="$(realpath "$all_cases")" "${one_core[@]}" \
    cargo bench --quiet -p anytime-verifier --bench grade -- "$scratch/anytime.json") > /dev/null

# Both cores: one for the server, one for the client.
(cd "$root" && cargo bench --quiet -p anytime-verifier --bench grpc -- "$scratch/grpc.json") > /dev/null

peers=()
echo "installing the peers into a throw-away environment" >&2
if python3 -m venv "$scratch/venv" \
    && "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check \
        math-verify==0.9.0 latex2sympy2_extended==1.11.0 antlr4-python3-runtime==4.13.2 sympy==1.14.0 pylatexenc==2.10 \
    && "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps verl==0.9.1; then
    peers=(math-verify reference)
else
    echo "the peers could not be installed (no network, or no python3-venv): only this grader is measured" >&2
fi
for peer in "${peers[@]}"; do
    echo "grading with $peer" >&2
    "$scratch/venv/bin/python" "$here/peers.py" "$peer" "$cases" "$scratch/$peer.jsonl" \
        || { echo "$peer failed and is left out" >&2; rm -f "$scratch/$peer.jsonl"; }
done

python3 "$here/summarise.py" "$scratch" "$here/results.json"
