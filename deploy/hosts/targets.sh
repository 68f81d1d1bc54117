#!/usr/bin/env bash
# Tells Prometheus on the learner's host which other hosts there are: an address, how many actors it has, and the first of
# their ports, 9110 where none is said. It forgets the hosts that it was told before; without arguments there are none.
#
#   deploy/hosts/targets.sh 10.0.0.2:8 10.0.0.3:8 10.0.0.4:4:9200
#
# Prometheus reads the files again by itself.
set -euo pipefail

folder="${ANYTIME_TARGETS:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../prometheus/targets" && pwd)}"

fail() {
    printf 'targets: %s\n' "$*" >&2
    exit 64
}

actors=()
verifiers=()
for host; do
    [[ $host =~ ^([A-Za-z0-9._-]+):([0-9]{1,3})(:([0-9]{1,5}))?$ ]] || fail "$host is not HOST:ACTORS or HOST:ACTORS:PORT"
    address="${BASH_REMATCH[1]}" count="$((10#${BASH_REMATCH[2]}))" first="$((10#${BASH_REMATCH[4]:-9110}))"
    for ((port = first; port < first + count; port++)); do
        actors+=("$address:$port")
    done
    verifiers+=("$address:9102")
done

# write FILE TARGET...: Prometheus runs as a user of its own, and never sees half a file.
write() {
    local file="$folder/$1" target
    shift
    {
        echo "- targets:"
        for target; do
            echo "    - $target"
        done
        [ $# -gt 0 ] || echo "    []"
    } > "$file.part"
    chmod 644 "$file.part"
    mv "$file.part" "$file"
}
write actors.yml "${actors[@]}"
write verifiers.yml "${verifiers[@]}"
echo "${#actors[@]} actors and ${#verifiers[@]} verifiers of other hosts"
