"""The measurement behind a model card: ``python -m benchmarks card RUN_OR_NET [--data DATASET] [--json FILE]``.

Triplet accuracy by type and accuracy by class on each reported split of a packed set; then both of parts of the split
(without copies of training faces; by thirds of brightness) and of changed faces (eyes or mouth covered; shrunk to 32
and 24 pixels and back). A label set that the net was not trained on is measured by the most probable of its classes
among those of the first.

Shape suffixes: N faces of a split, T triplets, M labelled faces, K classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fecnet.data.build import build_label_splits
from fecnet.data.face_rows import face_rows
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.description import CheckpointInfo
from fecnet.evaluation.classification import ClassAccuracy, class_accuracy
from fecnet.evaluation.triplet_accuracy import ROWS, TripletAccuracy, triplet_accuracy
from fecnet.export.agreement import Arrays
from fecnet.structures import of_label_set
from fecnet.utils.class_words import find_class
from fecnet.utils.errors import DataError
from fecnet.utils.files import replace_json
from fecnet.utils.table import align_columns, decimal

GREY = 128
COVERED = {"eyes": (slice(13, 24), slice(5, 43)), "mouth": (slice(31, 45), slice(11, 37))}  # rows, columns, of 48×48
SIZES = (32, 24)  # pixels
COPY = "duplicate_in_train"  # flag in faces.csv
_SIDE = 48


@dataclass(frozen=True, eq=False)
class Split:
    """The faces, triplets and labels that a net is measured on.

    Attributes:
        name: of the split.
        faces_NHWC: stored faces, uint8.
        rows_N: their rows in the data set.
        triplets: triplets of rows of the data set.
        labels: label tables by name of the label set.
        copy_N: faces that are copies of training faces.
    """

    name: str
    faces_NHWC: np.ndarray
    rows_N: np.ndarray
    triplets: TripletTable
    labels: dict[str, LabelTable]
    copy_N: np.ndarray


def read_split(dataset: PackedDataset, info: CheckpointInfo, name: str) -> Split:
    """The triplets of a split, and the labels of every label set whose classes the net has, as the run evaluates them.

    Raises:
        UserError: no such split, or no label set with the classes of the net.
    """
    triplets, cfg = dataset.triplets(name), info.settings()
    labels = {}
    for label_set in dataset.description["label_sets"]:
        if all(
            find_class(word, _classes(info.label_sets, label_set)) is not None for word in dataset.classes(label_set)
        ):
            own = label_set == cfg.DATA.LABELS
            table = (
                build_label_splits(cfg, dataset).table(name, min_share=cfg.DATA.EVAL_MIN_VOTE_SHARE) if own else None
            )
            labels[label_set] = table or dataset.labels(label_set, name)
    if cfg.DATA.LABELS not in labels:
        raise DataError(f"{dataset.path}: no label set '{cfg.DATA.LABELS}' with the classes {', '.join(info.classes)}")
    return gather_split(dataset, name, triplets, labels)


def gather_split(dataset: PackedDataset, name: str, triplets: TripletTable, labels: dict[str, LabelTable]) -> Split:
    """The faces of some triplets and labels, and which of them are copies of training faces."""
    rows_N = np.unique(np.concatenate([triplets.faces_T3.ravel(), *(table.faces_M for table in labels.values())]))
    copies = np.array([COPY in row["flags"].split() for row in face_rows(dataset.path)])
    return Split(name, dataset.faces_NHWC[rows_N], rows_N, triplets, labels, copies[rows_N])


def outputs_of(encoder: Encoder, faces_NHWC: np.ndarray) -> Arrays:
    """The outputs of a net for stored faces, by name."""
    return encoder.encode(faces_NHWC).outputs


def measure(encoder: Encoder, split: Split, outputs: Arrays | None = None) -> dict[str, Any]:
    """All measurements of a model card on a split.

    Args:
        encoder: the net.
        split: see ``read_split``.
        outputs: outputs of the net for the faces of the split, where they are known.
    """
    outputs = outputs or outputs_of(encoder, split.faces_NHWC)
    everything_N = np.ones(len(split.rows_N), bool)
    rows = {"all faces": _percent(encoder, split, outputs, everything_N)}
    rows["without copies of training faces"] = _percent(encoder, split, outputs, ~split.copy_N)
    for name, keep_N in _thirds(split.faces_NHWC):
        rows[name] = _percent(encoder, split, outputs, keep_N)
    for name, changed_NHWC in _changed(split.faces_NHWC):
        rows[name] = _percent(encoder, split, outputs_of(encoder, changed_NHWC), everything_N)
    return {
        "triplets": triplets_right(split, outputs, everything_N).to_dict(),
        "classes": {
            name: classes_right(encoder, split, name, outputs, everything_N).to_dict() for name in split.labels
        },
        "conditions": rows,
    }


def triplets_right(split: Split, outputs: Arrays, keep_N: np.ndarray) -> TripletAccuracy:
    """The triplet accuracy over the triplets whose three faces are all kept."""
    faces_T3 = np.searchsorted(split.rows_N, split.triplets.faces_T3)
    keep_T = keep_N[faces_T3].all(axis=1)
    embedding_ND = torch.from_numpy(outputs["embedding"])
    return triplet_accuracy(embedding_ND, faces_T3[keep_T], split.triplets.odd_T[keep_T], split.triplets.type_T[keep_T])


def classes_right(encoder: Encoder, split: Split, label_set: str, outputs: Arrays, keep_N: np.ndarray) -> ClassAccuracy:
    """The accuracy over the labelled faces that are kept, by the net's logits of the set's classes."""
    table = split.labels[label_set]
    place_M = np.searchsorted(split.rows_N, table.faces_M)
    keep_M = keep_N[place_M]
    classes = _classes(encoder.label_sets, label_set)
    columns = [find_class(word, classes) for word in table.classes]
    is_further = label_set in list(encoder.label_sets)[1:]
    logits_MK = outputs[of_label_set("logits", label_set if is_further else "")][place_M[keep_M]][:, columns]
    return class_accuracy(torch.from_numpy(logits_MK), table.label_M[keep_M], table.classes)


def _classes(label_sets: Mapping[str, Sequence[str]], label_set: str) -> Sequence[str]:
    """The classes whose logits a net has for a label set: its own, else those of the first."""
    return label_sets.get(label_set) or next(iter(label_sets.values()))


def _percent(encoder: Encoder, split: Split, outputs: Arrays, keep_N: np.ndarray) -> dict[str, Any]:
    triplets = triplets_right(split, outputs, keep_N)
    found: dict[str, Any] = {
        "triplets": {"percent": triplets.to_dict()["ALL"]["percent"], "of": triplets.counts("ALL")[1]}
    }
    for name in split.labels:
        accuracy = classes_right(encoder, split, name, outputs, keep_N)
        found[name] = {"percent": accuracy.metrics()["accuracy"], "of": int(accuracy.total_K.sum())}
    return found


def _thirds(faces_NHWC: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The darkest, middle and brightest third of the faces, by their mean grey value."""
    mean_N = faces_NHWC.mean(axis=(1, 2, 3))
    low, high = np.percentile(mean_N, [100 / 3, 200 / 3])
    yield "darkest third", mean_N <= low
    yield "middle third", (mean_N > low) & (mean_N <= high)
    yield "brightest third", mean_N > high


