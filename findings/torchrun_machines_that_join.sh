#!/usr/bin/env bash
# torch 2.11.0, seen on 2026-12-01; 2.15.0 does the same.
#
# One would guess: `torchrun --nnodes=1:2 --rdzv-backend=c10d` starts on one machine, and when a second one joins, both
#   learn in the new rendezvous where the ranks' store (MASTER_ADDR, MASTER_PORT) is, as in the first.
# What happens: the agent of rank 0 publishes the address of the store that it shares in its first rendezvous only.
#   A machine that joins later as rank 1 asks for it in the new one, waits until the store's time-out and fails. One that
#   joins as rank 0 (ranks go by the sorted names of the machines) starts a store of its own, while the other machine's
#   ranks are still sent to the old one: they never meet. With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 all learn the same
#   address in each rendezvous.
# Why it matters here: a training that is to grow again after it lost a machine hangs or ends instead. Set that variable
#   in elastic launches.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.11.0 numpy
cat > "$dir/joins.py" <<'PYTHON'
import os
import sys
import threading
import time
from datetime import timedelta

import torch
from torch.distributed import TCPStore
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

joins_as = int(sys.argv[1])
PATIENCE = timedelta(seconds=10)
server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)


def machine(name):
    """What the agent of torchrun makes on each machine with --nnodes=1:2."""
    store = TCPStore("127.0.0.1", server.port, is_master=False, timeout=PATIENCE)
    limits = RendezvousTimeout(join=timedelta(seconds=60), last_call=timedelta(seconds=1))
    backend = C10dRendezvousBackend(store, "job")
    return DynamicRendezvousHandler.from_backend("job", store, backend, 1, 2, local_addr=name, timeout=limits)


def meet(handler, told, key):
    try:
        found = handler.next_rendezvous()
        told[key] = (found.rank, found.bootstrap_store_info.master_port)
    except Exception as error:
        told[key] = type(error).__name__


names = {"first": "localhost", "second": "127.0.0.1" if joins_as == 0 else "localhost"}  # ranks go by sorted names
told = {}
first, second = machine(names["first"]), machine(names["second"])
meet(first, told, "alone")
joining = threading.Thread(target=meet, args=(second, told, "second"))
joining.start()
while not first.num_nodes_waiting():
    time.sleep(0.1)
meet(first, told, "first")
joining.join()
way = "not shared" if os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") == "1" else "shared (default)"
print(f"  torch {torch.__version__}, store {way}, joins as rank {joins_as}: rank and port {told}", flush=True)
if way == "not shared":
    right = told["first"][1] == told["second"][1]
elif joins_as == 1:
    right = told["second"] == "DistStoreError"
else:
    right = told["first"][0] == 1 and told["second"][0] == 0 and told["first"][1] != told["second"][1]
os._exit(0 if right else 1)
PYTHON
for rank in 1 0; do
  "$dir/bin/python" -I -W ignore "$dir/joins.py" "$rank" 2> "$dir/errors" || { cat "$dir/errors"; echo "CHANGED"; exit 1; }
  TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 "$dir/bin/python" -W ignore "$dir/joins.py" "$rank" 2> "$dir/errors" ||
    { cat "$dir/errors"; echo "CHANGED: not met without sharing either"; exit 1; }
done
