#!/usr/bin/env bash
# bash train.sh [-d 0,1 | -d cpu] [ARGUMENTS OF train.py …]
# One process per GPU named by -d; all GPUs of the machine by default; the CPU where there is none.
exec "$(dirname "$0")/launch.sh" train.py "$@"
