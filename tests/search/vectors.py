"""Clustered vectors, and index folders of them without a net."""

import numpy as np

from fecnet.embed.shards import Rows
from fecnet.search.index import write_index

ABOUT = {"model": {"name": "net", "identity": "abc"}, "faces": "auto", "folder": "", "packed": {}}


def clustered(num, dims=16, seed=0):
    """Unit vectors around forty centres, float32."""
    rng = np.random.default_rng(seed)
    centre = np.random.default_rng(99).normal(size=(40, dims))
    vectors = centre[rng.integers(0, 40, num)] + 0.3 * rng.normal(size=(num, dims))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rows_of(vectors, *, status=None, names=None):
    num = len(vectors)
    names = names or [f"{k}.png" for k in range(num)]
    return Rows(
        vectors,
        np.array(status or ["ok"] * num),
        np.array(names),
        np.array(names),
        np.full(num, -1),
        np.full(num, np.nan),
        np.full((num, 4), np.nan, np.float32),
        np.full(num, np.nan, np.float32),
        np.arange(num),
    )


def make(path, vectors, kind="flat", **about):
    write_index(path, [rows_of(vectors)], len(vectors), vectors.shape[1], kind, ABOUT | about)
    return path


def near_copies(num=40, dims=16, step=3e-6):
    """Unit vectors, each followed by one that is nearer than products in float32 can tell."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(num, dims))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.stack([vectors, vectors + step * rng.normal(size=(num, dims))], 1).reshape(-1, dims).astype(np.float32)
