#!/usr/bin/env bash
# Checks a CUDA device against the CPU on every path and measures decoding, rollouts and training on it, with random
# weights in the shape of DeepSeek-R1-Distill-Qwen-1.5B. Needs a device with 80 GB; the measurement takes less than 8
# minutes. It prints what it expects of both before it begins.
#   usage: bench/speed/gpu.sh [arguments of `anytime-bench gpu`]
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
out="$root/bench/results-gpu.json"

# Before anything is fetched or built.
if ! { command -v nvidia-smi > /dev/null && nvidia-smi --list-gpus 2> /dev/null | grep -q '^GPU'; }; then
    echo "bench-gpu: this host has no CUDA device (nvidia-smi lists none)" >&2
    exit 69
fi
cd "$root"
# A libtorch of the host's own must be one with CUDA; the binary says if it is not.
if [ -n "${LIBTORCH:-}" ]; then deploy/setup.sh libtorch; else deploy/setup.sh cuda; fi
cargo build --quiet --release -p anytime-bench
"${CARGO_TARGET_DIR:-target}/release/anytime-bench" gpu --out "$out" --command "make bench-gpu" \
    --date "$(date --utc +%F)" --version-of "rustc=$(rustc --version)" \
    --version-of "device=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)" "$@"
echo "written to bench/results-gpu.json" >&2
