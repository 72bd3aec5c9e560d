"""Orders triplets so that those that share a face are adjacent: a batch then has fewer unique faces."""

from __future__ import annotations

import numpy as np

from fecnet.data.permutation import permuted


def order_by_shared_face(faces_T3: np.ndarray, seed: int) -> np.ndarray:
    """Sort triplets by their first face, then by their second, with the faces in a random order.

    Where each face is in many triplets, T consecutive triplets have only a little more than 2 T unique faces, not 3 T.
    No order does much better, since triplets share one face far more often than two.

    Args:
        faces_T3: rows of ``faces.npy``, integers, shape (T, 3).
        seed: determines the order of the faces.

    Returns:
        Indices into ``faces_T3``, int64, shape (T,).
    """
    num_faces = int(faces_T3.max()) + 1
    rank_T3 = permuted(np.arange(num_faces), num_faces, seed)[faces_T3]
    rank_T3.sort(axis=1)
    return np.argsort(rank_T3[:, 0] * num_faces + rank_T3[:, 1], kind="stable")
