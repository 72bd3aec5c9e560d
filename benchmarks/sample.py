"""A fixed sample of faces with the predictions that a shipped net gets right on it: a test measures it again.

Shape suffixes: N faces, T triplets, M labelled faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.card import Split
from fecnet.encoder.encoder import Encoder
from fecnet.evaluation.triplet_accuracy import triplet_accuracy
from fecnet.utils.files import read_arrays, replace_arrays

TRIPLETS = 333  # of different faces: 999
_KEYS = ("faces_T3", "odd_T", "type_T", "faces_M", "label_M")


class Sample(NamedTuple):
    """Triplets that share no face, and the labels of their faces, by rows of the data set.

    Attributes:
        faces_T3: rows, shape (T, 3).
        odd_T: index 0..2 of the odd face.
        type_T: ``TripletType``.
        faces_M: rows of the labelled faces.
        label_M: class of each.
    """

    faces_T3: np.ndarray
    odd_T: np.ndarray
    type_T: np.ndarray
    faces_M: np.ndarray
    label_M: np.ndarray


class Right(NamedTuple):
    """How many predictions are right.

    Attributes:
        triplets: of ``triplets_of``.
        triplets_of: triplets of the sample.
        classes: of ``classes_of``.
        classes_of: labelled faces of the sample.
    """

    triplets: int
    triplets_of: int
    classes: int
    classes_of: int


def choose_sample(split: Split, label_set: str) -> Sample:
    """Triplets of a split in a random order that is always the same, each of faces that were in none before."""
    table, seen, chosen = split.triplets, set[int](), []
    for place in np.random.default_rng(0).permutation(len(table)):
        faces = set(table.faces_T3[place].tolist())
        if not faces & seen:
            seen |= faces
            chosen.append(place)
        if len(chosen) == TRIPLETS:
            break
    labels = split.labels[label_set]
    there_M = np.isin(labels.faces_M, list(seen)) & (labels.label_M >= 0)
    return Sample(
        table.faces_T3[chosen],
        table.odd_T[chosen],
        table.type_T[chosen],
        labels.faces_M[there_M],
        labels.label_M[there_M],
    )


def write_sample(path: Path, sample: Sample) -> None:
    """Write a sample as ``.npz``."""
    replace_arrays(path, **sample._asdict())


def read_sample(path: Path) -> Sample:
    """The sample in a file.

    Raises:
        DataError: unreadable, or other arrays.
    """
    arrays = read_arrays(path, _KEYS, kind="sample")
    return Sample(*(arrays[key] for key in _KEYS))


def count_right(encoder: Encoder, sample: Sample, faces_NHWC: np.ndarray) -> Right:
    """What a net gets right on a sample.

    Args:
        encoder: the net; its classes are those of the labels.
        sample: the sample.
        faces_NHWC: all stored faces of the data set, by row.
    """
    rows_N, place = np.unique(sample.faces_T3, return_inverse=True)
    outputs = encoder.encode(np.asarray(faces_NHWC[rows_N])).outputs
    triplets = triplet_accuracy(
        torch.from_numpy(outputs["embedding"]), place.reshape(-1, 3), sample.odd_T, sample.type_T
    ).counts("ALL")
    right_M = outputs["logits"][np.searchsorted(rows_N, sample.faces_M)].argmax(1) == sample.label_M
    return Right(*triplets, int(right_M.sum()), len(right_M))
