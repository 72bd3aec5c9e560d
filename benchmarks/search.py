"""The nearest ten of a million 16-d vectors: each kind of index relative to exhaustive search, on one thread.

The vectors simulate an embedding of many people and few expressions: unit vectors around 1,000 random centres, the
r-th sampled with weight 1/√r, with Gaussian noise of standard deviation 0.1 per dimension. Queries are sampled in the
same way. Query rates are those of complete calls of ``Index.search``, exact distances included, measured alternately.
Memory is the increase in a separate process after opening and searching the index, without the vectors, which are
memory-mapped.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import seconds, spread
from fecnet.embed.shards import Rows
from fecnet.search.index import FAISS, Index, write_index
from fecnet.search.kinds import FLAT, KINDS, choose_kind, find_faiss
from fecnet.search.measuring import recall_of_exact

VECTORS, DIMS, QUERIES, FLAT_QUERIES, RUNS, NEAREST = 1_000_000, 16, 4000, 500, 5, 10
CENTRES, NOISE = 1000, 0.1
REQUIRED_RECALL, REQUIRED_RATIO = 0.95, 20.0


def run(*, quick: bool) -> dict[str, Any]:
    """Queries/s, share of the exact neighbours, size and memory of each kind; without faiss nothing is measured."""
    faiss = find_faiss()
    if faiss is None:
        print("faiss is not here: not measured")
        return {}
    num, runs, few, many = (20_000, 1, 100, 500) if quick else (VECTORS, RUNS, FLAT_QUERIES, QUERIES)
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    query_QD = clustered(many, seed=1)
    with tempfile.TemporaryDirectory() as temporary:
        paths = {kind: Path(temporary) / kind for kind in (FLAT, *KINDS)}
        build_s = {kind: seconds(lambda kind=kind: write(paths[kind], num, kind)) for kind in paths}  # type: ignore[misc]
        rates = measure_rates({kind: Index(path) for kind, path in paths.items()}, query_QD, few, runs)
        exact = Index(paths[FLAT])
        kinds = {
            kind: {
                "recall": recall_of_exact(Index(path), exact, query_QD[:many], NEAREST),
                "times_flat": spread([ours / flat for ours, flat in zip(rates[kind], rates[FLAT], strict=True)]),
                "queries_per_s": spread(rates[kind]),
                "build_s": build_s[kind],
                "file_mb": (path / FAISS).stat().st_size / 2**20 if kind in KINDS else 0.0,
                "memory_mb": alone(memory_mb, path, query_QD[:few]),
            }
            for kind, path in paths.items()
        }
    for kind, row in kinds.items():
        print(
            f"{kind}: recall@{NEAREST} {row['recall']:.4f} (≥ {REQUIRED_RECALL}), {row['memory_mb']:.0f} MB, "
            f"{row['queries_per_s']['median']:,.0f} queries/s, {row['times_flat']['median']:.1f} × flat "
            f"(≥ {REQUIRED_RATIO})"
        )
    return {
        "vectors": num,
        "dims": DIMS,
        "threads": 1,
        "faiss": faiss.__version__,
        "auto": choose_kind("auto", num),
        "required_recall": REQUIRED_RECALL,
        "required_times_flat": REQUIRED_RATIO,
        "kinds": kinds,
    }


def clustered(num: int, seed: int) -> np.ndarray:
    """Unit vectors around common centres, float32, shape (num, DIMS)."""
    centre_CD = np.random.default_rng(0).standard_normal((CENTRES, DIMS), np.float32)
    centre_CD /= np.linalg.norm(centre_CD, axis=1, keepdims=True)
    weight_C = 1 / np.sqrt(np.arange(1, CENTRES + 1))
    rng = np.random.default_rng([1, seed])
    vector_ND = centre_CD[rng.choice(CENTRES, num, p=weight_C / weight_C.sum())]
    vector_ND += NOISE * rng.standard_normal((num, DIMS), np.float32)
    return vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)


def write(path: Path, num: int, kind: str) -> None:
    """An index of the vectors, as ``fecnet search build`` writes it."""
    about = {"model": {"name": "none", "identity": "none"}, "faces": "auto", "folder": "", "packed": {}}
    write_index(path, rows_of(clustered(num, seed=0)), num, DIMS, kind, about)


def rows_of(vector_ND: np.ndarray, each: int = 2048) -> Iterator[Rows]:
    """The vectors as rows of photos."""
    for first in range(0, len(vector_ND), each):
        some = vector_ND[first : first + each]
        names = np.array([f"photos/{number:08d}.jpg" for number in range(first, first + len(some))])
        status, nothing = np.full(len(some), "ok"), np.full(len(some), np.nan)
        boxes, places = np.full((len(some), 4), np.nan, np.float32), np.arange(len(some))
        yield Rows(some, status, names, names, np.full(len(some), -1), nothing, boxes, nothing, places)


def measure_rates(indexes: dict[str, Index], query_QD: np.ndarray, few: int, runs: int) -> dict[str, list[float]]:
    """Queries/s of each kind in each run, the kinds in turn; ``flat`` gets the first ``few`` queries."""
    rates: dict[str, list[float]] = {kind: [] for kind in indexes}
    for index in indexes.values():
        index.search(query_QD[:few], NEAREST)
    for _ in range(runs):
        for kind, index in indexes.items():
            asked = query_QD[:few] if kind == FLAT else query_QD
            rates[kind].append(len(asked) / seconds(lambda index=index, asked=asked: index.search(asked, NEAREST)))  # type: ignore[misc]
    return rates


def alone(measure: Any, *arguments: Any) -> Any:
    """The result of a function in a separate process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, *arguments).result()


def memory_mb(path: Path, query_QD: np.ndarray) -> float:
    """What opening and searching an index adds to the memory that this process has for itself."""
    faiss = find_faiss()
    assert faiss is not None
    faiss.omp_set_num_threads(1)
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what was freed before is filled first, and not seen
    before = own_mb()
    index = Index(path)
    index.search(query_QD, NEAREST)
    return own_mb() - before


def own_mb() -> float:
    """Memory that is not mapped from files."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024
