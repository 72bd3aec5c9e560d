"""Faces on which the net and people disagree, the net's surest mistakes first.

Shape suffixes: T triplets, N measured faces, K classes.
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
_SAME_MISTAKE = 3  # faces shown of one label called by one class


@dataclass(frozen=True)
class TripletFailure:
    """A triplet on which the net disagrees with people.

    Attributes:
        number: its row in the split's file.
        kind: its type.
        rows: of ``faces.npy``.
        odd: the face that people call the odd one, 0..2.
        called: the face that the net calls so; None where two pairs are equally close.
        votes: raters who called each face the odd one; zeros where there were none.
        distances: squared, between the two faces that are not face k.
    """

    number: int
    kind: TripletType
    rows: tuple[int, int, int]
    odd: int
    called: int | None
    votes: tuple[int, int, int]
    distances: tuple[float, float, float]


@dataclass(frozen=True)
class WrongFace:
    """A labelled face that is called another class, with the probability of that class."""

    row: int
    label: int
    called: int
    probability: float


def triplet_failures(
    table: TripletTable, rows_N: np.ndarray, embedding_ND: np.ndarray, per_type: int = _PER_TYPE
) -> tuple[list[TripletFailure], dict[str, int]]:
    """The net's surest mistakes of each type, and how many there are by ``ROWS``.

    How sure it is: by how much the pair that people call alike is farther apart than the closest pair. A tie is a
    mistake, as in the tables.

    Args:
        table: the triplets of a split.
        rows_N: measured rows of ``faces.npy``, increasing.
        embedding_ND: their embeddings.
        per_type: at most so many of each type.

    Raises:
        UserError: a face of the triplets was not measured.
    """
    place_T3 = np.minimum(np.searchsorted(rows_N, table.faces_T3), len(rows_N) - 1)
    if (rows_N[place_T3] != table.faces_T3).any():
        raise UserError("holds no embedding of some faces of the split; measure the run anew")
    distance_T3 = opposite_distances(torch.from_numpy(embedding_ND)[torch.from_numpy(place_T3)]).numpy()
    people_T = np.take_along_axis(distance_T3, table.odd_T[:, None].astype(np.int64), 1)[:, 0]
    strictly_T = (people_T[:, None] < distance_T3).sum(1) == 2
    sure_T = people_T - distance_T3.min(1)
    wrong = np.flatnonzero(~strictly_T)
    counts = Counter(table.type_T[wrong].tolist())
    chosen: list[TripletFailure] = []
    for kind in TripletType:
        of_type = wrong[table.type_T[wrong] == kind]
        surest = of_type[np.argsort(-sure_T[of_type], kind="stable")][:per_type]
        chosen += [_failure(table, int(number), distance_T3[number]) for number in surest]
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
    """A card per triplet: three faces, whom people and whom the net call the odd one."""
    return element("div", [_triplet_card(dataset, failure) for failure in failures], class_="cards")


def _triplet_card(dataset: PackedDataset, failure: TripletFailure) -> Markup:
    faces = []
    rated = sum(failure.votes)
    for place, row in enumerate(failure.rows):
        people, net = place == failure.odd, place == failure.called
        marks = [element("span", "people", class_="people") if people else None]
        marks.append(element("span", "net", class_="net") if net else None)
        votes = element("small", f"{failure.votes[place]} of {rated}") if rated else None
        said = " and ".join(name for name, odd in (("people", people), ("the net", net)) if odd)
        alt = f"face {row}" + (f", the odd one to {said}" if said else "")
        named = "odd-people" if people else "odd-net" if net else None
        picture = face_picture(dataset.faces_NHWC[row], alt)
        faces.append(element("figure", picture, element("figcaption", marks, votes), class_=named))
    kind = failure.kind.name.removesuffix("_CLASS").lower()
    tie = "" if failure.called is not None else "; two pairs are equally close"
    alike, closest = failure.distances[failure.odd], min(failure.distances)
    told = f"{kind}-class · triplet {failure.number} · {alike:.2f} apart, closest pair {closest:.2f}{tie}"
    return element("div", element("div", faces, class_="three"), element("p", told), class_="card")


def wrong_faces(
    rows_N: np.ndarray,
    label_N: np.ndarray,
    probability_NK: np.ndarray,
    *,
    limit: int = _WRONG_FACES,
    same: int = _SAME_MISTAKE,
) -> tuple[list[WrongFace], int]:
    """The surest mistakes, few of each kind; and how many faces are called another class than their label.

    Args:
        rows_N: rows of ``faces.npy``.
        label_N: their labels, -1 = unknown.
        probability_NK: of each class.
        limit: faces at most.
        same: at most so many of one label and class called.
    """
    called_N = probability_NK.argmax(1)
    wrong = np.flatnonzero((label_N >= 0) & (label_N != called_N))
    sure_N = probability_NK.max(1)
    seen: Counter[tuple[int, int]] = Counter()
    chosen: list[WrongFace] = []
    for n in wrong[np.argsort(-sure_N[wrong], kind="stable")].tolist():
        mistake = (int(label_N[n]), int(called_N[n]))
        seen[mistake] += 1
        if seen[mistake] <= same and len(chosen) < limit:
            chosen.append(WrongFace(int(rows_N[n]), *mistake, float(sure_N[n])))
    return chosen, len(wrong)


def wrong_face_sheet(dataset: PackedDataset, faces: Sequence[WrongFace], classes: Sequence[str]) -> Markup:
    """A card per face: its label, and what the net calls it."""
    cards = []
    for face in faces:
        label, called = classes[face.label], classes[face.called]
        picture = face_picture(dataset.faces_NHWC[face.row], f"face {face.row}: {label}, called {called}")
        words = (element("span", label, class_="people"), element("span", called, class_="net"))
        sure = element("small", f"{100 * face.probability:.0f} %")
        cards.append(element("figure", picture, element("figcaption", words, sure), class_="card wrong"))
    return element("div", cards, class_="cards")
