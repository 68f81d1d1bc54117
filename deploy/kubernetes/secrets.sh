#!/usr/bin/env bash
# Makes the namespace, the volumes of models and data, and the secrets of the cluster, each with what its pods need and
# nothing else: only the learner, which asks for all roles, knows all tokens.
#
#   deploy/secrets.sh                                once: certificates, tokens, the password of Redis, into ./secrets
#   deploy/kubernetes/secrets.sh [DIRECTORY]         ./secrets by default; again after a change
#   deploy/kubernetes/secrets.sh --print [DIRECTORY] writes the secrets to standard output and asks no cluster
#
# Tokens that change are read again by the processes; after new certificates, restart the pods.
#
#   PROMETHEUS_NAMESPACE=monitoring   also puts what Prometheus needs into that namespace, which must exist
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

print=false
if [ "${1:-}" = --print ]; then
    print=true
    shift
fi
directory="${1:-$here/../../secrets}"
namespace=anytime

fail() {
    printf 'secrets: %s\n' "$*" >&2
    exit 64
}
for file in ca.pem server.pem server.key act.pem act.key act.token submit.token read.token access redis.password; do
    [ -r "$directory/$file" ] || fail "$directory/$file cannot be read: deploy/secrets.sh makes it"
done

# The lines of the file of access with these roles, separated by `|`.
access_of() {
    grep -E "^[[:space:]]*($1)[[:space:]]" "$directory/access" || fail "$directory/access has no line of the role $1"
}
# Here, because nobody would be told of a failure below.
of_verifiers="$(access_of 'act|read')"
of_actors="$(access_of read)"

apply() {
    if $print; then
        echo ---
        cat
    else
        kubectl apply --server-side --field-manager=anytime-secrets --filename -
    fi
}

# secret NAMESPACE NAME KEY=FILE...: a file that is called as its key is named without it.
secret() {
    local namespace=$1 name=$2 file arguments=()
    shift 2
    for file; do
        case $file in
            *=*) arguments+=("--from-file=$file") ;;
            *) arguments+=("--from-file=$file=$directory/$file") ;;
        esac
    done
    # `create --dry-run` and `apply`: `create` alone refuses what is there.
    kubectl create secret generic "$name" --namespace "$namespace" "${arguments[@]}" --dry-run=client --output yaml |
        apply
}

$print || kubectl apply --kustomize "$here/once"
secret $namespace anytime-redis ca.pem server.pem server.key redis.password
# It is asked by every role, and reads its own list of jobs to see whether it is ready.
secret $namespace anytime-learner ca.pem server.pem server.key redis.password access read.token
# Actors call it, and Prometheus reads its metrics.
secret $namespace anytime-verifier server.pem server.key access=<(echo "$of_verifiers")
# Prometheus reads its metrics, and that is all.
secret $namespace anytime-actor ca.pem act.pem act.key act.token access=<(echo "$of_actors")
# A rank of the learner: the same, under the learner's name.
secret $namespace anytime-rank server.pem server.key access=<(echo "$of_actors")
secret $namespace anytime-client ca.pem submit.token
secret "${PROMETHEUS_NAMESPACE:-$namespace}" anytime-prometheus ca.pem read.token
