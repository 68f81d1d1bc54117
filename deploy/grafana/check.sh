#!/usr/bin/env bash
# Checks the dashboards against Grafana's schema by Grafana's own SDK, and what this project asks of every panel.
#
#   usage: deploy/grafana/check.sh
#
# The SDK comes from PyPI into an environment that is thrown away. Needs python3 (3.11 or newer) with venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The last part is the version of Grafana in docker-compose.yml.
sdk='grafana-foundation-sdk==1769699379!11.6.0'

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --disable-pip-version-check "$sdk"
"$environment/bin/python" check.py dashboards/*.json
