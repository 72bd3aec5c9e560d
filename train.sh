#!/usr/bin/env bash
# bash train.sh [-d 0,1 | -d cpu [-n PROCESSES]] [ARGUMENTS OF train.py …]
# One process per GPU that -d names; by default all GPUs of this machine, or the CPU where there is none.
set -euo pipefail
SCRIPT=${SCRIPT:-train.py}
export FECNET_COMMAND=${FECNET_COMMAND:-bash ${SCRIPT%.py}.sh $*}  # what a checkpoint says it was trained by
cd "$(dirname "${BASH_SOURCE[0]}")"
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}

fail() {
  echo "error: $1" >&2
  exit 2
}

devices= processes=
if [ "${1:-}" = "-d" ]; then
  devices=${2:-nothing}
  [[ $devices =~ ^([0-9]+(,[0-9]+)*|cpu)$ ]] || fail "-d $devices: expected GPU numbers such as 0,1, or cpu"
  shift 2
fi
if [ "${1:-}" = "-n" ]; then
  processes=${2:-nothing}
  [ "$devices" = cpu ] || fail "-n $processes: expected only after -d cpu; each GPU gets one process"
  [[ $processes =~ ^[1-9][0-9]*$ ]] || fail "-n $processes: expected a number of processes, 1 or more"
  shift 2
fi
if [ -z "$devices" ]; then
  count=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
  devices=$([ "$count" -gt 0 ] && seq -s, 0 $((count - 1)) || echo cpu)
fi
if [ "$devices" = cpu ]; then
  export CUDA_VISIBLE_DEVICES=
else
  export CUDA_VISIBLE_DEVICES=$devices
  commas=${devices//[^,]/}
  processes=$((${#commas} + 1))
fi
if [ "${processes:-1}" = 1 ]; then
  exec "$PYTHON" "$SCRIPT" "$@"
fi
exec "$PYTHON" -m fecnet.utils.launch "$processes" "$SCRIPT" "$@"
