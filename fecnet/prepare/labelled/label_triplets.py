"""Triplets of labelled pictures, answered by their labels or votes, and the agreement of the raters behind the votes.

Shape suffixes: N kept faces, M faces of a split, K classes, T triplets.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fecnet.prepare.labelled.labelled_faces import Written
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.prepare.votes import MIN_GAP, split_half_agreement, vote_triplets
from fecnet.prepare.writer import PackedWriter
from fecnet.structures import TripletType

logger = logging.getLogger(__name__)

_MOST_RATERS = 1_000_000  # maximum votes of a class for a face; larger numbers are not votes of people
_TRIPLET_RULE = (
    "two-class only, odd = the face with the other label; labels answer neither one- nor three-class triplets"
)
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
    """Write the triplets of each split; see ``prepare_labelled``.

    Args:
        writer: an open writer that has the faces.
        source: output of a reader.
        written: its faces.
        requested: number of triplets by split.
        seed: seed of all sampling; each split has its own random stream.
        progress: show progress bars.

    Returns:
        Entries for the coverage.
    """
    split_N = np.array([picture.split for picture in written.pictures])
    label_N = np.array([picture.label for picture in written.pictures])
    share_NK = distributions(written.pictures)
    rules = {"triplets": _TRIPLET_RULE if share_NK is None else _VOTES_RULE, "min_gap": MIN_GAP, "seed": seed}
    coverage: dict[str, Any] = {"rules": rules, "triplets": {}, "candidates": {}}
    raters_NK = None if share_NK is None else _raters(source, written.pictures)
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
        if raters_NK is not None and (agreement := _agreement(raters_NK, triplets, _stream(seed, f"{split} halves"))):
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


def _raters(source: LabelledSource, pictures: Sequence[LabelledPicture]) -> np.ndarray | None:
    """How many raters chose each class, int64, shape (N, K); None where the votes are shares, or of one rater each."""
    votes_NK = np.array([picture.votes or () for picture in pictures], np.float64)
    if votes_NK.max(initial=0) > _MOST_RATERS or (votes_NK % 1).any():
        return None
    raters_NK = votes_NK.astype(np.int64)
    num_N = raters_NK.sum(axis=1)
    if num_N.max(initial=0) < 2:
        return None
    logger.info(
        "%s: the votes are read as numbers of raters, %d to %d of a picture", source.origin, num_N.min(), num_N.max()
    )
    return raters_NK


def _agreement(
    raters_NK: np.ndarray, triplets: Mapping[str, np.ndarray], seed: np.random.SeedSequence
) -> dict[str, dict[str, Any]]:
    """Split-half agreement on the triplets whose faces all have two raters or more; empty where there is none."""
    faces_T3 = triplets["faces_T3"]
    halved_T = (raters_NK.sum(axis=1)[faces_T3] > 1).all(axis=1)
    if not halved_T.any():
        return {}
    odd_T, type_T = triplets["odd_T"][halved_T], triplets["type_T"][halved_T]
    return split_half_agreement(raters_NK, faces_T3[halved_T], odd_T, type_T, seed=seed, progress=False)


def _stream(seed: int, name: str) -> np.random.SeedSequence:
    """An independent random stream for each split, which does not depend on the other splits."""
    return np.random.SeedSequence([seed, *name.encode()])
