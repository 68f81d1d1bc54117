#!/usr/bin/env bash
# Starts `anytime serve` on a model and asks it in several ways: one trace, branches that vote, the first of them, with pruning,
# and a stop where the summaries agree. Prints a table and writes bench/serving/results.json. Nothing else should run.
#   MODEL      checkpoint directory    [runs/demo/final]
#   PROBLEMS   JSONL with problem and answer    [runs/demo/data/test.jsonl]
#   BUDGET     thinking tokens of a trace    [24]
#   THREADS    of the server's tensors    [1]
#   SECONDS_EACH   how long each rate of requests is kept up    [10]
#   OUT        the document    [bench/serving/results.json]
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
model="${MODEL:-$root/runs/demo/final}"
problems="${PROBLEMS:-$root/runs/demo/data/test.jsonl}"
scratch="$(mktemp -d)"
trap 'kill "${server:-}" 2> /dev/null || true; rm -rf "$scratch"' EXIT

[ -e "$model/config.json" ] || { echo "MODEL=$model is no checkpoint: make demo writes runs/demo/final" >&2; exit 64; }
cd "$root"
deploy/setup.sh libtorch >&2
cargo build --quiet --release -p anytime -p anytime-actor -p anytime-verifier
programs="${CARGO_TARGET_DIR:-target}/release"

"$programs/anytime" serve "$model" --listen 127.0.0.1:0 --port-file "$scratch/port" --slots 64 --threads "${THREADS:-1}" \
    > "$scratch/log" 2>&1 &
server=$!
for _ in $(seq 600); do
    [ -s "$scratch/port" ] && break
    kill -0 "$server" 2> /dev/null || { tail -n 3 "$scratch/log" >&2; exit 70; }
    sleep 0.1
done
python3 "$here/branches.py" --server "http://$(cat "$scratch/port")" --verifier "$programs/anytime-verifier" \
    --problems "$problems" --budget "${BUDGET:-24}" --seconds "${SECONDS_EACH:-10}" --out "${OUT:-$here/results.json}"
