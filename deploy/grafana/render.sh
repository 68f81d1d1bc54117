#!/usr/bin/env bash
# Draws the four dashboards from a Prometheus that runs and has scraped a job, into docs/dashboards.
#
#   usage: deploy/grafana/render.sh PROMETHEUS_URL START END [DIRECTORY]        times in seconds since 1970
#
# `make dashboards` runs a job and calls it. matplotlib comes from PyPI into an environment that is thrown away. Needs python3
# (3.11 or newer) with venv.
set -euo pipefail
url="${1:?usage: render.sh PROMETHEUS_URL START END [DIRECTORY]}" start="${2:?START}" end="${3:?END}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
directory="${4:-$here/../../docs/dashboards}"

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --disable-pip-version-check matplotlib==3.10.7
MPLCONFIGDIR="$environment" "$environment/bin/python" "$here/render.py" \
    --prometheus "$url" --start "$start" --end "$end" --out "$directory" "$here"/dashboards/*.json
