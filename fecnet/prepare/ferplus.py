"""Packs FER2013 with FERPlus: 48×48 grayscale faces, two label sets, and triplets from the vote distributions.

Shape suffixes: N rows of fer2013.csv, M labelled faces of a split, K = 8 emotions of FERPlus.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.faces.recipe import FaceRecipe
from fecnet.prepare.labelled.class_labels import empty_classes
from fecnet.prepare.labelled.fer2013 import (
    FER_CLASSES,
    FERPLUS_CLASSES,
    FILE_NAME,
    IMAGES_SHA256,
    USAGES,
    Fer2013,
    holds_fer2013,
    read_fer2013,
)
from fecnet.prepare.labelled.ferplus_folders import find_ferplus_lists, read_ferplus_folders
from fecnet.prepare.labelled.label_noise import SplitLabels, check_noise, write_label_noise
from fecnet.prepare.labelled.labelled_source import TRAIN
from fecnet.prepare.measured_square import with_square
from fecnet.prepare.votes import MIN_GAP, split_half_agreement, vote_triplets
from fecnet.prepare.writer import PackedWriter, face_key
from fecnet.utils.files import hash_file

logger = logging.getLogger(__name__)

_NUM_EMOTIONS = len(FERPLUS_CLASSES)


def prepare_ferplus(
    source: str | Path,
    path: str | Path,
    *,
    seed: int = 0,
    num_train_triplets: int = 150_000,
    num_eval_triplets: int = 15_000,
    label_noise: float = 0.0,
    overwrite: bool = False,
    progress: bool = True,
    images_sha256: str = IMAGES_SHA256,
) -> dict[str, Any]:
    """Write the packed data set ``path`` with the splits ``train``, ``public_test`` and ``private_test``.

    Every row of fer2013.csv becomes the face of the same row, flagged where it has a fault. Label set ``fer`` has the
    published labels of all rows. Label set ``ferplus`` omits rows without a usable vote; its label is the emotion with
    most votes, the first in class order on a tie, and its distribution is the share of votes of the eight emotions.
    Triplets also omit duplicates and faces with tied majorities, whose triplet type is undefined.

    Args:
        source: ``fer2013.npz`` or its folder; a folder with ``fer2013.csv`` and ``fer2013new.csv``; or a folder with
            those that FERPlus's generator writes, ``FER2013Train`` and others, which have no label set ``fer``.
        path: the folder to create.
        seed: seed of triplets and label noise; each split has its own random stream.
        num_train_triplets: number of triplets in ``train``.
        num_eval_triplets: number of triplets in each of the two test splits.
        label_noise: share of wrong labels in an additional label set such as ``ferplus_noise30``. Its training split
            has the faces with a strict majority (more than half of the emotion votes); its test splits are those of
            ``ferplus``. 0 = no such set.
        overwrite: replace an existing packed data set at ``path``.
        progress: show progress bars.
        images_sha256: expected sha256 of the decoded images.

    Returns:
        The coverage, as in ``dataset.json``: for ``faces``, each label set and ``triplets`` the counts read, kept and
        dropped by reason; ``candidates`` of triplets by type; ``split_half_agreement``, see ``split_half_agreement``;
        ``warnings`` by label set and split, where classes have no face.

    Raises:
        UserError: the source is missing or invalid, an option is out of range, or ``path`` exists.
    """
    check_noise(label_noise, _NUM_EMOTIONS)
    # A copy of FERPlus's repository has the lists without the images next to the votes.
    lists = {} if holds_fer2013(Path(source)) else find_ferplus_lists(Path(source))
    if lists:
        fer = read_ferplus_folders(Path(source), lists)
        provenance = {f"{file.parent.name}/{file.name}": hash_file(file) for file in lists.values()}
    else:
        fer = read_fer2013(source, images_sha256=images_sha256)
        provenance = {f"{FILE_NAME}: sha256 of the images": images_sha256}
    flags = _flags(fer)
    coverage: dict[str, Any] = {
        "rules": {"min_gap": MIN_GAP, "seed": seed},
        "faces": _coverage(np.ones(len(fer.usage_N), bool), {}) | {"flagged": _totals(flags)},
    }
    height, width = fer.image_NHW.shape[1:]
    writer = PackedWriter(
        path, num_faces=len(fer.usage_N), height=height, width=width, channels=["grey"], overwrite=overwrite
    )
    with writer:
        writer.add_faces(fer.image_NHW[..., None], _records(fer, flags))
        if fer.emotion_N is not None:
            coverage["fer"] = _write_fer(writer, fer, fer.emotion_N, flags)
        coverage["ferplus"] = _write_ferplus(writer, fer, flags)
        if warnings := _empty_classes(Path(source), fer):
            coverage["warnings"] = warnings
        if label_noise > 0:
            coverage |= _write_noise(writer, fer, label_noise, seed)
        requested = dict(zip(USAGES, (num_train_triplets, num_eval_triplets, num_eval_triplets), strict=True))
        coverage |= _write_triplets(writer, fer, requested, seed=seed, progress=progress)
        writer.set_faces(with_square(FaceRecipe(), writer.faces_NHWC))
        writer.set_sources(provenance)
        writer.set_coverage(coverage)
    return coverage


def _usages(fer: Fer2013) -> list[tuple[int, str]]:
    """Index and name of the splits that have faces."""
    return [(usage, split) for usage, split in enumerate(USAGES) if (fer.usage_N == usage).any()]


def _flags(fer: Fer2013) -> dict[str, np.ndarray]:
    """Faults of each row, by their flag in faces.csv; bool, shape (N,) each."""
    return {
        "duplicate": fer.duplicate_of_N != np.arange(len(fer.duplicate_of_N)),
        "duplicate_in_train": fer.in_train_N,
        "blank": fer.blank_N,
        "no_ferplus_name": ~fer.named_N,
        "mis_joined": ~fer.joined_N,
    }


def _label_faults(fer: Fer2013) -> dict[str, np.ndarray]:
    """Reasons why a row has no FERPlus label, in the order of counting; bool, shape (N,) each."""
    most_N = fer.votes_NV.argmax(axis=1)  # an emotion wins a tie against unknown or not a face
    return {
        "blank": fer.blank_N,
        "no_ferplus_name": ~fer.named_N,
        "mis_joined": ~fer.joined_N,
        "no_votes": fer.votes_NV.sum(axis=1) == 0,
        "majority_unknown": most_N == _NUM_EMOTIONS,
        "majority_not_a_face": most_N == _NUM_EMOTIONS + 1,
    }


def _triplet_faults(fer: Fer2013) -> dict[str, np.ndarray]:
    """Reasons why a row is in no triplet, in the order of counting; bool, shape (N,) each."""
    emotion_NK = fer.votes_NV[:, :_NUM_EMOTIONS]
    return _label_faults(fer) | {
        "duplicate_in_train": fer.in_train_N,
        "duplicate": fer.duplicate_of_N != np.arange(len(fer.duplicate_of_N)),
        "tied_majority": _tied(emotion_NK),
    }


def _tied(emotion_NK: np.ndarray) -> np.ndarray:
    return (emotion_NK == emotion_NK.max(axis=1, keepdims=True)).sum(axis=1) > 1


def _coverage(read_N: np.ndarray, faults: dict[str, np.ndarray]) -> dict[str, Any]:
    """Numbers of rows read, kept and dropped; a row with several faults counts under the first one."""
    left_N, dropped = read_N.copy(), {}
    for reason, fault_N in faults.items():
        dropped[reason] = int((left_N & fault_N).sum())
        left_N &= ~fault_N
    return {"read": int(read_N.sum()), "kept": int(left_N.sum()), "dropped": dropped}


def _kept_rows(read_N: np.ndarray, faults: dict[str, np.ndarray]) -> np.ndarray:
    return np.flatnonzero(read_N & ~np.any(list(faults.values()), axis=0))


def _totals(flags: dict[str, np.ndarray], rows_M: np.ndarray | slice = slice(None)) -> dict[str, int]:
    return {flag: int(flag_N[rows_M].sum()) for flag, flag_N in flags.items()}


def _records(fer: Fer2013, flags: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rows of faces.csv; without a box, the key depends on the source only."""
    records = []
    for row, first in enumerate(fer.duplicate_of_N.tolist()):
        source = fer.source_N[row]
        records.append(
            {
                "key": face_key(source),
                "source": source,
                "duplicate_of": first if first != row else "",
                "flags": " ".join(flag for flag, flag_N in flags.items() if flag_N[row]),
            }
        )
    return records


