#!/usr/bin/env bash
# Validates the manifests against the schemas of the Kubernetes API, strictly: a field that there is not is an error.
# Each file of base/ and once/ by itself, and every overlay as it would be applied.
#
#   usage: deploy/kubernetes/check.sh
#
# kubernetes-validate, which brings the schemas, goes into .deps/ where PATH has none (that needs python3 with venv and
# pip). Overlays are put together by `kustomize` or `kubectl`, and left out with a word where there is neither. No
# cluster is asked. Exit code 69: a tool cannot be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The oldest version that has all fields, and the newest that the tool knows.
versions=(1.27 1.37)
tool_version=1.37.0

say() { printf 'check: %s\n' "$*"; }

find_validator() {
    validator=kubernetes-validate
    if command -v kubernetes-validate > /dev/null; then
        return
    fi
    local folder="$PWD/../../.deps/kubernetes-validate-$tool_version"
    validator="$folder/bin/kubernetes-validate"
    if [ -x "$validator" ]; then
        return
    fi
    say "fetching kubernetes-validate $tool_version into .deps/"
    # Under another name until it is complete; a virtual environment knows its own path, so that it is only then made.
    rm -rf "$folder"
    if ! { python3 -m venv "$folder" &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$tool_version"; }; then
        rm -rf "$folder"
        say "kubernetes-validate cannot be had: python3 with venv and pip, and PyPI, are needed"
        exit 69
    fi
}

# Of a kind that it does not know the tool only warns, so that whatever it says counts as a failure.
validate() {
    local version said
    for version in "${versions[@]}"; do
        if ! said="$("$validator" --strict --quiet --kubernetes-version "$version" "$@" 2>&1)" || [ -n "$said" ]; then
            printf '%s\n' "$said"
            say "not valid for Kubernetes $version"
            exit 1
        fi
    done
}

assemble() {
    if command -v kustomize > /dev/null; then
        kustomize build "$1"
    else
        kubectl kustomize "$1"
    fi
}

find_validator
mapfile -t files < <(find base once ranks -name '*.yml' ! -name kustomization.yml | sort)
validate "${files[@]}"
say "${#files[@]} files are valid for Kubernetes ${versions[*]}"

if ! command -v kustomize > /dev/null && ! command -v kubectl > /dev/null; then
    say "skipped: overlays, because there is neither kustomize nor kubectl"
    exit
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
for overlay in once overlays/*/; do
    assembled="$work/$(basename "$overlay").yml"
    assemble "$overlay" > "$assembled"
    validate "$assembled"
    say "$overlay: $(grep -c '^kind: ' "$assembled") objects are valid"
done
