"""Evaluates splits: one forward pass per face, for any number of triplets, splits and tasks that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from fecnet.data.packed import TripletTable
from fecnet.engine.predict import View, predict, predict_batch
from fecnet.evaluation.affect import AffectAccuracy, affect_accuracy
from fecnet.evaluation.classification import ClassAccuracy, class_accuracy
from fecnet.evaluation.near_ties import NearTies, class_ties, largest_move, triplet_ties
from fecnet.evaluation.triplet_accuracy import TripletAccuracy, is_correct, triplet_accuracy, triplet_distances
from fecnet.structures import Outputs, of_label_set
from fecnet.utils import comm
from fecnet.utils.errors import UserError

LabelArrays = tuple[np.ndarray, np.ndarray]  # faces_M, label_M or valence_arousal_M2
_PREDICTED_AGAIN = 32  # faces, one by one; the rounding errors of a net differ by less than _UNSEEN between faces


class SplitResult(Protocol):
    """Evaluation results on one split."""

    def metrics(self) -> dict[str, float | None]:
        """Metrics in % by name, as logged; one of them selects the best checkpoint."""

    def warning(self) -> str:
        """Why the metrics are meaningless and select no checkpoint, in one line; else empty."""

    def to_dict(self) -> dict[str, Any]:
        """All results, for JSON."""


class Metric(Protocol):
    """Evaluates one output of a model."""

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""

    @property
    def rows(self) -> np.ndarray:
        """Faces of all splits, int64, sorted."""

    output: str  # name of the output that is evaluated

    def measure(self, output_NX: Tensor) -> Mapping[str, SplitResult]:
        """Results of each split, from that output for ``self.rows``."""


class TripletMetric:
    """Triplet accuracy of embeddings.

    Args:
        tables: the triplets of each split, by name.

    Attributes:
        tables: the triplets of each split, by name.
        splits: names of the splits.
        rows: faces of all splits, int64, sorted.
    """

    output = "embedding"

    def __init__(self, tables: Mapping[str, TripletTable]) -> None:
        self.tables = tables
        self.splits = list(tables)
        every = [table.faces_T3.reshape(-1) for table in tables.values()]
        self.rows = np.unique(np.concatenate(every)).astype(np.int64)

    def measure(self, embedding_ND: Tensor) -> dict[str, TripletAccuracy]:
        """The accuracy of each split, from embeddings of ``self.rows``.

        Raises:
            UserError: an embedding is not finite.
        """
        self._check_finite(embedding_ND)
        return {
            split: triplet_accuracy(
                embedding_ND, self.places(split), table.odd_T, table.type_T, votes_T3=table.votes_T3
            )
            for split, table in self.tables.items()
        }

    def is_right(self, embedding_ND: Tensor, split: str) -> np.ndarray:
        """Whether each triplet of ``split`` is right, bool, shape (T,), from embeddings of ``self.rows``.

        Raises:
            UserError: an embedding is not finite.
        """
        self._check_finite(embedding_ND)
        odd_T = torch.from_numpy(self.tables[split].odd_T.astype(np.int64))
        return is_correct(triplet_distances(embedding_ND, self.places(split)), odd_T).numpy()

    def near_ties(self, embedding_ND: Tensor, move: float) -> dict[str, NearTies]:
        """The near ties of each split, from embeddings of ``self.rows`` that rounding may move by ``move``."""
        return {
            split: triplet_ties(
                triplet_distances(embedding_ND, self.places(split)),
                table.odd_T,
                table.type_T,
                embedding_ND.shape[1],
                move,
            )
            for split, table in self.tables.items()
        }

    def _check_finite(self, embedding_ND: Tensor) -> None:
        faces = {split: table.faces_T3 for split, table in self.tables.items()}
        _check_finite(self.output, embedding_ND, self.rows, faces)

    def places(self, split: str) -> np.ndarray:
        """Faces of the triplets of ``split`` as indices into ``self.rows``, int64, shape (T, 3)."""
        return np.searchsorted(self.rows, self.tables[split].faces_T3)


class ClassMetric:
    """Classification accuracy of logits.

    Args:
        splits: faces and labels of each split, by name.
        classes: names in label order.
        label_set: one of ``DATA.EXTRA_LABELS``; empty for ``DATA.LABELS``.

    Attributes:
        output: name of the logits.
        splits: names of the splits.
        rows: faces of all splits, int64, sorted.
        classes: names in label order.
        label_set: one of ``DATA.EXTRA_LABELS``; empty for ``DATA.LABELS``.
    """

    def __init__(self, splits: Mapping[str, LabelArrays], classes: Sequence[str], label_set: str = "") -> None:
        self.output, self.label_set = of_label_set("logits", label_set), label_set
        self._splits = splits
        self.splits = list(splits)
        self.classes = tuple(classes)
        self.rows = np.unique(np.concatenate([faces_M for faces_M, _ in splits.values()])).astype(np.int64)

    def measure(self, logits_NK: Tensor) -> dict[str, ClassAccuracy]:
        """The accuracy of each split, from logits of ``self.rows``.

        Raises:
            UserError: a logit is not finite.
        """
        _check_finite(self.output, logits_NK, self.rows, {name: part[0] for name, part in self._splits.items()})
        return {
            split: class_accuracy(logits_MK, label_M, self.classes)
            for split, (_, label_M, logits_MK) in self.parts(logits_NK).items()
        }

    def parts(self, logits_NK: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray, Tensor]]:
        """Faces, their labels (-1 = unknown) and their logits by split, from logits for ``self.rows``."""
        return {
            split: (faces_M, label_M, logits_NK[np.searchsorted(self.rows, faces_M)])
            for split, (faces_M, label_M) in self._splits.items()
        }

    def near_ties(self, logits_NK: Tensor, move: float) -> dict[str, NearTies]:
        """The near ties of each split, from logits of ``self.rows`` that rounding may move by ``move``."""
        return {split: class_ties(logits, label, move) for split, (_, label, logits) in self.parts(logits_NK).items()}

    def labels(self) -> np.ndarray:
        """The label of each of ``self.rows`` in the first split that contains it, -1 = unknown, int64."""
        label_N = np.full(len(self.rows), -1)
        for faces_M, label_M in reversed(list(self._splits.values())):
            label_N[np.searchsorted(self.rows, faces_M)] = label_M
        return label_N


class AffectMetric:
    """Accuracy of predicted valence and arousal.

    Args:
        splits: faces and their valence and arousal in each split, by name; NaN = unknown.

    Attributes:
        splits: names of the splits.
        rows: faces of all splits, int64, sorted.
    """

    output = "valence_arousal"

    def __init__(self, splits: Mapping[str, LabelArrays]) -> None:
        self._splits = splits
        self.splits = list(splits)
        self.rows = np.unique(np.concatenate([faces_M for faces_M, _ in splits.values()])).astype(np.int64)

    def measure(self, predicted_N2: Tensor) -> dict[str, AffectAccuracy]:
        """The accuracy of each split, from predictions for ``self.rows``.

        Raises:
            UserError: a prediction is not finite.
        """
        _check_finite(self.output, predicted_N2, self.rows, {name: part[0] for name, part in self._splits.items()})
        return {
            split: affect_accuracy(predicted_N2[np.searchsorted(self.rows, faces_M)], target_M2)
            for split, (faces_M, target_M2) in self._splits.items()
        }


def _check_finite(name: str, found_NX: Tensor, rows_N: np.ndarray, splits: Mapping[str, np.ndarray]) -> None:
    """Reject NaN and infinity, which would otherwise be counted as a class or a distance.

    Args:
        name: name of the output.
        found_NX: the output, shape (N, X).
        rows_N: rows of ``faces.npy``.
        splits: the faces of each split.

    Raises:
        UserError: an output is not finite; names the first such face and a split that contains it.
    """
    bad_rows = rows_N[~torch.isfinite(found_NX).all(1).numpy()]
    if len(bad_rows):
        split = next(split for split, faces in splits.items() if (faces == bad_rows[0]).any())
        raise UserError(
            f"split '{split}': face {bad_rows[0]} (row of faces.npy): the net's '{name}' is not finite, as for "
            f"{len(bad_rows)} of {len(rows_N)} faces; allowed: finite numbers"
        )


class OfLabelSet:
    """The result of one of ``DATA.EXTRA_LABELS`` on one split; its metrics are named after the label set.

    Args:
        label_set: name of the set.
        accuracy: the result.
    """

    def __init__(self, label_set: str, accuracy: ClassAccuracy) -> None:
        self._label_set, self._accuracy = label_set, accuracy

    def metrics(self) -> dict[str, float | None]:
        """Metrics in % by name, such as ``accuracy_fer``."""
        return {of_label_set(name, self._label_set): value for name, value in self._accuracy.metrics().items()}

    def warning(self) -> str:
        """The warning of the result."""
        return self._accuracy.warning()

    def to_dict(self) -> dict[str, Any]:
        """All results under one name, such as ``classes_fer``, for JSON."""
        return {of_label_set("classes", self._label_set): self._accuracy.to_dict()}


class CombinedResult:
    """Results of several metrics on one split, under distinct names."""

    def __init__(self, parts: Sequence[SplitResult]) -> None:
        self.parts = list(parts)

    def metrics(self) -> dict[str, float | None]:
        """Metrics in % by name, of all parts."""
        return {name: value for part in self.parts for name, value in part.metrics().items()}

    def warning(self) -> str:
        """The warnings of all parts."""
        return "; ".join(filter(None, (part.warning() for part in self.parts)))

    def to_dict(self) -> dict[str, Any]:
        """All results of all parts, for JSON."""
        return {name: value for part in self.parts for name, value in part.to_dict().items()}


class Evaluator:
    """Predicts the outputs for all faces that the metrics need, and evaluates them.

    Args:
        faces_NHWC: all faces, uint8.
        metrics: at least one; all with the same splits.
        views: each turns stored images into the net's input; the outputs are averaged over the views.
        batch_size: faces per forward pass.
        device: device of the model.
        progress: show a progress bar.

    Attributes:
        rows: the faces that any metric needs, int64, sorted.
        metrics: the argument.
        views: the argument.
    """

    def __init__(
        self,
        faces_NHWC: np.ndarray,
        metrics: Sequence[Metric],
        *,
        views: Sequence[View],
        batch_size: int,
        device: torch.device,
        progress: bool = False,
    ) -> None:
        self._faces_NHWC = faces_NHWC
        self.views = views
        self._batch_size = batch_size
        self._device = device
        self._progress = progress
        self.metrics = list(metrics)
        self.rows = np.unique(np.concatenate([metric.rows for metric in metrics]))

    def predict(self, model: nn.Module) -> Outputs:
        """Outputs for ``self.rows``, float32, on the CPU, on all ranks."""
        return predict(
            model,
            self._faces_NHWC,
            self.rows,
            views=self.views,
            batch_size=self._batch_size,
            device=self._device,
            progress="predicting faces" if self._progress else "",
        )

    def part(self, outputs: Outputs, metric: Metric) -> Tensor:
        """The part of the outputs for ``self.rows`` that ``metric`` needs."""
        return outputs[metric.output][np.searchsorted(self.rows, metric.rows)]

    def largest_moves(self, model: nn.Module, outputs: Outputs) -> dict[str, float]:
        """By how much rounding may move each output, as ``largest_move`` says; a collective.

        Some faces are predicted again, one at a time and by the model itself, on rank 0.

        Args:
            model: as in ``predict``.
            outputs: for ``self.rows``, as ``predict`` gave them.
        """
        place = np.unique(np.linspace(0, len(self.rows) - 1, _PREDICTED_AGAIN).astype(np.int64))

        def measure() -> dict[str, float]:
            training = model.training
            model.eval()
            faces = (np.asarray(self._faces_NHWC[self.rows[k : k + 1]]) for k in place)
            again = [predict_batch(model, face, views=self.views, device=self._device) for face in faces]
            model.train(training)
            return {
                name: largest_move(value[place], torch.cat([one[name] for one in again]))
                for name, value in outputs.items()
                if value.dim() > 1
            }

        return comm.from_main(measure)

    def __call__(self, model: nn.Module) -> dict[str, SplitResult]:
        """Predict and evaluate; returns the results of each split.

        Raises:
            UserError: an output is not finite.
        """
        outputs = self.predict(model)
        measured = [_named(metric, metric.measure(self.part(outputs, metric))) for metric in self.metrics]
        if len(measured) == 1:
            return dict(measured[0])
        return {split: CombinedResult([found[split] for found in measured]) for split in self.metrics[0].splits}


def _named(metric: Metric, found: Mapping[str, SplitResult]) -> Mapping[str, SplitResult]:
    """Results of each split; those of a further label set are named after it."""
    label_set = metric.label_set if isinstance(metric, ClassMetric) else ""
    if not label_set:
        return found
    return {split: OfLabelSet(label_set, cast(ClassAccuracy, result)) for split, result in found.items()}
