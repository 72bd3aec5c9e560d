"""Kinds of index: how faiss builds each and reads its file.

Shape suffixes: N vectors, D numbers of each.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)


FLAT = "flat"
AUTO_FLAT = 200_000  # vectors up to which exhaustive search answers thousands of queries/s
SPARE = 8  # candidates beyond those asked for, since faiss compares in float32
# Number of queries in a call (since faiss 1.15: of their values) from which on faiss finds the nearest centroids by
# matrix products. These round near-ties differently for a single query than for several, so that other lists would be
# searched. They are therefore used only for building, which they make several times faster.
_PRODUCTS_FROM, _NO_PRODUCTS = 20, 2**31 - 1
_TRAIN_EACH = 50  # training vectors per centroid
_PQ_BITS = 8


class Kind(NamedTuple):
    """A type of index.

    Attributes:
        magic: the first four bytes of faiss's file.
        make: an empty index of faiss for (faiss, N, D).
        candidates: how many are retrieved per requested neighbour, for re-ranking by exact distance.
        on_gpu: faiss supports it on GPUs.
    """

    magic: bytes
    make: Callable[[Any, int, int], Any]
    candidates: int
    on_gpu: bool


def _ivf(faiss: Any, num: int, dims: int) -> Any:
    """Inverted lists around centroids; only the lists of the nearest centroids are searched."""
    return _trained_on_few(faiss.IndexIVFFlat(faiss.IndexFlatL2(dims), dims, _lists(num)))


def _hnsw(faiss: Any, num: int, dims: int) -> Any:
    """A graph of neighbours, arXiv:1603.09320: three times the memory, and slow to build."""
    index = faiss.IndexHNSWFlat(dims, 16)
    index.hnsw.efConstruction = 80
    index.hnsw.efSearch = 20  # size of the candidate queue; at least the number of candidates
    return index


def _pq(faiss: Any, num: int, dims: int) -> Any:
    """Inverted lists of product-quantised vectors, a byte for two dimensions; results are re-ranked."""
    bytes_each = dims // 2 if dims % 2 == 0 else dims
    if num < 2**_PQ_BITS:
        raise UserError(
            f"kind pq: {num} distinct vectors; it needs {2**_PQ_BITS} or more; allowed here: flat, ivf, hnsw"
        )
    index = _trained_on_few(faiss.IndexIVFPQ(faiss.IndexFlatL2(dims), dims, _lists(num), bytes_each, _PQ_BITS))
    index.pq.cp.min_points_per_centroid = 1  # otherwise faiss warns about small sets on stderr
    return index


def _lists(num: int) -> int:
    """4√N lists, which balances the numbers of centroids and of vectors searched."""
    return max(1, min(round(4 * math.sqrt(num)), num // _TRAIN_EACH))


def _trained_on_few(index: Any) -> Any:
    index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = _TRAIN_EACH, 1
    index.nprobe = 8  # lists searched
    return index


KINDS = {  # chosen for a million vectors of 16 numbers: benchmarks/search.py
    "ivf": Kind(b"IwFl", _ivf, candidates=1, on_gpu=True),
    "hnsw": Kind(b"IHNf", _hnsw, candidates=2, on_gpu=False),
    "pq": Kind(b"IwPQ", _pq, candidates=3, on_gpu=True),
}


def find_faiss() -> Any | None:
    """The module, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    faiss.cvar.distance_compute_blas_threshold = _NO_PRODUCTS
    return faiss


def choose_kind(kind: str, num: int) -> str:
    """The kind that ``auto`` selects, or the given one.

    Raises:
        UserError: an unknown kind; or one that needs faiss, which is not installed.
    """
    if kind not in ("auto", FLAT, *KINDS):
        raise UserError(f"kind: unknown name {shown(kind)}; allowed: auto, {FLAT}, {', '.join(KINDS)}")
    if kind == "auto":
        return "ivf" if num > AUTO_FLAT and find_faiss() is not None else FLAT
    if kind in KINDS and find_faiss() is None:
        raise UserError(
            f"kind {kind}: faiss builds it, which is not installed; allowed here: {FLAT}; "
            "to install it: pip install 'fecnet[search]'"
        )
    return kind


def write_faiss(kind: str, vector_UD: np.ndarray, path: Path) -> None:
    """Build faiss's index of a kind of ``KINDS`` and write it to ``path``; not atomic.

    Args:
        kind: of ``KINDS``.
        vector_UD: distinct vectors, shape (U, D); in a graph, many identical vectors would hide others.
        path: the file.

    Raises:
        UserError: too few vectors for it.
    """
    faiss = find_faiss()
    assert faiss is not None
    index = KINDS[kind].make(faiss, *vector_UD.shape)
    faiss.cvar.distance_compute_blas_threshold = _PRODUCTS_FROM
    try:
        index.train(vector_UD)
        index.add(vector_UD)
    finally:
        faiss.cvar.distance_compute_blas_threshold = _NO_PRODUCTS
    faiss.write_index(index, str(path))


def read_faiss(kind: str, shape: tuple[int, int], path: Path, device: torch.device) -> Any:
    """The index of faiss in ``path``; on the GPU if faiss supports it, else a line says so.

    faiss does not validate its files, so a malicious one could do harm. The caller has compared the checksum, which
    detects damage but not malice, and faiss reads only the expected kind.

    Args:
        kind: of ``KINDS``.
        shape: of the distinct vectors.
        path: the file.
        device: device of the search.

    Raises:
        UserError: a file of another kind, or one that does not fit the vectors.
    """
    faiss = find_faiss()
    assert faiss is not None
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != KINDS[kind].magic:
        raise UserError(f"{path}: begins with {magic!r}; expected {KINDS[kind].magic!r} of kind {kind}")
    index = faiss.read_index(str(path))
    if (index.ntotal, index.d) != shape:
        raise UserError(
            f"{path}: holds {index.ntotal} vectors of {index.d}; vectors.npy {shape[0]} distinct ones of {shape[1]}; "
            "rebuild the index"
        )
    if device.type != "cuda":
        return index
    if why_not := _why_not_on(device, faiss, kind):
        logger.info(f"{path.parent}: searched on the CPU, not on {device}: {why_not}; --exact searches there")
        return index
    logger.info(f"{path.parent}: searched on the GPU by faiss")
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index or 0, index)


def _why_not_on(device: torch.device, faiss: Any, kind: str) -> str:
    """Why faiss does not search on this GPU; empty where it does."""
    if not KINDS[kind].on_gpu:
        return f"faiss has no {kind} on GPUs"
    there = faiss.get_num_gpus()
    if (device.index or 0) < there:
        return ""
    return f"faiss finds {there} GPUs (faiss-gpu is for them, faiss-cpu finds none)"
