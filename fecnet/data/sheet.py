"""Selects the faces of a data set for a contact sheet."""

from __future__ import annotations

import numpy as np

from fecnet.data.packed import PackedDataset
from fecnet.utils.errors import DataError

_CHARACTER = 6  # pixels per character of the caption font


def sheet_faces(dataset: PackedDataset, columns: int) -> tuple[np.ndarray, list[str], list[str]]:
    """One row of faces per class where there are labels, else faces from the whole set; evenly spaced.

    Args:
        dataset: the packed data set.
        columns: faces per row; a class with fewer is padded with white images.

    Returns:
        Images, uint8, shape (M, H, W, C); a caption for each: the class, then rows of ``faces.npy``; and the name of
        each row of the sheet, such as ``ferplus anger``.

    Raises:
        DataError: a label file is unreadable or contains values out of range, or there is no face.
    """
    rows_of = _rows_by_class(dataset)
    if not rows_of:
        num = len(dataset.faces_NHWC)
        picked = [_spread(part, columns) for part in np.array_split(np.arange(num), min(8, -(-num // columns)) or 1)]
        rows_of = {("faces", f"{part[0]}..{part[-1]}"): part for part in picked if len(part)}
    white = np.full((1, *dataset.faces_NHWC.shape[1:]), 255, np.uint8)
    images, captions = [], []
    most = max(4, dataset.faces_NHWC.shape[2] // _CHARACTER)
    for (_, name), rows in rows_of.items():
        chosen, missing = _spread(rows, columns), max(0, columns - len(rows))
        images += [dataset.faces_NHWC[chosen], white.repeat(missing, axis=0)]
        texts = [name, *(str(row) for row in chosen[1:])]
        captions += [text.encode("ascii", "replace").decode()[:most] for text in texts] + [""] * missing
    if not images:
        raise DataError(f"{dataset.path}: no face to show")
    return np.concatenate(images), captions, [" ".join(pair) for pair in rows_of]


def _rows_by_class(dataset: PackedDataset) -> dict[tuple[str, str], np.ndarray]:
    """Faces of each class over all splits, by label set and class; classes without a face are left out."""
    rows_of: dict[tuple[str, str], np.ndarray] = {}
    for label_set, described in dataset.description["label_sets"].items():
        splits = dataset.description["splits"].items()
        tables = [dataset.labels(label_set, split) for split, parts in splits if label_set in parts.get("labels", {})]
        for label, name in enumerate(described["classes"]):
            rows = np.unique(np.concatenate([table.faces_M[table.label_M == label] for table in tables] or [[]]))
            if len(rows):
                rows_of[label_set, name] = rows.astype(np.int64)
    return rows_of


def _spread(rows: np.ndarray, num: int) -> np.ndarray:
    """At most ``num`` of ``rows``, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(num, len(rows))).round().astype(np.int64)] if len(rows) else rows
