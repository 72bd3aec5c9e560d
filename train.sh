#!/usr/bin/env bash
# bash train.sh [-d 0,1 | -d cpu [-n PROCESSES]] [ARGUMENTS OF train.py …]
# One process per GPU that -d names; by default all GPUs that torch finds, or the CPU where there is none.
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
if [ "$devices" != cpu ]; then
  count=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)')
  every=$(seq -s, 0 $((count - 1)))
  if [ -z "$devices" ]; then
    devices=${every:-cpu}
  else
    export FECNET_GPUS=$devices  # so that settings that say cpu are refused
  fi
fi
if [ "$devices" = cpu ]; then
  export CUDA_VISIBLE_DEVICES=
else
  IFS=, read -ra visible <<< "${CUDA_VISIBLE_DEVICES:-$every}"  # GPUs are counted among those
  chosen= processes=0
  for number in ${devices//,/ }; do
    [ "$number" -lt "$count" ] || fail "-d $devices: GPU $number is not here: torch finds $count${every:+ ($every)}"
    name=${visible[10#$number]}
    [[ ,$chosen, != *,$name,* ]] || fail "-d $devices: GPU $number twice; each gets one process"
    chosen+=${chosen:+,}$name processes=$((processes + 1))
  done
  export CUDA_VISIBLE_DEVICES=$chosen
fi
if [ "${processes:-1}" = 1 ]; then
  exec "$PYTHON" "$SCRIPT" "$@"
fi
exec "$PYTHON" -m fecnet.utils.launch "$processes" "$SCRIPT" "$@"
