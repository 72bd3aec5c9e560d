"""Duplicate faces (identical pixels), and splits that should not share them.

Shape suffixes: N faces, M and T those of a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

_DIGEST_BYTES = 16  # collision probability below 1e-26 for a million faces
_CHUNK_BYTES = 1 << 24
_TRAIN_WORDS = {"train", "training"}
_SPLIT_WORDS = _TRAIN_WORDS | {"test", "testing", "val", "valid", "validation", "dev", "eval", "public", "private"}


def pixel_groups(faces_NHWC: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Groups of identical faces: for each face the index of the first one with the same pixels, int64, shape (N,).

    Memory: one chunk of faces and 16 bytes per face.

    Args:
        faces_NHWC: all faces, uint8.
        rows: restrict to these N rows; indices are positions in ``rows``. None for all.
    """
    num = len(faces_NHWC) if rows is None else len(rows)
    digest_N2 = np.empty((num, 2), np.uint64)
    step = max(1, _CHUNK_BYTES // max(1, faces_NHWC[:1].nbytes))
    for start in range(0, num, step):
        part = slice(start, start + step)
        chunk = np.ascontiguousarray(faces_NHWC[part if rows is None else rows[part]])
        for k, face in enumerate(chunk):
            digest = blake2b(face.data, digest_size=_DIGEST_BYTES).digest()
            digest_N2[start + k] = np.frombuffer(digest, np.uint64)
    if num == 0:
        return np.empty(0, np.int64)
    _, first, group_N = np.unique(digest_N2, axis=0, return_index=True, return_inverse=True)
    return first[group_N.reshape(-1)]


def pixel_matches(faces_NHWC: np.ndarray, rows_N: np.ndarray, others_M: np.ndarray) -> np.ndarray:
    """Whether each face is identical in every pixel to one of ``others_M``, or is one of them: bool, shape (N,).

    Args:
        faces_NHWC: all faces, uint8.
        rows_N: rows of the faces to test.
        others_M: rows of the faces they are compared with.
    """
    group = pixel_groups(faces_NHWC, np.concatenate([rows_N, others_M]))
    return np.isin(group[: len(rows_N)], group[len(rows_N) :])


def is_training(split: str) -> bool:
    """Whether a split is a training split, by its name."""
    return bool(_TRAIN_WORDS & set(_words(split)))


def training_splits_of(split: str, splits: Iterable[str]) -> list[str]:
    """The training splits for evaluation split ``split``: ``fold03_train`` for ``fold03_test``, ``train`` for ``test``.

    Where no name matches, all training splits.
    """
    training = sorted(name for name in set(splits) if is_training(name))
    return [name for name in training if comparable(name, split)] or training


def comparable(one: str, other: str) -> bool:
    """Whether two splits should be disjoint: splits of different folds share faces by design."""
    rests = [sorted(word for word in _words(name) if word not in _SPLIT_WORDS) for name in (one, other)]
    return rests[0] == rests[1]


def _words(split: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+", split.lower())
