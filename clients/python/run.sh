#!/usr/bin/env bash
# Builds the Python client, and tests it.
#
#   usage: clients/python/run.sh wheel DIRECTORY    builds the wheel into the directory
#          clients/python/run.sh test [ARGUMENT…]   installs it with its tests' needs, then pytest with these arguments
#          clients/python/run.sh check              mypy and all tests that need no learner
#
#   VENV=DIRECTORY   where `test` and `check` install    [.deps/python-client]
#
# Exit code 69 where the package index cannot be reached, or Python has no pip or no venv.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
venv="${VENV:-$root/.deps/python-client}"
readonly unavailable=69

# With --target and in environments of its own pip leaves the system's Python alone, whatever its configuration says.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0
export PYTHONDONTWRITEBYTECODE=1

say() { printf 'python client: %s\n' "$*" >&2; }

# One small package that a build needs anyway: what fails after this is at fault itself.
need_index() {
    local scratch
    scratch="$(mktemp -d)"
    if ! python3 -m pip download --quiet --no-deps --dest "$scratch" 'hatchling>=1.27' >&2; then
        rm -rf "$scratch"
        say "pip cannot download hatchling: there is no pip, or no package index"
        exit "$unavailable"
    fi
    rm -rf "$scratch"
}

wheel() {
    mkdir -p "$1"
    rm -f "$1"/anytime_client-*.whl
    python3 -m pip wheel --quiet --no-deps --wheel-dir "$1" "$here"
}

# What the tests need is installed once, and again where pyproject.toml has changed; the wheel every time.
install() {
    local extras="$1" wheels stamp
    stamp="$extras $(cksum < "$here/pyproject.toml")"
    wheels="$(mktemp -d)"
    wheel "$wheels"
    if [ "$(cat "$venv/stamp" 2> /dev/null)" != "$stamp" ]; then
        rm -rf "$venv"
        mkdir -p "$(dirname "$venv")"
        if ! python3 -m venv "$venv"; then
            rm -rf "$wheels" "$venv"
            say "python3 makes no environments (apt-get install python3-venv)"
            exit "$unavailable"
        fi
        "$venv/bin/pip" install --quiet "$(echo "$wheels"/*.whl)[$extras]"
        printf '%s' "$stamp" > "$venv/stamp"
    fi
    "$venv/bin/pip" install --quiet --no-deps --force-reinstall "$wheels"/*.whl
    rm -rf "$wheels"
}

case "${1:-}" in
    wheel)
        wheel "${2:?a directory}"
        ls "$2"/anytime_client-*.whl
        ;;
    test)
        shift
        need_index
        install "${EXTRAS:-test}"
        cd "$here"
        exec "$venv/bin/python" -m pytest "$@"
        ;;
    check)
        need_index
        install test,plot,types
        cd "$here"
        "$venv/bin/mypy" --cache-dir "$venv/mypy" --package anytime_client
        exec "$venv/bin/python" -m pytest
        ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 64
        ;;
esac
