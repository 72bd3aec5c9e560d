#!/usr/bin/env bash
# faiss-cpu 1.15.1 (IndexHNSWFlat) and usearch 2.26.6, seen on 2026-11-29.
#
# One would guess: identical vectors in an HNSW index cost time, or crowd each other out of the answers; other vectors
#   are found as before, and where not, a larger efSearch finds them.
# What happens: 50 groups of 100 identical vectors hide other vectors, even from a query that is the very vector sought:
#   faiss misses 30 % of them and usearch 8 % at an efSearch of 64; at 4,096 of the 10,000 vectors faiss still misses
#   10 %, usearch 1 %. The same groups with a jitter of 0.00001 do no harm.
#   A likely cause: links are pruned where two candidates are nearer to each other than to the new vector, which copies
#   at distance 0 never are; so copies are linked to copies only, and a walk that enters them does not come out.
# Why it matters here: still videos, and photos stored twice, give embeddings that are equal to the last bit. They
#   damage the search among everybody else's faces. Leave copies out before building, or search flat.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6
"$dir/bin/python" -I - <<'PYTHON'
import sys

import faiss
import numpy as np
import usearch
from usearch.index import Index

DIMS, OTHERS, GROUPS, COPIES, SOUGHT = 16, 5000, 50, 100, 500
faiss.omp_set_num_threads(1)  # the same graph every time
WIDTHS = (64, 4096)  # efSearch
print(f"faiss {faiss.__version__}, usearch {usearch.__version__}: {SOUGHT} of {OTHERS} vectors sought, each by itself")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


def shares(vectors, sought):
    """The share of the sought vectors that comes back at distance 0, by index and search width."""
    graph = faiss.IndexHNSWFlat(DIMS, 16)
    graph.hnsw.efConstruction = 80
    graph.add(vectors)
    flat = faiss.IndexFlatL2(DIMS)
    flat.add(vectors)
    other = Index(ndim=DIMS, metric="l2sq", dtype="f32", connectivity=16, expansion_add=80)
    other.add(np.arange(len(vectors)), vectors, threads=1)
    found = {"faiss flat": flat.search(sought, 1)[0]}
    for width in WIDTHS:
        graph.hnsw.efSearch = other.expansion_search = width
        found[f"faiss HNSW {width}"] = graph.search(sought, 1)[0]
        found[f"usearch {width}"] = other.search(sought, 1, threads=1).distances
    return {name: float((np.ravel(distances) < 1e-6).mean()) for name, distances in found.items()}


rng = np.random.default_rng(0)
others = unit(rng.normal(size=(OTHERS, DIMS)))
stills = np.repeat(unit(rng.normal(size=(GROUPS, DIMS))), COPIES, axis=0)
jittered = unit(stills + 1e-5 * rng.normal(size=stills.shape))
order = rng.permutation(OTHERS + GROUPS * COPIES)
sets = {
    "alone": others,
    "with near copies": np.concatenate([others, jittered])[order],
    "with identical copies": np.concatenate([others, stills])[order],
}
for name, vectors in sets.items():
    found = shares(vectors, others[:SOUGHT])
    print(f"{name:>21}: " + ", ".join(f"{index} {100 * share:.1f} %" for index, share in found.items()))
    check("the flat index finds all", found["faiss flat"] == 1)
    if name == "with identical copies":
        narrow, wide = WIDTHS
        check("faiss misses others", found[f"faiss HNSW {narrow}"] < 0.85)
        check("faiss misses others however wide it searches", found[f"faiss HNSW {wide}"] < 0.95)
        check("usearch misses others", found[f"usearch {narrow}"] < 0.97)
    else:
        check(f"{name}, nearly all are found", min(found.values()) > 0.99)
print("as seen")
PYTHON