def _write_fer(
    writer: PackedWriter, fer: Fer2013, emotion_N: np.ndarray, flags: dict[str, np.ndarray]
) -> dict[str, Any]:
    coverage = {}
    for usage, split in _usages(fer):
        read_N = fer.usage_N == usage
        rows_M = np.flatnonzero(read_N)
        writer.add_labels("fer", split, classes=FER_CLASSES, faces_M=rows_M, label_M=emotion_N[rows_M])
        coverage[split] = _coverage(read_N, {}) | {"flagged": _totals(flags, rows_M)}
    return coverage


def _write_ferplus(writer: PackedWriter, fer: Fer2013, flags: dict[str, np.ndarray]) -> dict[str, Any]:
    coverage, faults = {}, _label_faults(fer)
    for usage, split in _usages(fer):
        read_N = fer.usage_N == usage
        labels = _ferplus_labels(fer, _kept_rows(read_N, faults))
        writer.add_labels("ferplus", split, classes=FERPLUS_CLASSES, **labels._asdict())
        tied = int(_tied(fer.votes_NV[labels.faces_M, :_NUM_EMOTIONS]).sum())
        coverage[split] = _coverage(read_N, faults) | {
            "flagged": _totals(flags, labels.faces_M) | {"tied_majority": tied}
        }
    return coverage


