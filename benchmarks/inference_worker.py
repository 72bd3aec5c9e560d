"""One side of ``inference_cpu``: a net opened by the fecnet on PYTHONPATH, asked on standard input; run as a script.

Arguments: run folder, threads. For each line, the number of faces of a call, it embeds stored faces of noise and
answers in JSON: wall and CPU seconds, peak resident memory in MB; ``npy`` in its place writes the embeddings of a few.
"""

import importlib
import json
import resource
import sys
import time

import numpy as np
import torch

from fecnet.utils.memory import keep_freed_memory

run, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
encoder = importlib.import_module("fecnet").load(run, device="cpu")  # the API that other commits have too
keep_freed_memory()  # as fecnet embed does
noise = np.random.default_rng(0).integers(0, 256, (1024, *encoder.face_shape), np.uint8)
for line in sys.stdin:
    if line.startswith("npy"):
        print(json.dumps(encoder.embed(noise[:40]).tolist()), flush=True)
        continue
    some = noise[: int(line)]
    wall, cpu = time.perf_counter(), time.process_time()
    encoder.embed(some)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_mb": memory}), flush=True)
