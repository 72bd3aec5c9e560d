"""The models of ``shipped`` on CK+, which none of ours was trained on: classes, triplets and nearest neighbours.

- *classes*: accuracy on the six expressions that CK+ shares with FER2013, by the most probable of these: its
  contempt is not counted, and neutral, which it does not have, is never the answer.
- *triplets*: agreement on 6,000 triplets of three people, two of one class and one of another, of all seven classes.
- *k-NN*: accuracy of the majority of the ten nearest faces of other people, of all seven classes.

A missing data set must be prepared first: ``fecnet prepare ckplus CKPLUS_FOLDER datasets/ckplus --size 48 --grey``.

Shape suffixes: N faces, M faces of the shared classes, T triplets, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.opponents.package import FER_CLASSES
from benchmarks.shipped_models import Answers, Model
from fecnet.data.face_rows import face_rows
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset
from fecnet.evaluation.classification import class_accuracy
from fecnet.evaluation.retrieval import retrieval
from fecnet.evaluation.triplet_accuracy import triplet_accuracy
from fecnet.prepare.votes import vote_triplets
from fecnet.structures import TripletType
from fecnet.utils.class_words import find_class
from fecnet.utils.table import align_columns, decimal

NEIGHBOURS = 10
NUM_TRIPLETS = 6000
_DRAWN = 2  # times as many triplets, of which those of three people are kept
_LABELS, _SPLIT = "ckplus", "all"


def measure_ckplus(models: Sequence[Model], path: Path) -> dict[str, Any]:
    """The table of CK+, printed and returned.

    Args:
        models: ours and others.
        path: packed data set with subjects.
    """
    if not (path / "dataset.json").is_file():
        raise SystemExit(
            "datasets/ckplus is absent: fecnet prepare ckplus CKPLUS_FOLDER datasets/ckplus --size 48 --grey"
        )
    dataset = PackedDataset(path)
    table = dataset.labels(_LABELS, _SPLIT)
    subject_N = np.array([row["subject"] for row in face_rows(path)])[table.faces_M]
    faces_NHWC = np.asarray(dataset.faces_NHWC)[table.faces_M]
    faces_T3, odd_T = triplets_of_others(table, subject_N)
    rows = {}
    for model in models:
        answers = model.answer(faces_NHWC)
        rows[model.name] = {
            "classes": shared_percent(table, answers),
            "triplets": triplets_percent(answers.embedding_ND, faces_T3, odd_T),
            "k_nn": neighbours_percent(table, subject_N, answers.embedding_ND),
        }
    cells = [[name, *map(decimal, row.values())] for name, row in rows.items()]
    print(align_columns([["CK+", "classes", "triplets", "k-NN"], *cells]))
    shared = [word for word in table.classes if find_class(word, FER_CLASSES) is not None]
    return {
        "faces": len(table),
        "people": len(np.unique(subject_N)),
        "shared_classes": shared,
        "faces_of_shared_classes": int(np.isin(table.label_M, [table.classes.index(word) for word in shared]).sum()),
        "triplets": len(odd_T),
        "neighbours": NEIGHBOURS,
        "models": rows,
    }


def triplets_of_others(table: LabelTable, subject_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triplets of three people from labels, as places in the table, shape (T, 3), and their odd faces."""
    one_hot_NK = np.eye(len(table.classes))[table.label_M]
    drawn, _ = vote_triplets(
        one_hot_NK,
        table.label_M,
        np.arange(len(table)),
        num_triplets=_DRAWN * NUM_TRIPLETS,
        seed=0,
        kinds=(TripletType.TWO_CLASS,),
        progress=False,
    )
    one_T, two_T, three_T = subject_N[drawn["faces_T3"]].T
    apart_T = (one_T != two_T) & (one_T != three_T) & (two_T != three_T)
    return drawn["faces_T3"][apart_T][:NUM_TRIPLETS], drawn["odd_T"][apart_T][:NUM_TRIPLETS]


def shared_percent(table: LabelTable, answers: Answers) -> float | None:
    """Accuracy on the classes that FER2013 has too, %."""
    shared = [k for k, word in enumerate(table.classes) if find_class(word, FER_CLASSES) is not None]
    words = [table.classes[k] for k in shared]
    counted_N = np.isin(table.label_M, shared)
    label_M = np.searchsorted(shared, table.label_M[counted_N])
    probability_MK = answers.probability("fer", words)[counted_N]
    return class_accuracy(torch.from_numpy(probability_MK), label_M, words).metrics()["accuracy"]


def triplets_percent(embedding_ND: np.ndarray, faces_T3: np.ndarray, odd_T: np.ndarray) -> float | None:
    """Agreement with the labels, %."""
    type_T = np.full(len(odd_T), int(TripletType.TWO_CLASS))
    return triplet_accuracy(torch.from_numpy(embedding_ND), faces_T3, odd_T, type_T).metrics()["ALL"]


def neighbours_percent(table: LabelTable, subject_N: np.ndarray, embedding_ND: np.ndarray) -> float | None:
    """Accuracy by the nearest faces of other people, %."""
    group_N = np.unique(subject_N, return_inverse=True)[1]
    everything_N = np.arange(len(table))
    found = retrieval(embedding_ND, table.label_M, table.classes, everything_N, num=NEIGHBOURS, group_N=group_N)
    return found.knn.metrics()["accuracy"]