def _empty_classes(source: Path, fer: Fer2013) -> dict[str, str]:
    """The warnings of the coverage, by label set and split."""
    faults, found = _label_faults(fer), dict[str, str]()
    for usage, split in _usages(fer):
        in_split_N = fer.usage_N == usage
        label_M = _ferplus_labels(fer, _kept_rows(in_split_N, faults)).label_M
        sets: dict[str, tuple[Sequence[str], np.ndarray]] = {"ferplus": (FERPLUS_CLASSES, label_M)}
        if fer.emotion_N is not None:
            sets["fer"] = (FER_CLASSES, fer.emotion_N[in_split_N])
        for name, (classes, labels_M) in sets.items():
            if text := empty_classes(classes, labels_M):
                logger.warning("%s: warning: %s in split %s of %s", source, text, split, name)
                found[f"{name} {split}"] = text
    return found


def _ferplus_labels(fer: Fer2013, rows_M: np.ndarray) -> SplitLabels:
    votes_MK = fer.votes_NV[rows_M, :_NUM_EMOTIONS]
    return SplitLabels(rows_M, votes_MK.argmax(axis=1), votes_MK / votes_MK.sum(axis=1, keepdims=True))


def _write_noise(writer: PackedWriter, fer: Fer2013, rate: float, seed: int) -> dict[str, Any]:
    """A label set with noise on unambiguous faces only: most annotators of each face agree on its label."""
    emotion_NK, faults = fer.votes_NV[:, :_NUM_EMOTIONS], _label_faults(fer)
    no_majority_N = 2 * emotion_NK.max(axis=1).astype(int) <= emotion_NK.sum(axis=1)
    of_split = {
        split: faults | ({"no_strict_majority": no_majority_N} if split == TRAIN else {}) for _, split in _usages(fer)
    }
    read = {split: fer.usage_N == usage for usage, split in _usages(fer)}
    labels = {split: _ferplus_labels(fer, _kept_rows(read[split], of_split[split])) for split in read}
    coverage = write_label_noise(writer, "ferplus", FERPLUS_CLASSES, labels, rate=rate, seed=seed)
    for splits in coverage.values():
        for split, counts in splits.items():
            counts |= _coverage(read[split], of_split[split])
    return coverage


def _write_triplets(
    writer: PackedWriter, fer: Fer2013, requested: dict[str, int], *, seed: int, progress: bool
) -> dict[str, Any]:
    coverage: dict[str, Any] = {"triplets": {}, "candidates": {}, "split_half_agreement": {}}
    faults, emotion_NK = _triplet_faults(fer), fer.votes_NV[:, :_NUM_EMOTIONS]
    for usage, split in _usages(fer):
        triplet_seed, halves_seed = np.random.SeedSequence([seed, usage]).spawn(2)
        read_N = fer.usage_N == usage
        rows_M = _kept_rows(read_N, faults)
        votes_MK = emotion_NK[rows_M]
        triplets, counts = vote_triplets(
            votes_MK / votes_MK.sum(axis=1, keepdims=True),
            votes_MK.argmax(axis=1),
            rows_M,
            num_triplets=requested[split],
            seed=triplet_seed,
            progress=progress,
        )
        writer.add_triplets(split, **triplets)
        coverage["triplets"][split] = _coverage(read_N, faults)
        coverage["candidates"][split] = counts
        coverage["split_half_agreement"][split] = split_half_agreement(
            emotion_NK, triplets["faces_T3"], triplets["odd_T"], triplets["type_T"], seed=halves_seed, progress=progress
        )
    return coverage
