"""The face map of a run as a figure: layout, legend and tooltips.

Shape suffixes: N faces on the map, K classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from fecnet.data.packed import PackedDataset
from fecnet.run_page.face_map import MAX_FACES, evenly, grid_size, lay_out, paint, to_cells
from fecnet.run_page.markup import Markup, as_it_is, element
from fecnet.run_page.pictures import data_uri
from fecnet.run_page.run_record import RunRecord
from fecnet.utils.errors import UserError

# Distinguishable on faces, on white and on black.
COLOURS = (
    *("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#a855f7", "#8b5a2b"),
    *("#ec4899", "#14b8a6", "#84cc16", "#6366f1", "#f97316", "#9ca3af"),
)
_LEAST_PROBABILITY = 1e-6  # before the logarithm


@dataclass(frozen=True)
class MapFaces:
    """The faces on a map, with labels and predictions.

    Attributes:
        rows_N: rows of ``faces.npy``, shape (N,).
        value_ND: the outputs that the layout is computed from, shape (N, D).
        by: description of these outputs.
        classes: names in label order; empty = unknown.
        label_N: their labels, -1 = unknown, shape (N,).
        predicted_N: their predicted classes, -1 = unknown, shape (N,).
        percent_N: the probability of the predicted classes, %, shape (N,).
        num_measured: number of evaluated faces; the map may show a subset.
    """

    rows_N: np.ndarray
    value_ND: np.ndarray
    by: str
    classes: tuple[str, ...]
    label_N: np.ndarray
    predicted_N: np.ndarray
    percent_N: np.ndarray
    num_measured: int


def map_faces(run: RunRecord, dataset: PackedDataset) -> MapFaces | None:
    """The evaluated faces of a run with their labels; None where no outputs of single faces were written.

    Raises:
        UserError: a file of the run is damaged or does not fit the data.
    """
    laid_out = _values(run)
    if laid_out is None:
        return None
    rows_N, value_ND, by = laid_out
    if len(rows_N) == 0:
        raise UserError(f"{run.path / 'evaluation'}: holds no face; evaluate the run again")
    num_measured = len(rows_N)
    some = evenly(num_measured, MAX_FACES)
    rows_N, value_ND = rows_N[some], value_ND[some]
    unknown_N = np.full(len(rows_N), -1)
    predicted = run.arrays("predictions", ("label", "prediction", "probability"))
    if predicted is None:
        classes, label_N = labels_of(dataset, rows_N, run.config.DATA.LABELS)
        return MapFaces(rows_N, value_ND, by, classes, label_N, unknown_N, np.zeros(len(rows_N)), num_measured)
    place_N, there_N = _places(predicted["rows"], rows_N)
    label_N = np.where(there_N, predicted["label"][place_N], -1)
    predicted_N = np.where(there_N, predicted["prediction"][place_N], -1)
    percent_N = 100 * predicted["probability"][place_N].max(1)
    return MapFaces(rows_N, value_ND, by, tuple(run.best.classes), label_N, predicted_N, percent_N, num_measured)


def _values(run: RunRecord) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Rows, the outputs to lay them out by, and a description of these."""
    embedded = run.arrays("embeddings", ("embedding",))
    if embedded is not None:
        return embedded["rows"], embedded["embedding"], "embedding"
    predicted = run.arrays("predictions", ("label", "prediction", "probability"))
    if predicted is not None:
        return predicted["rows"], log_probabilities(predicted["probability"]), "logarithms of the class probabilities"
    affect = run.arrays("affect", ("valence_arousal",))
    if affect is not None:
        return affect["rows"], affect["valence_arousal"], "predicted valence (to the right) and arousal (upwards)"
    return None


def log_probabilities(probability_NK: np.ndarray) -> np.ndarray:
    """The values that the layout of a net without an embedding is computed from, shape (N, K)."""
    return np.log(np.maximum(probability_NK, _LEAST_PROBABILITY))