def _changed(faces_NHWC: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for part, (rows, columns) in COVERED.items():
        yield f"{part} covered", cover(faces_NHWC, rows, columns)
    for size in SIZES:
        yield f"shrunk to {size} pixels", shrink(faces_NHWC, size)


def cover(faces_NHWC: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Faces with a grey rectangle, given in pixels of a face of 48×48."""
    scale = faces_NHWC.shape[1] / _SIDE
    top, bottom, left, right = (round(edge * scale) for edge in (rows.start, rows.stop, columns.start, columns.stop))
    covered_NHWC = np.array(faces_NHWC)
    covered_NHWC[:, top:bottom, left:right] = GREY
    return covered_NHWC


def shrink(faces_NHWC: np.ndarray, size: int) -> np.ndarray:
    """Faces shrunk to ``size`` pixels and enlarged to their own size again, both bilinearly with antialiasing."""
    side = faces_NHWC.shape[1]

    def resized(channel_HW: np.ndarray) -> np.ndarray:
        small = Image.fromarray(channel_HW).resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(small.resize((side, side), Image.Resampling.BILINEAR))

    return np.stack(
        [np.stack([resized(face_HWC[..., k]) for k in range(face_HWC.shape[2])], -1) for face_HWC in faces_NHWC]
    )


def conditions_table(measured: dict[str, Any]) -> list[list[object]]:
    """The conditions of a measured split as rows, with a header: accuracy in % and, of parts, the number counted."""
    conditions = measured["conditions"]
    columns = list(next(iter(conditions.values())))
    cells = [
        [f"{decimal(row[name]['percent'])} of {row[name]['of']:,}" for name in columns] for row in conditions.values()
    ]
    return [["", *columns], *([name, *row] for name, row in zip(conditions, cells, strict=True))]


def types_line(measured: dict[str, Any]) -> str:
    """The triplet accuracy by type in one line."""
    return "  ".join(f"{row} {decimal(measured['triplets'][row]['percent'])}" for row in ROWS)


def measure_net(path: str, data: str) -> dict[str, Any]:
    """Measure a run or shipped net on its report splits; ``data`` replaces the set it was trained on.

    Raises:
        UserError: no such net or data, or they do not fit.
    """
    info = load_info(find_checkpoint(path, "best"))
    encoder = load_encoder(path, device="cpu")
    dataset = PackedDataset(data or info.settings().DATA.PATH)
    encoder.check_faces(dataset)
    return {name: measure(encoder, read_split(dataset, info, name)) for name in info.settings().DATA.REPORT_SPLITS}


def main(arguments: Sequence[str]) -> int:
    """Measure, print the tables and write them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks card", description=__doc__)
    parser.add_argument("net", metavar="RUN_OR_NET")
    parser.add_argument("--data", default="", metavar="DATASET", help="packed data set (default: that of the training)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    options = parser.parse_args(arguments)
    measured = measure_net(options.net, options.data)
    for name, split in measured.items():
        print(f"{name}: triplets {types_line(split)}\n{align_columns(conditions_table(split))}\n")
    if options.json:
        replace_json(options.json, measured)
    return 0
