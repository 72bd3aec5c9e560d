#!/usr/bin/env bash
# bash inference.sh [-d 0,1 | -d cpu [-n PROCESSES]] [ARGUMENTS OF inference.py …]; devices as for train.sh.
SCRIPT=inference.py exec bash "$(dirname "${BASH_SOURCE[0]}")/train.sh" "$@"
