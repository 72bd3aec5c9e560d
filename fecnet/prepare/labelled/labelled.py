"""Packs labelled images of any source. The readers of the layouts are the other modules of this package.

Shape suffixes: N kept faces, M labelled faces of a split, S pixels per side, C channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.faces.landmark_faces import LandmarkFaces
from fecnet.faces.picture_files import decoder_hint
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.labelled.face_cutters import AlignedCutter, FaceCutter, SquareCutter
from fecnet.prepare.labelled.held_out import check_readable, hold_out
from fecnet.prepare.labelled.label_noise import SplitLabels, check_noise, write_label_noise
from fecnet.prepare.labelled.label_triplets import distributions, write_triplets
from fecnet.prepare.labelled.labelled_faces import Written, write_faces
from fecnet.prepare.labelled.labelled_source import ALL, TRAIN, LabelledPicture, LabelledSource
from fecnet.prepare.labelled.split_warnings import warn_of_splits
from fecnet.prepare.measured_square import with_square
from fecnet.prepare.people import Shares
from fecnet.prepare.writer import PackedWriter
from fecnet.utils.errors import DataError
from fecnet.utils.shown import shown

CHANNELS = {"grey": ["grey"], "rgb": ["R", "G", "B"]}


def prepare_labelled(
    source: LabelledSource,
    path: str | Path,
    *,
    size: int | None = None,
    channels: str | None = None,
    landmarks: LandmarkFaces | None = None,
    extraction: Extraction | None = None,
    workers: int = 0,
    hold_out_subjects: Shares | None = None,
    num_train_triplets: int = 0,
    num_eval_triplets: int = 0,
    label_noise: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the packed data set ``path`` with the label set ``source.name``.

    Images are cropped to squares by ``load_square``, or their faces are detected and aligned. The training split comes
    first, each split in the order of the source. Images that are missing or do not decode, and repeated rows (image and
    box), are counted as dropped; of repeated rows with different labels, all are.
    Pixel-identical faces are kept, flagged ``duplicate`` and, outside the training split, ``duplicate_in_train``; they
    are in no triplet.

    Without votes, triplets are two-class only: the odd face is the one with the other label. Labels do not determine
    the odd face where all three agree or all differ. With votes, triplets are of all types, see ``vote_triplets``;
    faces with tied majorities are in no triplet, and the label set has the distributions.

    Args:
        source: output of a reader.
        path: the folder to create.
        size: S, pixels; by default that of the source.
        channels: ``grey`` or ``rgb``; by default that of the source.
        landmarks: adds a mask or crops along the landmark hull; faces without landmarks are kept, uncropped and with an
            empty mask. None = the square crops as they are.
        extraction: detects and aligns the face of each image, or that in its box; its ``size`` and ``grey`` are not
            used. Images without a face are dropped, by reason, unless it keeps them. An interrupted call resumes.
            None = square crops.
        workers: threads that crop, or processes that detect; 0 = one per core.
        hold_out_subjects: output of ``parse_shares``: whole subjects of a source without splits go to ``val`` and
            ``test``, all others to ``train``; a face without a subject counts as a person of its own. None = nobody.
        num_train_triplets: number of triplets in ``train``, or in ``all`` where the source has no splits; 0 = none.
        num_eval_triplets: number of triplets in each other split; 0 = none.
        label_noise: share of the training labels replaced by wrong ones, in an additional label set such as
            ``rafdb_noise20``, whose other splits are unchanged; 0 = none.
        seed: seed of held-out subjects, triplets and label noise; each split has its own random stream.
        overwrite: replace an existing packed data set at ``path``.
        progress: show progress bars.

    Returns:
        The coverage, as in ``dataset.json``: for ``faces`` and each label set the counts read, kept, dropped by reason
        and flagged; ``landmarks`` found and not found, where detected; ``held_out`` people by split, ``triplets``,
        their ``candidates`` and, where votes are of raters, ``split_half_agreement``, where requested; ``warnings`` by
        split, where classes have no face or subjects are in training too.

    Raises:
        DataError: no readable image, an option is out of range, people who cannot be held out, ``path`` exists, both
            ``landmarks`` and ``extraction``, or the detector cannot be built.
    """
    held: dict[str, Any] = {}
    if hold_out_subjects and source.pictures:
        source, held = hold_out(source, hold_out_subjects, seed=seed)
    size, channels = source.size if size is None else size, channels or source.channels
    splits = _in_order({picture.split for picture in source.pictures})
    _check_options(source, splits, size, channels, num_train_triplets, num_eval_triplets, label_noise)
    if landmarks and extraction:
        raise DataError("align: with mask or hull, which are made on square crops; allowed: one of them")
    grey = channels == "grey"
    cutter: FaceCutter = SquareCutter(size, grey=grey, workers=workers, progress=progress)
    if extraction:
        how = replace(extraction, size=size, grey=grey)
        cutter = AlignedCutter(source, Path(path), how, workers=workers, progress=progress)
    writer = PackedWriter(
        path,
        num_faces=len(source.pictures),
        height=size,
        width=size,
        channels=CHANNELS[channels] + (["mask"] if landmarks and landmarks.mask else []),
        overwrite=overwrite,
    )
    with writer:
        written = write_faces(writer, source, cutter, landmarks)
        if not written.pictures:
            cutter.clean()
            reasons = _reasons(written.dropped)
            first = source.pictures[0].picture
            example = f"; the first is {first}" if isinstance(first, Path) else ""
            raise DataError(f"{source.origin}: no readable picture; {reasons}{decoder_hint(reasons)}{example}")
        writer.trim_faces()
        labels = _labels(written)
        if label_noise > 0 and TRAIN not in labels:
            raise DataError(f"label-noise: {source.origin} has no readable picture of split '{TRAIN}'")
        if hold_out_subjects:
            check_readable(source, hold_out_subjects, {*labels})
        coverage = _write_labels(writer, source, written, labels) | held | warn_of_splits(source, written, labels)
        if label_noise > 0:
            coverage |= write_label_noise(writer, source.name, source.classes, labels, rate=label_noise, seed=seed)
        requested = {split: num_train_triplets if split in (TRAIN, ALL) else num_eval_triplets for split in splits}
        if any(requested.values()):
            coverage |= write_triplets(writer, source, written, requested, seed=seed, progress=progress)
        recipe, detector = (landmarks.recipe, landmarks.detector) if landmarks else (cutter.recipe, None)
        writer.set_faces(with_square(recipe, writer.faces_NHWC, detector))
        made = {"landmarks": landmarks.name} if landmarks else cutter.sources
        writer.set_sources({**source.provenance} | made)
        writer.set_coverage(coverage)
    cutter.clean()
    return coverage


