"""Triplets of labelled images, from their labels or votes.

Shape suffixes: N kept faces, M faces of a split, T triplets, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fecnet.prepare.labelled.labelled_faces import Written
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.prepare.votes import MIN_GAP, split_half_agreement, vote_triplets
from fecnet.prepare.writer import PackedWriter
from fecnet.structures import TripletType

_TRIPLET_RULE = (
    "two-class only, odd = the face with the other label; labels answer neither one- nor three-class triplets"
)
_MOST_VOTES = 1e6  # for a class of a face: the sums stay exact
_VOTES_RULE = "all types, odd = the face outside the pair whose votes are closest"


def distributions(pictures: Sequence[LabelledPicture]) -> np.ndarray | None:
    """Share of the votes per class, float64, shape (M, K), or None where votes are missing."""
    votes = [picture.votes for picture in pictures if picture.votes is not None]
    if not votes or len(votes) < len(pictures):
        return None
    votes_MK = np.array(votes, np.float64)
    votes_MK /= votes_MK.max(axis=1, keepdims=True)  # first, since the sum of large numbers may overflow
    return votes_MK / votes_MK.sum(axis=1, keepdims=True)


def write_triplets(
    writer: PackedWriter,
    source: LabelledSource,
    written: Written,
    requested: Mapping[str, int],
    *,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    """Write the triplets of each split; returns what the coverage says of them.

    Args:
        writer: with the faces.
        source: output of a reader.
        written: its faces.
        requested: number of triplets by split.
        seed: each split has its own random stream.
        progress: show progress bars.
    """
    split_N = np.array([picture.split for picture in written.pictures])
    label_N = np.array([picture.label for picture in written.pictures])
    share_NK = distributions(written.pictures)
    rules = {"triplets": _TRIPLET_RULE if share_NK is None else _VOTES_RULE, "min_gap": MIN_GAP, "seed": seed}
    coverage: dict[str, Any] = {"rules": rules, "triplets": {}, "candidates": {}}
    tied_N = np.zeros(len(label_N), bool)
    if share_NK is not None:
        tied_N = (share_NK == share_NK.max(axis=1, keepdims=True)).sum(axis=1) > 1
    in_train_N, duplicate_N = (np.array(written.flags[flag]) for flag in ("duplicate_in_train", "duplicate"))
    for split, number in requested.items():
        read_N = split_N == split
        rows_M = np.flatnonzero(read_N & ~duplicate_N & ~tied_N)
        triplets, counts = vote_triplets(
            np.eye(len(source.classes))[label_N[rows_M]] if share_NK is None else share_NK[rows_M],
            label_N[rows_M],
            rows_M,
            num_triplets=number,
            kinds=[TripletType.TWO_CLASS] if share_NK is None else tuple(TripletType),
            seed=_stream(seed, split),
            progress=progress,
        )
        if len(triplets["odd_T"]):  # an empty file would fail later
            writer.add_triplets(split, **triplets)
            halves_seed = _stream(seed, f"halves of {split}")
            if agreement := _agreement(written.pictures, triplets, seed=halves_seed, progress=progress):
                coverage.setdefault("split_half_agreement", {})[split] = agreement
        dropped = {
            "duplicate_in_train": int((read_N & in_train_N).sum()),
            "duplicate": int((read_N & duplicate_N & ~in_train_N).sum()),
        }
        if share_NK is not None:
            dropped["tied_majority"] = int((read_N & tied_N & ~duplicate_N).sum())
        coverage["triplets"][split] = {"read": int(read_N.sum()), "kept": len(rows_M), "dropped": dropped}
        coverage["candidates"][split] = counts
    return coverage


def _agreement(
    pictures: Sequence[LabelledPicture],
    triplets: Mapping[str, np.ndarray],
    *,
    seed: np.random.SeedSequence,
    progress: bool,
) -> dict[str, Any]:
    """Split-half agreement of the triplets whose faces have two annotators or more; empty where there are none.

    Votes that are shares say nothing of how many annotators there were.
    """
    votes = [picture.votes or () for picture in pictures]
    if any(not vote.is_integer() or vote >= _MOST_VOTES for of_face in votes for vote in of_face):
        return {}
    several_N = np.array([sum(of_face) >= 2 for of_face in votes])
    rated_T = several_N[triplets["faces_T3"]].all(axis=1)
    if not rated_T.any():
        return {}
    of_rated = [triplets[name][rated_T] for name in ("faces_T3", "odd_T", "type_T")]
    return split_half_agreement(np.array(votes, np.int64), *of_rated, seed=seed, progress=progress)


def _stream(seed: int, name: str) -> np.random.SeedSequence:
    """An independent random stream for each split, whichever other splits exist."""
    return np.random.SeedSequence([seed, *name.encode()])
