"""Triplets and faces on which net and annotators disagree, the most confident errors first.

Shape suffixes: T triplets, N evaluated faces, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.evaluation.triplet_accuracy import ROWS
from fecnet.run_page.markup import Markup, element
from fecnet.run_page.pictures import face_picture
from fecnet.structures import TripletType, opposite_distances
from fecnet.utils.errors import UserError

_PER_TYPE = 8  # triplets shown of each type
_WRONG_FACES = 36
_SAME_MISTAKE = 3  # faces shown for each pair of label and predicted class


@dataclass(frozen=True)
class TripletFailure:
    """A triplet on which the net disagrees with the annotators.

    Attributes:
        number: its row in the split's file.
        kind: its type.
        rows: rows of ``faces.npy``.
        odd: the raters' odd face, 0..2.
        predicted: the net's odd face; None where two pairs are equally close.
        votes: annotators who chose each face as the odd one; zeros where unknown.
        distances: squared, between the two faces that are not face k.
    """

    number: int
    kind: TripletType
    rows: tuple[int, int, int]
    odd: int
    predicted: int | None
    votes: tuple[int, int, int]
    distances: tuple[float, float, float]


@dataclass(frozen=True)
class WrongFace:
    """A misclassified face, with the probability of the predicted class."""

    row: int
    label: int
    predicted: int
    probability: float


def triplet_failures(
    table: TripletTable, rows_N: np.ndarray, embedding_ND: np.ndarray, per_type: int = _PER_TYPE
) -> tuple[list[TripletFailure], dict[str, int]]:
    """The most confident errors of each type, and the number of errors by ``ROWS``.

    Confidence: the distance of the pair that the annotators consider most similar, minus that of the closest pair. A
    tie is an error, as in the tables.

    Args:
        table: the triplets of a split.
        rows_N: evaluated rows of ``faces.npy``, increasing.
        embedding_ND: their embeddings.
        per_type: at most so many of each type.

    Raises:
        UserError: a face of the triplets was not evaluated.
    """
    place_T3 = np.minimum(np.searchsorted(rows_N, table.faces_T3), len(rows_N) - 1)
    if (rows_N[place_T3] != table.faces_T3).any():
        raise UserError("holds no embedding of some faces of the split; evaluate the run again")
    distance_T3 = opposite_distances(torch.from_numpy(embedding_ND)[torch.from_numpy(place_T3)]).numpy()
    annotated_T = np.take_along_axis(distance_T3, table.odd_T[:, None].astype(np.int64), 1)[:, 0]
    strictly_T = (annotated_T[:, None] < distance_T3).sum(1) == 2
    confidence_T = annotated_T - distance_T3.min(1)
    wrong = np.flatnonzero(~strictly_T)
    counts = Counter(table.type_T[wrong].tolist())
    chosen: list[TripletFailure] = []
    for kind in TripletType:
        of_type = wrong[table.type_T[wrong] == kind]
        top = of_type[np.argsort(-confidence_T[of_type], kind="stable")][:per_type]
        chosen += [_failure(table, int(number), distance_T3[number]) for number in top]
    return chosen, {**{row: counts[k] for k, row in enumerate(ROWS[:3])}, "ALL": len(wrong)}


def _failure(table: TripletTable, number: int, distance_3: np.ndarray) -> TripletFailure:
    closest = np.flatnonzero(distance_3 == distance_3.min())
    first, second, third = (int(row) for row in table.faces_T3[number])
    votes = tuple(int(count) for count in table.votes_T3[number])
    return TripletFailure(
        number,
        TripletType(int(table.type_T[number])),
        (first, second, third),
        int(table.odd_T[number]),
        int(closest[0]) if len(closest) == 1 else None,
        votes,  # type: ignore[arg-type]
        tuple(distance_3.tolist()),
    )


def triplet_sheet(dataset: PackedDataset, failures: Sequence[TripletFailure]) -> Markup:
    """A card per triplet: three faces, with the odd face of the annotators and of the net."""
    return element("div", [_triplet_card(dataset, failure) for failure in failures], class_="cards")


def _triplet_card(dataset: PackedDataset, failure: TripletFailure) -> Markup:
    faces = []
    rated = sum(failure.votes)
    for place, row in enumerate(failure.rows):
        annotated, predicted = place == failure.odd, place == failure.predicted
        marks = [element("span", "annotators", class_="people") if annotated else None]
        marks.append(element("span", "net", class_="net") if predicted else None)
        votes = element("small", f"{failure.votes[place]} of {rated}") if rated else None
        sources = (("the annotators", annotated), ("the net", predicted))
        by = " and ".join(name for name, is_odd in sources if is_odd)
        alt = f"face {row}" + (f", the odd one to {by}" if by else "")
        css = "odd-people" if annotated else "odd-net" if predicted else None
        picture = face_picture(dataset.faces_NHWC[row], alt)
        faces.append(element("figure", picture, element("figcaption", marks, votes), class_=css))
    kind = failure.kind.name.removesuffix("_CLASS").lower()
    tie = "" if failure.predicted is not None else "; two pairs are equally close"
    alike, closest = failure.distances[failure.odd], min(failure.distances)
    text = f"{kind}-class · triplet {failure.number} · {alike:.2f} apart, closest pair {closest:.2f}{tie}"
    return element("div", element("div", faces, class_="three"), element("p", text), class_="card")


def wrong_faces(
    rows_N: np.ndarray,
    label_N: np.ndarray,
    probability_NK: np.ndarray,
    *,
    limit: int = _WRONG_FACES,
    same: int = _SAME_MISTAKE,
) -> tuple[list[WrongFace], int]:
    """The most confident errors, few of each kind, and the number of misclassified faces.

    Args:
        rows_N: rows of ``faces.npy``.
        label_N: their labels, -1 = unknown.
        probability_NK: of each class.
        limit: faces at most.
        same: at most so many for each pair of label and predicted class.
    """
    predicted_N = probability_NK.argmax(1)
    wrong = np.flatnonzero((label_N >= 0) & (label_N != predicted_N))
    confidence_N = probability_NK.max(1)
    shown: Counter[tuple[int, int]] = Counter()
    chosen: list[WrongFace] = []
    for n in wrong[np.argsort(-confidence_N[wrong], kind="stable")].tolist():
        mistake = (int(label_N[n]), int(predicted_N[n]))
        shown[mistake] += 1
        if shown[mistake] <= same and len(chosen) < limit:
            chosen.append(WrongFace(int(rows_N[n]), *mistake, float(confidence_N[n])))
    return chosen, len(wrong)


def wrong_face_sheet(dataset: PackedDataset, faces: Sequence[WrongFace], classes: Sequence[str]) -> Markup:
    """A card per face: its label and the predicted class."""
    cards = []
    for face in faces:
        label, predicted = classes[face.label], classes[face.predicted]
        picture = face_picture(dataset.faces_NHWC[face.row], f"face {face.row}: {label}, predicted {predicted}")
        words = (element("span", label, class_="people"), element("span", predicted, class_="net"))
        sure = element("small", f"{100 * face.probability:.0f} %")
        cards.append(element("figure", picture, element("figcaption", words, sure), class_="card wrong"))
    return element("div", cards, class_="cards")
