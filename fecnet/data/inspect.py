"""Statistics of a packed data set: counts, class balance, duplicates, and leakage into evaluation splits.

Shape suffixes: N faces, M faces of a split.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from textwrap import indent
from typing import Any

import numpy as np

from fecnet.data.duplicates import comparable, is_training, pixel_groups, training_splits_of
from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_agreement import format_agreements, split_half_agreements
from fecnet.utils.errors import DataError
from fecnet.utils.table import align_columns

# Distinct rows of faces.npy by use of the faces ("triplets" or "labels <set>") and split.
Uses = Mapping[str, Mapping[str, np.ndarray]]


def inspect_dataset(dataset: PackedDataset) -> dict[str, Any]:
    """All that ``fecnet data show`` prints, ready for JSON.

    Keeps the labels, the triplets and a few numbers per face in memory, never the faces.

    Returns:
        ``path``, ``name``, ``num_faces``, ``height``, ``width``, ``channels``, ``sources``, ``coverage``;
        ``labels`` by set and split; ``triplets`` by split and type; ``split_half_agreement`` of raters by split;
        ``subjects``, with those ``shared`` between splits; ``duplicates``; ``leaks`` of evaluation faces into training;
        ``warnings``, one line each.

    Raises:
        DataError: a file of the set is unreadable or contains values out of range.
    """
    labels, triplets, uses = _read_splits(dataset)
    subject_N, num_subjects = _subjects(dataset)
    group_N = pixel_groups(dataset.faces_NHWC)
    leaks = _leaks(uses, group_N, subject_N)
    description = dataset.description
    return {
        "path": str(dataset.path),
        **{key: description[key] for key in ("name", "num_faces", "height", "width", "channels", "sources")},
        "coverage": dataset.coverage,
        "labels": labels,
        "triplets": triplets,
        "split_half_agreement": split_half_agreements(dataset),
        "subjects": _describe_subjects(uses, subject_N, num_subjects),
        "duplicates": _describe_duplicates(uses, group_N),
        "leaks": leaks,
        "warnings": _warnings(uses, leaks),
    }


def _read_splits(dataset: PackedDataset) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Class counts, triplet counts by type, and the rows of each use and split."""
    labels: dict[str, Any] = {}
    triplets: dict[str, Any] = {}
    uses: dict[str, dict[str, np.ndarray]] = {}
    for split, parts in dataset.description["splits"].items():
        if "triplets" in parts:
            table = dataset.triplets(split)
            counts = np.bincount(table.type_T, minlength=3).tolist()
            triplets[split] = dict(zip(("one_class", "two_class", "three_class"), counts, strict=True))
            uses.setdefault("triplets", {})[split] = np.unique(table.faces_T3)
        for label_set in parts.get("labels", {}):
            labelled = dataset.labels(label_set, split)
            counts = np.bincount(labelled.label_M + 1, minlength=len(labelled.classes) + 1).tolist()
            labels.setdefault(label_set, {})[split] = {
                "faces": len(labelled),
                "absent": counts[0],
                "classes": dict(zip(labelled.classes, counts[1:], strict=True)),
            }
            uses.setdefault(f"labels {label_set}", {})[split] = np.unique(labelled.faces_M)
    return labels, triplets, uses


def _subjects(dataset: PackedDataset) -> tuple[np.ndarray, int]:
    """Subject index of each face, -1 = unknown, int32, shape (N,); and the number of subjects."""
    number: dict[str, int] = {}
    subject_N = np.full(len(dataset.faces_NHWC), -1, np.int32)
    row = -1
    for row, record in enumerate(face_rows(dataset.path)):
        if row < len(subject_N) and record["subject"]:
            subject_N[row] = number.setdefault(record["subject"], len(number))
    if row + 1 != len(subject_N):
        raise DataError(f"{dataset.path / 'faces.csv'}: {row + 1} rows for {len(subject_N)} faces")
    return subject_N, len(number)


def _describe_subjects(uses: Uses, subject_N: np.ndarray, num_subjects: int) -> dict[str, Any]:
    splits = {use: {split: len(_known(subject_N[rows])) for split, rows in by.items()} for use, by in uses.items()}
    described = {"subjects": num_subjects, "faces_with_subject": int((subject_N >= 0).sum()), "splits": splits}
    return described | {"shared": _shared_subjects(uses, subject_N)}


def _shared_subjects(uses: Uses, subject_N: np.ndarray) -> list[dict[str, Any]]:
    """For each pair of splits that should be disjoint: the number of subjects in both, and of faces of known subject.

    A pair is left out where one of its splits has no face of known subject.
    """
    every = _faces_of_splits(uses)
    shared = []
    for one, other in combinations(every, 2):
        if comparable(one, other) or one in training_splits_of(other, every) or other in training_splits_of(one, every):
            first, second = subject_N[every[one]], subject_N[every[other]]
            if len(_known(first)) and len(_known(second)):
                both, faces = np.intersect1d(_known(first), _known(second)), np.concatenate([first, second])
                counts = {"subjects": len(both), "faces": len(faces), "faces_with_subject": int((faces >= 0).sum())}
                shared.append({"splits": [one, other], **counts})
    return shared


def _faces_of_splits(uses: Uses) -> dict[str, np.ndarray]:
    """The rows of each split, for any use."""
    every: dict[str, np.ndarray] = {}
    for by_split in uses.values():
        for split, rows in by_split.items():
            every[split] = np.union1d(every.get(split, rows), rows)
    return every


