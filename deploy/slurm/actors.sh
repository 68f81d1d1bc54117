#!/usr/bin/env bash
# The actors of one node, one for each of its GPUs but the learner's; cluster.sbatch starts this on every node. A node
# without GPUs has one actor, on the CPU.
set -euo pipefail
# shellcheck source=deploy/slurm/keep.sh
source "$(dirname "${BASH_SOURCE[0]}")/keep.sh"

# cluster.sbatch says these.
: "${logs:?}" "${secrets:?}" "${learner:?}" "${verifier:?}" "${threads:?}" "${slots:?}"

gpus="${SLURM_GPUS_ON_NODE:-0}"
first=0
# The learner is on the first node.
[ "$SLURM_NODEID" -ne 0 ] || first=1

devices=()
for ((gpu = first; gpu < gpus; gpu++)); do
    devices+=("cuda:$gpu")
done
[ "$gpus" -ne 0 ] || devices=(cpu)

actors=()
# Before the first is started, so that none is left behind.
trap '[ ${#actors[@]} -eq 0 ] || kill -TERM "${actors[@]}" 2> /dev/null || true' TERM
for index in "${!devices[@]}"; do
    name="$SLURMD_NODENAME-$index"
    keep "$logs/actor-$name.log" "$ANYTIME_BIN_DIR/anytime-actor" \
        --learner "$learner" --verifier "$verifier" --actor-id "$name" \
        --device "${devices[index]}" --threads "$threads" --slots "$slots" \
        --tls-ca "$secrets/ca.pem" --token-file "$secrets/act.token" \
        --tls-cert "$secrets/act.pem" --tls-key "$secrets/act.key" --access "$secrets/access" \
        --metrics-address "0.0.0.0:$((9110 + index))" &
    actors+=($!)
done

worst=0
for actor in "${actors[@]}"; do
    await "$actor" || worst=$?
done
exit "$worst"
