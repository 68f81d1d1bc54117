#!/usr/bin/env bash
# Compiles one crate of the workspace, once clippy has looked over it and found nothing. `make test` has cargo call it in
# rustc's place: clippy then reads the dependencies that are built anyway, where `cargo clippy` beside a build reads all of
# them a second time. What is built and tested is rustc's own. A library is looked over with its tests, which hold all of
# it; alone it only may not have a warning.
#
#   usage: RUSTC_WORKSPACE_WRAPPER=deploy/lint-rustc.sh cargo build --all-targets
set -euo pipefail

# Cargo also asks rustc about itself.
for argument in "$@"; do
    case "$argument" in -vV | --print | --print=*) exec "$@" ;; esac
done

# Cargo gives a library its type, and its tests none.
case " $* " in *" --crate-type lib "*) exec "$@" -D warnings ;; esac

# The same crate, of which nothing is left: cargo must not hear of files that go again, and the records of an incremental
# build are rustc's.
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
lint=()
before=""
for argument in "${@:2}"; do
    if [ "$before" = -C ] && [[ "$argument" == incremental=* ]]; then
        unset 'lint[-1]'
        before=""
        continue
    fi
    case "$before $argument" in
        "--out-dir "*) lint+=("$place") ;;
        *" --emit="*) lint+=(--emit=metadata) ;;
        *" --json="*) lint+=("${argument//,artifacts/}") ;;
        *) lint+=("$argument") ;;
    esac
    before="$argument"
done
clippy-driver "$1" "${lint[@]}" -D warnings
rm -rf "$place"
exec "$@"