def labels_of(dataset: PackedDataset, rows_N: np.ndarray, wanted: str = "") -> tuple[tuple[str, ...], np.ndarray]:
    """Labels of some faces from the data set.

    Args:
        dataset: with or without labels.
        rows_N: the faces.
        wanted: label set; the first one where there is none of this name.

    Returns:
        Names of the classes, and the label of each face, -1 = unknown.
    """
    sets = list(dataset.description["label_sets"])
    label_N = np.full(len(rows_N), -1)
    if not sets:
        return (), label_N
    label_set = wanted if wanted in sets else sets[0]
    for split, parts in dataset.description["splits"].items():
        if label_set in parts.get("labels", {}):
            table = dataset.labels(label_set, split)
            order = np.argsort(table.faces_M)
            place_N, there_N = _places(table.faces_M[order], rows_N)
            label_N[there_N] = table.label_M[order][place_N][there_N]
    return dataset.classes(label_set), label_N


def _places(known_M: np.ndarray, wanted_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of ``wanted_N`` in the increasing ``known_M``, and which are there."""
    place_N = np.minimum(np.searchsorted(known_M, wanted_N), len(known_M) - 1)
    return place_N, known_M[place_N] == wanted_N


def map_figure(faces: MapFaces, dataset: PackedDataset, *, name: str) -> Markup:
    """The map with its legend and the data of its tooltips.

    Args:
        faces: the faces on the map.
        dataset: the packed set with their pixels.
        name: identifier, unique on the page.
    """
    side = grid_size(len(faces.rows_N))
    layout = lay_out(faces.value_ND)
    cell_N = to_cells(layout.place_N2, side)
    coloured = 0 < len(faces.classes) <= len(COLOURS)
    frame_N = [COLOURS[label] if coloured and label >= 0 else None for label in faces.label_N.tolist()]
    wrong_N = (faces.predicted_N >= 0) & (faces.label_N >= 0) & (faces.predicted_N != faces.label_N)
    predictions = zip(faces.predicted_N.tolist(), wrong_N.tolist(), strict=True)
    band_N = [COLOURS[label] if coloured and wrong else None for label, wrong in predictions]
    picture = paint(dataset.faces_NHWC, faces.rows_N, cell_N, side, frame_N=frame_N, band_N=band_N)
    some = "" if len(faces.rows_N) == faces.num_measured else f" of {faces.num_measured:,}, evenly sampled"
    text = f"{len(faces.rows_N):,} faces{some}, by {faces.by}; {layout.method}. Near faces have similar outputs"
    alt = f"Map of {len(faces.rows_N)} faces"
    parts = (
        element("p", f"{text}; each face has a cell of its own.", class_="note"),
        _legend(faces) if coloured else None,
        element("input", type="checkbox", id=f"{name}-full", class_="full"),
        element("label", "actual size", for_=f"{name}-full"),
        element("div", element("img", src=data_uri(picture, quality=80), alt=alt), class_="wide", tabindex=0),
        _tooltip_data(faces, cell_N, side),
    )
    return element("div", parts, class_="face-map")


def _legend(faces: MapFaces) -> Markup:
    items = [
        element("li", element("i", style=f"background:{colour}"), name)
        for name, colour in zip(faces.classes, COLOURS, strict=False)
    ]
    band = "frame: label; a misclassified face has a band in the colour of the predicted class"
    text = band if (faces.predicted_N >= 0).any() else "frame: label"
    return element("ul", items, element("li", element("small", text)), class_="legend")


def _tooltip_data(faces: MapFaces, cell_N: np.ndarray, side: int) -> Markup:
    """Data for ``page.js``: of each cell the face's row, label, predicted class and probability in %."""
    columns = (faces.rows_N, faces.label_N, faces.predicted_N, faces.percent_N.round().astype(int))
    values = zip(*(column.tolist() for column in columns), strict=True)
    cells = dict(zip(cell_N.tolist(), values, strict=True))
    text = json.dumps({"side": side, "classes": faces.classes, "cells": cells}, separators=(",", ":"))
    # an escaped "<" cannot end the element; JSON decodes it to the same character
    return element("script", as_it_is(text.replace("<", "\\u003c")), type="application/json")