def _known(subject_M: np.ndarray) -> np.ndarray:
    return np.unique(subject_M[subject_M >= 0])


def _describe_duplicates(uses: Uses, group_N: np.ndarray) -> dict[str, Any]:
    """Duplicates in total, within each split, and between splits that should be disjoint."""
    unique = len(np.unique(group_N))
    within, across = [], []
    for use, by_split in uses.items():
        for split, rows in by_split.items():
            copies = len(rows) - len(np.unique(group_N[rows]))
            within.append({"use": use, "split": split, "faces": len(rows), "copies": copies})
        for one, other in combinations(by_split, 2):
            shared = np.intersect1d(group_N[by_split[one]], group_N[by_split[other]])
            if comparable(one, other) and len(shared):
                across.append({"use": use, "splits": [one, other], "pictures": len(shared)})
    return {"unique": unique, "copies": len(group_N) - unique, "within": within, "across": across}


def _leaks(uses: Uses, group_N: np.ndarray, subject_N: np.ndarray) -> list[dict[str, Any]]:
    """Faces of each evaluation split that are also in training, for any use: identical pixels, and same subject."""
    every = _faces_of_splits(uses)
    leaks = []
    for use, by_split in uses.items():
        for split, rows in by_split.items():
            if is_training(split):
                continue
            for training in training_splits_of(split, every):
                same_M = np.isin(group_N[rows], group_N[every[training]])
                known_M = np.isin(subject_N[rows], _known(subject_N[every[training]]))
                leak = {"use": use, "split": split, "training": training, "faces": len(rows)}
                leak |= {"same_pixels": int(same_M.sum()), "same_subject": int(known_M.sum())}
                leak["subjects"] = len(np.unique(subject_N[rows][known_M]))
                leaks.append(leak)
    return leaks


def _warnings(uses: Uses, leaks: list[dict[str, Any]]) -> list[str]:
    splits = {split for by_split in uses.values() for split in by_split}
    lines = []
    if len(splits) > 1 and not any(is_training(split) for split in splits):
        lines.append(f"no split is named as a training split ({', '.join(sorted(splits))}): leakage is not checked")
    for leak in leaks:
        of = f"{leak['use']}: {{:,}} of {leak['faces']:,} faces of {leak['split']}"
        if leak["same_pixels"]:
            lines.append(f"{of.format(leak['same_pixels'])} are also in {leak['training']}, pixel for pixel")
        if leak["same_subject"]:
            subjects = f"{leak['subjects']:,} subjects who are also in {leak['training']}"
            lines.append(f"{of.format(leak['same_subject'])} show {subjects}")
    return lines


def format_inspection(found: Mapping[str, Any]) -> str:
    """The result of ``inspect_dataset`` as text, without the coverage."""
    size = f"{found['height']}×{found['width']}, {', '.join(found['channels'])}"
    subjects, copies = found["subjects"], found["duplicates"]
    lines = [f"{found['path']}: {found['num_faces']:,} faces, {size}"]
    for label_set, by_split in found["labels"].items():
        for split, counted in by_split.items():
            lines += ["", f"labels {label_set}, {split}: {counted['faces']:,} faces", *_bars(counted)]
    if found["triplets"]:
        rows = [["split", "ONE", "TWO", "THREE", "ALL"]]
        for split, counts in found["triplets"].items():
            rows.append(
                [split, *(f"{number:,}" if number else "-" for number in (*counts.values(), sum(counts.values())))]
            )
        lines += ["", "triplets", indent(align_columns(rows), "  ")]
    if found["split_half_agreement"]:
        lines += ["", format_agreements(found["split_half_agreement"])]
    known = f"{subjects['subjects']:,}, known of {subjects['faces_with_subject']:,} faces"
    lines += ["", f"subjects: {known if subjects['subjects'] else 'unknown'}"]
    if subjects["subjects"]:
        for use, by_split in subjects["splits"].items():
            lines.append(f"  {use}: " + ", ".join(f"{split} {number:,}" for split, number in by_split.items()))
    for pair in subjects["shared"]:
        part = f" (known of {pair['faces_with_subject']:,} of their {pair['faces']:,} faces)"
        told = part if pair["faces_with_subject"] < pair["faces"] else ""
        lines.append(f"subjects in {' and '.join(pair['splits'])}: {pair['subjects']:,}{told}")
    lines += ["", f"faces: {copies['unique']:,} distinct, {copies['copies']:,} exact duplicates of them"]
    lines += [
        f"  {part['use']}, {part['split']}: {part['copies']:,} duplicates among {part['faces']:,} faces"
        for part in copies["within"]
        if part["copies"]
    ]
    lines += [
        f"  {part['use']}, {' and '.join(part['splits'])}: {part['pictures']:,} faces in both"
        for part in copies["across"]
    ]
    return "\n".join(lines)


def _bars(counted: Mapping[str, Any]) -> list[str]:
    """A bar per class with its share of the labelled faces, scaled to the largest class."""
    classes = dict(counted["classes"])
    total, largest = max(1, sum(classes.values())), max([1, *classes.values()])
    rows = [
        (name, f"{count:,}", f"{count / total:.1%}", "#" * round(40 * count / largest))
        for name, count in classes.items()
    ]
    rows += [("absent", f"{counted['absent']:,}", "", "")] if counted["absent"] else []
    return [indent(align_columns(rows, left=(0, 3)), "  ")] if rows else []
