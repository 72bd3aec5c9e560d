#!/usr/bin/env bash
# bash train.sh [-d 0,1 | -d cpu] [ARGUMENTS OF train.py …]
# One process per GPU that -d names; by default all GPUs of this machine, or the CPU where there is none.
set -euo pipefail
SCRIPT=${SCRIPT:-train.py}
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}

devices=
if [ "${1:-}" = "-d" ]; then
  devices=${2:?"-d needs GPU numbers such as 0,1, or cpu"}
  shift 2
fi
if [ -z "$devices" ]; then
  count=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
  devices=$([ "$count" -gt 0 ] && seq -s, 0 $((count - 1)) || echo cpu)
fi
if [ "$devices" = cpu ]; then
  exec env CUDA_VISIBLE_DEVICES= "$PYTHON" "$SCRIPT" "$@"
fi
if ! [[ $devices =~ ^[0-9]+(,[0-9]+)*$ ]]; then
  echo "error: -d $devices: expected GPU numbers such as 0,1, or cpu" >&2
  exit 2
fi
commas=${devices//[^,]/}
export CUDA_VISIBLE_DEVICES=$devices
exec "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node=$((${#commas} + 1)) "$SCRIPT" "$@"
