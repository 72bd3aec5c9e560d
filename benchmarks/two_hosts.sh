#!/usr/bin/env bash
# sudo bash benchmarks/two_hosts.sh
# Two hosts on one machine: two network namespaces joined by a virtual cable, one rank in each, rendezvous over c10d.
# Says whether the result is that of two processes on one host, to the bit. Needs root and ip (iproute2).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
PYTHON=$(command -v "$PYTHON")

if [ "$(id -u)" -ne 0 ]; then
  echo "error: network namespaces need root: sudo bash benchmarks/two_hosts.sh" >&2
  exit 2
fi
if ! command -v ip >/dev/null; then
  echo "error: no ip here: apt-get install iproute2" >&2
  exit 2
fi

root=$PWD
folder=$(mktemp -d)
names=(fecnet-a-$$ fecnet-b-$$)
addresses=(10.231.77.1 10.231.77.2)
clean() {
  for name in "${names[@]}"; do ip netns del "$name" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap clean EXIT

ip netns add "${names[0]}"
ip netns add "${names[1]}"
ip link add "fa$$" netns "${names[0]}" type veth peer name "fb$$" netns "${names[1]}"
cables=("fa$$" "fb$$")
for host in 0 1; do
  ip -n "${names[$host]}" link set lo up
  ip -n "${names[$host]}" address add "${addresses[$host]}/24" dev "${cables[$host]}"
  ip -n "${names[$host]}" link set "${cables[$host]}" up
done

export OMP_NUM_THREADS=1 PYTHONPATH=$root
cat > "$folder/small.yaml" <<YAML
DATA: {PATH: $folder/data, INPUT_SIZE: 48}
MODEL: {WIDTH_MULT: 0.25, BLOCKS: [1, 1], NECK: conv1x1, NECK_CHANNELS: 32, FEATURE_DIM: 32}
SOLVER: {LENGTH: 20, BATCH_SIZE: 7, BASE_LR: 1e-3, SCHEDULE: cosine}
EVAL: {PERIOD: 10}
LOG: {PERIOD: 5, TENSORBOARD: false}
OUTPUT_DIR: $folder/result
DEVICE: cpu
YAML
"$PYTHON" -c "
from fecnet.prepare.synthetic import prepare_synthetic
prepare_synthetic('$folder/data', num_train_identities=30, num_train_triplets=400, progress=False)"

host() {
  # torchrun tells its own address by the name of the machine, and so does gloo; here both hosts have one name
  timeout 300 ip netns exec "${names[$1]}" env GLOO_SOCKET_IFNAME="${cables[$1]}" "$PYTHON" -m torch.distributed.run \
    --nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_id "$$" --rdzv_endpoint "${addresses[0]}:29400" \
    --rdzv_conf is_host=$((1 - $1)) --local_addr "${addresses[$1]}" "$root/train.py" "$folder/small.yaml" NAME two-hosts
}
host 0 &
first=$!
host 1 &
second=$!
wait "$first" || { echo "error: host 1 ended with $?" >&2; exit 1; }
wait "$second" || { echo "error: host 2 ended with $?" >&2; exit 1; }

timeout 300 "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node 2 "$root/train.py" "$folder/small.yaml" \
  NAME one-host

last=checkpoints/20
for file in "$last/model.safetensors" metrics.jsonl; do
  cmp "$folder/result/two-hosts/$file" "$folder/result/one-host/$file" || exit 1
done
echo "two hosts and one host with two processes: weights and metrics are equal to the bit"
