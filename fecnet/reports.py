"""What is printed and written of a measured checkpoint: the tables of triplets, of classes, of valence and arousal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fecnet.data.packed import PackedDataset
from fecnet.engine.evaluator import AffectJudge, ClassJudge, TripletJudge
from fecnet.evaluation.affect import format_affect
from fecnet.evaluation.classification import format_classes
from fecnet.evaluation.neighbours import neighbour_sheet
from fecnet.evaluation.triplet_accuracy import ROWS, TripletAccuracy, format_table
from fecnet.utils.files import replace_arrays, replace_json, replace_text


class Report(Protocol):
    """One task's part of what a checkpoint is measured on."""

    name: str  # of its JSON file

    def table(self, split: str) -> str:
        """A headline and a table for people."""

    def to_dict(self) -> dict[str, Any]:
        """What the JSON file holds besides what all reports have in common."""

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``<name>.json`` with ``result``, and what belongs to it; the names of all files."""


class TripletReport:
    """The ONE/TWO/THREE-CLASS table, the embeddings and a sheet of nearest neighbours.

    Args:
        dataset: shows the faces.
        judge: the triplets.
        embedding_ND: of ``judge.rows``.
        baselines: what else was measured on them, by name.
    """

    name = "triplets"

    def __init__(
        self,
        dataset: PackedDataset,
        judge: TripletJudge,
        embedding_ND: Tensor,
        baselines: Mapping[str, dict[str, TripletAccuracy]],
    ) -> None:
        self._dataset = dataset
        self._rows = judge.rows
        self._splits = judge.splits
        self._embedding_ND = embedding_ND
        self._columns = {"fecnet": judge.judge(embedding_ND), **baselines}

    def table(self, split: str) -> str:
        """A headline and the table of ``split``."""
        table = format_table({name: accuracy[split] for name, accuracy in self._columns.items()})
        return f"per cent of triplets judged as people judged them\n{table}"

    def to_dict(self) -> dict[str, Any]:
        """Counts and per cent by split and column."""
        columns = self._columns.items()
        return {
            "faces_embedded": len(self._rows),
            "splits": {split: {name: found[split].to_dict() for name, found in columns} for split in self._splits},
            "rows": list(ROWS),
        }

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``triplets.json``, ``embeddings.npz`` (``rows`` of faces.npy, ``embedding``) and ``neighbours.png``."""
        replace_json(folder / "triplets.json", result)
        replace_arrays(folder / "embeddings.npz", rows=self._rows, embedding=self._embedding_ND.numpy())
        neighbour_sheet(self._dataset.faces_NHWC, self._rows, self._embedding_ND, folder / "neighbours.png")
        return ["triplets.json", "embeddings.npz", "neighbours.png"]


class ClassReport:
    """The table of classes, the confusion matrices and the predictions.

    Args:
        judge: the labelled faces.
        logits_NK: of ``judge.rows``.
    """

    name = "classes"

    def __init__(self, judge: ClassJudge, logits_NK: Tensor) -> None:
        self._judge = judge
        self._logits_NK = logits_NK
        self._accuracy = judge.judge(logits_NK)

    def table(self, split: str) -> str:
        """A headline and the table of ``split``."""
        table = format_classes(self._accuracy[split])
        return f"classes, per cent; right of the bar faces by label (row) and class called\n{table}"

    def to_dict(self) -> dict[str, Any]:
        """Figures, counts and confusion matrix by split."""
        return {
            "faces_predicted": len(self._judge.rows),
            "classes": list(self._judge.classes),
            "splits": {split: accuracy.to_dict() for split, accuracy in self._accuracy.items()},
        }

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``classes.json``, a ``confusion_<split>.csv`` each, and ``predictions.npz``.

        The predictions are ``rows`` of faces.npy, the ``label`` in the first split that holds the face (-1 = unknown),
        the ``prediction`` and the ``probability`` of each class.
        """
        replace_json(folder / "classes.json", result)
        replace_arrays(
            folder / "predictions.npz",
            rows=self._judge.rows,
            label=self._judge.labels(),
            prediction=self._logits_NK.numpy().argmax(1),
            probability=torch.softmax(self._logits_NK, 1).numpy(),
        )
        names = []
        for split, accuracy in self._accuracy.items():
            names.append(f"confusion_{split}.csv")
            lines = (",".join(map(str, row)) for row in accuracy.confusion_KK.tolist())
            replace_text(folder / names[-1], "\n".join(lines) + "\n")
        return ["classes.json", "predictions.npz", *names]


class AffectReport:
    """The table of valence and arousal, and the predictions.

    Args:
        judge: the faces.
        predicted_N2: of ``judge.rows``.
    """

    name = "affect"

    def __init__(self, judge: AffectJudge, predicted_N2: Tensor) -> None:
        self._rows = judge.rows
        self._predicted_N2 = predicted_N2
        self._accuracy = judge.judge(predicted_N2)

    def table(self, split: str) -> str:
        """A headline and the table of ``split``."""
        return f"valence and arousal\n{format_affect(self._accuracy[split])}"

    def to_dict(self) -> dict[str, Any]:
        """Figures and errors by split."""
        splits = {split: accuracy.to_dict() for split, accuracy in self._accuracy.items()}
        return {"faces_predicted": len(self._rows), "splits": splits}

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``affect.json`` and ``affect.npz`` (``rows`` of faces.npy and their ``valence_arousal``)."""
        replace_json(folder / "affect.json", result)
        replace_arrays(folder / "affect.npz", rows=self._rows, valence_arousal=self._predicted_N2.numpy())
        return ["affect.json", "affect.npz"]
