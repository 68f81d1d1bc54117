#!/usr/bin/env bash
# Makes what docker-compose.yml reads as secrets: certificates, tokens and the password of Redis.
#
#   deploy/secrets.sh [DIRECTORY]        ./secrets by default, which docker-compose.yml reads unless ANYTIME_SECRETS says else
#
# It uses target/release/anytime where that is built, else the image, which it builds. A set that is there is kept, and what
# follows from it is written again: run it after a change of `access` or `read.token`. Who owns the files goes into .env
# (ENV_FILE names another file) as ANYTIME_USER: containers run as that user, because nobody else may read them. Where root
# calls it, that is the user of the image.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
directory="${1:-secrets}"
binary="${ANYTIME_BINARY:-${CARGO_TARGET_DIR:-target}/release/anytime}"
env_file="${ENV_FILE:-.env}"
work="${ANYTIME_WORK:-work}"

owner="${SUDO_UID:-$(id -u)}:${SUDO_GID:-$(id -g)}"
if [ "${owner%%:*}" = 0 ]; then
    owner=10001:10001
fi

mkdir -p "$directory"
chmod 700 "$directory"
if [ -e "$directory/access" ]; then
    echo "$directory is kept"
elif [ -x "$binary" ]; then
    "$binary" certs "$directory"
else
    docker build -f deploy/Dockerfile -t anytime:cpu .
    docker run --rm --user "$(id -u):$(id -g)" --network none --volume "$(cd "$directory" && pwd):/secrets" \
        anytime:cpu anytime certs /secrets
fi

# derive FILE MODE: what comes in is written into the file that is there, where there is one: containers keep the file that
# they were started with, and would not see another of the same name.
derive() {
    touch "$directory/$1"
    chmod "$2" "$directory/$1"
    cat > "$directory/$1"
}
# The lines of the file of access with these roles, separated by `|`.
access_of() {
    grep -E "^[[:space:]]*($1)[[:space:]]" "$directory/access" ||
        { echo "$directory/access has no line of the role $1" >&2; return 64; }
}
# Only the learner is asked by all roles, and only it knows all tokens. Both are known before a file is emptied.
of_verifiers="$(access_of 'act|read')"
of_actors="$(access_of read)"
derive verifier.access 600 <<< "$of_verifiers"
derive actor.access 600 <<< "$of_actors"
# Prometheus runs as its own user. The directory keeps the users of this machine out; it is mounted without the directory.
derive prometheus.token 644 < "$directory/read.token"
# Whoever fetches what only an account of the Hugging Face hub may read puts its token here.
touch "$directory/hub.token"
chmod 600 "$directory/hub.token"
if [ "$(id -u)" = 0 ]; then
    chown -R "$owner" "$directory"
fi

# Docker would make them for root alone.
for folder in "$work" "$work/models" "$work/data" "$work/jobs" "$work/out"; do
    if ! [ -d "$folder" ]; then
        mkdir -p "$folder"
        [ "$(id -u)" != 0 ] || chown "$owner" "$folder"
    fi
done

touch "$env_file"
grep -v '^ANYTIME_USER=' "$env_file" > "$env_file.part" || true
echo "ANYTIME_USER=$owner" >> "$env_file.part"
mv "$env_file.part" "$env_file"
echo "ANYTIME_USER=$owner is in $env_file"