def _check_options(
    source: LabelledSource,
    splits: Sequence[str],
    size: int,
    channels: str,
    num_train_triplets: int,
    num_eval_triplets: int,
    label_noise: float,
) -> None:
    if size < 1:
        raise DataError(f"size: {size}; allowed: 1 or more pixels")
    if channels not in CHANNELS:
        raise DataError(f"channels: {shown(channels)}; allowed: {', '.join(CHANNELS)}")
    for name, number in (("triplets", num_train_triplets), ("eval-triplets", num_eval_triplets)):
        if number < 0:
            raise DataError(f"{name}: {number}; allowed: 0 or more")
    check_noise(label_noise, len(source.classes))
    if not source.pictures:
        counts = Counter({(split, reason): n for split, row in source.dropped.items() for reason, n in row.items()})
        raise DataError(f"{source.origin}: no labelled picture; {_reasons(counts)}")
    if label_noise > 0 and TRAIN not in splits:
        raise DataError(f"label-noise: {source.origin} has no split '{TRAIN}'; there are: {', '.join(splits)}")


def _reasons(dropped: Counter[tuple[str, str]]) -> str:
    """The counts over all splits in one line."""
    total: Counter[str] = Counter()
    for (_, reason), number in dropped.items():
        total[reason] += number
    return ", ".join(f"{reason} {number}" for reason, number in sorted(total.items())) or "nothing to read"


def _labels(written: Written) -> dict[str, SplitLabels]:
    """The labels by split, without splits that have no readable image."""
    split_N = np.array([picture.split for picture in written.pictures])
    labels = {}
    for split in _in_order(set(split_N.tolist())):
        rows_M = np.flatnonzero(split_N == split)
        chosen = [written.pictures[row] for row in rows_M]
        label_M = np.array([picture.label for picture in chosen])
        labels[split] = SplitLabels(rows_M, label_M, distributions(chosen), _valence_arousal(chosen))
    return labels


def _write_labels(
    writer: PackedWriter, source: LabelledSource, written: Written, labels: Mapping[str, SplitLabels]
) -> dict[str, Any]:
    """The label set of the source, and the coverage of all faces and of each split."""
    dropped = written.dropped.copy()
    for split, reasons in source.dropped.items():
        dropped.update({(split, reason): number for reason, number in reasons.items()})
    coverage: dict[str, Any] = {}
    for split in _in_order({*labels, *(split for split, _ in dropped)}):
        rows_M = labels[split].faces_M if split in labels else np.zeros(0, np.int64)
        coverage[split] = _covered(len(rows_M), dropped, split) | {"flagged": _flagged(written, rows_M)}
        if split in labels:
            writer.add_labels(source.name, split, classes=source.classes, **labels[split]._asdict())
    rows_N = np.arange(len(written.pictures))
    faces = _covered(len(rows_N), dropped) | {"flagged": _flagged(written, rows_N)}
    counts = {name: written.landmarks[name] for name in ("found", "not_found")} if written.landmarks else {}
    return {"faces": faces} | ({"landmarks": counts} if counts else {}) | {source.name: coverage}


def _in_order(splits: set[str]) -> list[str]:
    return sorted(splits, key=lambda split: (split != TRAIN, split))


def _covered(kept: int, dropped: Mapping[tuple[str, str], int], split: str | None = None) -> dict[str, Any]:
    """Numbers of rows read, kept and dropped by reason, of one split or of all."""
    reasons: Counter[str] = Counter()
    for (of, reason), number in dropped.items():
        if split in (None, of):
            reasons[reason] += number
    return {"read": kept + reasons.total(), "kept": kept, "dropped": dict(sorted(reasons.items()))}


def _flagged(written: Written, rows_M: np.ndarray) -> dict[str, int]:
    return {flag: int(np.array(holds)[rows_M].sum()) for flag, holds in written.flags.items()}


def _valence_arousal(pictures: Sequence[LabelledPicture]) -> np.ndarray | None:
    """Float32, shape (M, 2), or None where no image has any."""
    if all(picture.valence_arousal is None for picture in pictures):
        return None
    return np.array([picture.valence_arousal or (np.nan, np.nan) for picture in pictures], np.float32)
