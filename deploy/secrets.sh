#!/usr/bin/env bash
# Makes what docker-compose.yml reads as secrets: certificates, tokens and the password of Redis.
#
#   deploy/secrets.sh [DIRECTORY]        ./secrets by default, which docker-compose.yml reads unless ANYTIME_SECRETS says else
#
# It uses target/release/anytime where that is built, else the image, which it builds. A directory that holds something is
# left alone. Who owns the files goes into .env as ANYTIME_USER: containers run as that user, because nobody else may read
# them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
directory="${1:-secrets}"
binary="${ANYTIME_BINARY:-${CARGO_TARGET_DIR:-target}/release/anytime}"

mkdir -p "$directory"
chmod 700 "$directory"
if [ -x "$binary" ]; then
    "$binary" certs "$directory"
else
    docker build -f deploy/Dockerfile -t anytime:cpu .
    docker run --rm --user "$(id -u):$(id -g)" --network none --volume "$(cd "$directory" && pwd):/secrets" \
        anytime:cpu anytime certs /secrets
fi

# Prometheus runs as its own user. The directory keeps the users of this machine out; it is mounted without the directory.
install -m 644 "$directory/read.token" "$directory/prometheus.token"

touch .env
grep -v '^ANYTIME_USER=' .env > .env.part || true
echo "ANYTIME_USER=$(id -u):$(id -g)" >> .env.part
mv .env.part .env
echo "ANYTIME_USER=$(id -u):$(id -g) is in .env"
