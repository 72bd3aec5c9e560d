"""An order of triplets in which those that share a face stand together, so that a batch has fewer faces to look at."""

from __future__ import annotations

import numpy as np

from fecnet.data.permutation import permuted


def order_by_shared_face(faces_T3: np.ndarray, seed: int) -> np.ndarray:
    """Triplets by the first of their faces, then by the second, where the faces are in a random order.

    A triplet stands with those of its first face. Where each face is in many triplets, a stretch of T of them shows
    little more than 2 T faces, rather than 3 T: no order does much better, since triplets share one face far more
    often than two.

    Args:
        faces_T3: rows of ``faces.npy``, whole numbers, shape (T, 3).
        seed: chooses the order of the faces.

    Returns:
        Places in ``faces_T3``, int64, shape (T,).
    """
    num_faces = int(faces_T3.max()) + 1
    rank_T3 = permuted(np.arange(num_faces), num_faces, seed)[faces_T3]
    rank_T3.sort(axis=1)
    return np.argsort(rank_T3[:, 0] * num_faces + rank_T3[:, 1], kind="stable")
