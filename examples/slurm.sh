#!/usr/bin/env bash
# sbatch examples/slurm.sh [RECIPE] [KEY VALUE …]     (from the project's root, after make install)
#
# One torchrun per node, one process per GPU. Three minutes before the time limit the run saves, leaves and goes back
# into the queue; there, and after the failure of a node, it goes on from its last checkpoint.
#SBATCH --job-name=fecnet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

[ $# -gt 0 ] || set -- config/fec_paper_resnet18.yaml
read -r host < <(scontrol show hostnames "$SLURM_JOB_NODELIST") # the first node
port=$((29400 + SLURM_JOB_ID % 1000)) # two jobs may share a node

# The job's number names the run and stays the same when the job is queued again: --resume auto finds its own run.
srun "${TORCHRUN:-.venv/bin/torchrun}" \
  --nnodes="$SLURM_NNODES" --nproc_per_node=auto --max_restarts=3 \
  --rdzv_id="$SLURM_JOB_ID" --rdzv_backend=c10d --rdzv_endpoint="$host:$port" \
  train.py "$@" NAME "slurm-$SLURM_JOB_ID" --resume auto &
step=$!

out_of_time=
trap 'out_of_time=1; kill -TERM "$step"' USR1 # srun hands it on to every torchrun
code=0
wait "$step" || code=$?
if [ -n "$out_of_time" ]; then
  wait "$step" || true # the wait above ended with the signal, this one with the last checkpoint
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$code"
