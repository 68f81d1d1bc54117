#!/usr/bin/env bash
# Builds the wheel of the grader, and tests it.
#
#   usage: clients/verifier-python/run.sh wheel PROGRAM DIRECTORY   builds the wheel with this anytime-verifier
#          clients/verifier-python/run.sh check PROGRAM             installs it into a fresh environment; mypy, all tests
#          clients/verifier-python/run.sh bench PROGRAM             the same environment; items/s, see docs/grader.md
#
# Exit code 69 where the package index cannot be reached, or Python has no pip or no venv.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
readonly unavailable=69

# In environments of its own pip leaves the system's Python alone, whatever its configuration says.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0
export PYTHONDONTWRITEBYTECODE=1

say() { printf 'verifier wheel: %s\n' "$*" >&2; }

# The program without its symbols, which are most of it.
wheel() {
    local program scratch
    program="$(realpath "$1")"
    scratch="$(mktemp -d)"
    if ! command -v strip > /dev/null || ! strip -o "$scratch/anytime-verifier" "$program"; then
        cp "$program" "$scratch/anytime-verifier"
    fi
    mkdir -p "$2"
    rm -f "$2"/anytime_verifier-*.whl
    ANYTIME_VERIFIER_PROGRAM="$scratch/anytime-verifier" \
        python3 -m pip wheel --quiet --no-deps --wheel-dir "$2" "$here"
    rm -rf "$scratch"
}

# A fresh environment with the wheel; it is gone when this script ends.
install() {
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    if ! python3 -m pip download --quiet --no-deps --dest "$scratch" 'hatchling>=1.27' >&2; then
        say "pip cannot download hatchling: there is no pip, or no package index"
        exit "$unavailable"
    fi
    wheel "$1" "$scratch/wheel"
    if ! python3 -m venv "$scratch/venv"; then
        say "python3 makes no environments (apt-get install python3-venv)"
        exit "$unavailable"
    fi
    "$scratch/venv/bin/pip" install --quiet "$(echo "$scratch"/wheel/*.whl)[test,types]"
}

case "${1:-}" in
    wheel)
        wheel "${2:?a program}" "${3:?a directory}"
        ls "$3"/anytime_verifier-*.whl
        ;;
    check)
        install "${2:?a program}"
        cd "$here"
        "$scratch/venv/bin/mypy" --cache-dir "$scratch/mypy" --package anytime_verifier
        ANYTIME_VERIFIER_BINARY="$(realpath "$2")" "$scratch/venv/bin/python" -m pytest
        ;;
    bench)
        install "${2:?a program}"
        "$scratch/venv/bin/python" "$here/bench.py"
        ;;
    *)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 64
        ;;
esac
