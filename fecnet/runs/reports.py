"""Reports of an evaluated checkpoint, printed and written: classes, valence and arousal."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fecnet.data.packed import PackedDataset
from fecnet.engine.evaluator import AffectMetric, ClassMetric
from fecnet.evaluation.affect import format_affect
from fecnet.evaluation.calibration import calibration
from fecnet.evaluation.classification import (
    ClassAccuracy,
    class_accuracy,
    confusion_text,
    format_classes,
    format_metrics,
)
from fecnet.evaluation.drawing import INSTALL, can_plot
from fecnet.evaluation.mistakes import mistake_sheet
from fecnet.evaluation.plots import confusion_plot, reliability_plot
from fecnet.utils.files import replace_arrays, replace_json, replace_text

logger = logging.getLogger(__name__)


class Report(Protocol):
    """The results of one task."""

    name: str  # name of its JSON file

    def table(self, split: str) -> str:
        """A headline and a table as text."""

    def to_dict(self) -> dict[str, Any]:
        """The fields of the JSON file besides those that all reports share."""

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``<name>.json`` with ``result`` and its other files; returns the names of all files."""


class ClassReport:
    """The table of classes, calibration, confusion matrices, misclassified faces, and the predictions.

    Args:
        dataset: the packed data set.
        metric: the labelled faces.
        logits_NK: logits of ``metric.rows``, shape (N, K).
        training_split: the split that the net was trained on.
        copy_N: which of ``metric.rows`` have identical pixels in that split, bool, shape (N,); None where unknown.
        move: the largest change of the logits by rounding, relative to their length.

    Attributes:
        name: name of its JSON file; for one of ``DATA.EXTRA_LABELS``, it is in a folder named after the label set.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        metric: ClassMetric,
        logits_NK: Tensor,
        *,
        training_split: str,
        copy_N: np.ndarray | None,
        move: float,
    ) -> None:
        self.name = f"{metric.label_set}/classes" if metric.label_set else "classes"
        self._dataset = dataset
        self._metric = metric
        self._logits_NK = logits_NK
        self._training_split = training_split
        self._accuracy = metric.measure(logits_NK)
        self._parts = metric.parts(logits_NK)
        self._calibration = {split: calibration(logits, label) for split, (_, label, logits) in self._parts.items()}
        self._near_ties = metric.near_ties(logits_NK, move)
        self._without = {} if copy_N is None else self._without_copies(copy_N)

    def _without_copies(self, copy_N: np.ndarray) -> dict[str, tuple[int, ClassAccuracy]]:
        """By split, the number of labelled faces that are also in the training split, and the accuracy on the others.

        The training split itself is left out.
        """
        found = {}
        for split, (faces_M, label_M, logits_MK) in self._parts.items():
            copy_M = copy_N[np.searchsorted(self._metric.rows, faces_M)]
            if split != self._training_split:
                others = class_accuracy(logits_MK, np.where(copy_M, -1, label_M), self._metric.classes)
                found[split] = int((copy_M & (label_M >= 0)).sum()), others
        return found

    def table(self, split: str) -> str:
        """A headline, the table of ``split``, its near ties, calibration, and the metrics without training faces."""
        lines = [
            f"{self._heading()}, %; right of the bar: faces by label (row) and predicted class (column)",
            format_classes(self._accuracy[split]),
            self._near_ties[split].text(),
            self._calibration[split].text(),
        ]
        if split in self._without:
            copies, others = self._without[split]
            where = f"in {self._training_split}, pixel for pixel"
            lines.append(
                f"without the {copies} faces that are also {where}: {format_metrics(others)}"
                if copies
                else f"none of these faces is also {where}"
            )
        return "\n".join(lines)

    def _heading(self) -> str:
        label_set = self._metric.label_set
        return f"classes of label set '{label_set}'" if label_set else "classes"

    def to_dict(self) -> dict[str, Any]:
        """Metrics, counts, confusion matrix, near ties, calibration and metrics without copies, by split."""
        return {
            "faces_predicted": len(self._metric.rows),
            "classes": list(self._metric.classes),
            "splits": {split: self._of_split(split) for split in self._accuracy},
        }

    def _of_split(self, split: str) -> dict[str, Any]:
        accuracy = self._accuracy[split]
        copies, others = self._without.get(split, (None, None))
        percent = [[None if np.isnan(cell) else round(cell, 4) for cell in row] for row in accuracy.confusion_percent()]
        return {
            **accuracy.to_dict(),
            "confusion_percent": percent,
            "near_ties": self._near_ties[split].to_dict(),
            "calibration": self._calibration[split].to_dict(),
            "training_split": self._training_split,
            "copies_in_training": copies,
            "without_copies": others and others.to_dict(),
        }

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``classes.json`` and ``predictions.npz``, and files of each split.

        The predictions are ``rows`` of faces.npy, the ``label`` in the first split that contains the face (-1 =
        unknown), the ``prediction`` and the ``probability`` of each class. Each split has ``classes_<split>.json``,
        ``confusion_<split>.csv`` (counts), ``misclassified_<split>.png`` if a face is misclassified, and
        ``confusion_<split>.png`` and ``reliability_<split>.png`` if matplotlib is installed.
        """
        folder = folder / self._metric.label_set
        folder.mkdir(exist_ok=True)
        replace_json(folder / "classes.json", result)
        replace_arrays(
            folder / "predictions.npz",
            rows=self._metric.rows,
            label=self._metric.labels(),
            prediction=self._logits_NK.numpy().argmax(1),
            probability=torch.softmax(self._logits_NK, 1).numpy(),
        )
        names = ["classes.json", "predictions.npz"]
        for split, accuracy in self._accuracy.items():
            replace_json(folder / f"classes_{split}.json", {**result, "splits": {split: result["splits"][split]}})
            replace_text(folder / f"confusion_{split}.csv", confusion_text(accuracy))
            names += [f"classes_{split}.json", f"confusion_{split}.csv", *self._write_mistakes(folder, split)]
        return [str(Path(self._metric.label_set) / name) for name in names + self._plot(folder)]

    def _write_mistakes(self, folder: Path, split: str) -> list[str]:
        faces_M, label_M, logits_MK = self._parts[split]
        path = folder / f"misclassified_{split}.png"
        shown = mistake_sheet(self._dataset.faces_NHWC, faces_M, label_M, logits_MK, self._metric.classes, path)
        if not shown:
            logger.info(f"{path.name}: not written, no face of {split} is misclassified")
        return [path.name] if shown else []

    def _plot(self, folder: Path) -> list[str]:
        names = [f"{kind}_{split}.png" for split in self._accuracy for kind in ("confusion", "reliability")]
        if not can_plot():
            for name in names:
                (folder / name).unlink(missing_ok=True)  # it would show an earlier evaluation
            logger.info(f"{', '.join(names)}: not written, they {INSTALL}")
            return []
        for split, accuracy in self._accuracy.items():
            confusion_plot(accuracy, split, folder / f"confusion_{split}.png")
            reliability_plot(self._calibration[split], split, folder / f"reliability_{split}.png")
        return names


class AffectReport:
    """The table of valence and arousal, and the predictions.

    Args:
        metric: the faces.
        predicted_N2: predictions for ``metric.rows``, shape (N, 2).
    """

    name = "affect"

    def __init__(self, metric: AffectMetric, predicted_N2: Tensor) -> None:
        self._rows = metric.rows
        self._predicted_N2 = predicted_N2
        self._accuracy = metric.measure(predicted_N2)

    def table(self, split: str) -> str:
        """A headline and the table of ``split``."""
        return f"valence and arousal\n{format_affect(self._accuracy[split])}"

    def to_dict(self) -> dict[str, Any]:
        """CCC and errors by split."""
        splits = {split: accuracy.to_dict() for split, accuracy in self._accuracy.items()}
        return {"faces_predicted": len(self._rows), "splits": splits}

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``affect.json`` and ``affect.npz`` (``rows`` of faces.npy and their ``valence_arousal``)."""
        replace_json(folder / "affect.json", result)
        replace_arrays(folder / "affect.npz", rows=self._rows, valence_arousal=self._predicted_N2.numpy())
        return ["affect.json", "affect.npz"]
