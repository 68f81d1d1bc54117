#!/usr/bin/env bash
# Measures the learner and its queue with a fleet of actors that generate nothing (bench/src/fleet): groups a second beside
# redis-benchmark's XADD, memory while the trainer stands still and over many pushes, and fetches of weights. Prints
# tables and writes bench/fleet/results.json. Under five minutes once built; nothing else should run.
#   ACTORS   numbers of actors (1,8,64,512)      SECONDS_EACH   length of a window (3)
#   PUSHES   small groups that are pushed (60000)
#   OUT      the document (bench/fleet/results.json)
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
out="${OUT:-$here/results.json}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

cd "$root"
deploy/setup.sh libtorch redis redis-benchmark \
    || { echo "redis-benchmark cannot be fetched: its figures are left out" >&2; deploy/setup.sh libtorch redis; }
cargo build --quiet --release -p anytime-bench
bench="${CARGO_TARGET_DIR:-target}/release/anytime-bench"
server="$(command -v redis-server || command -v valkey-server || echo .deps/bin/valkey-server)"
peer="$(command -v redis-benchmark || command -v valkey-benchmark || echo .deps/bin/redis-benchmark)"

run() {
    echo "fleet $*" >&2
    "$bench" fleet "$@" --directory "$scratch" >> "$scratch/lines"
}

# Once as every Redis of this project is started, where what is answered is on the disk, and once without a disk, where
# the processor is the limit.
run curve --actors "${ACTORS:-1,8,64,512}" --seconds "${SECONDS_EACH:-3}" --redis-sync always
run curve --actors "${ACTORS:-1,8,64,512}" --seconds "${SECONDS_EACH:-3}" --redis-sync off
run memory --pushes "${PUSHES:-60000}" --redis-sync everysec
run weights

"$bench" fleet-summary --lines "$scratch/lines" --command "make bench-fleet" --date "$(date -u +%F)" \
    --version-of "commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
    --version-of "server=$("$server" --version)" --version-of "peer=$("$peer" --version 2>/dev/null || echo none)" \
    --out "$out"
