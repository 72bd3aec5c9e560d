"""Report of an evaluated embedding, printed and written: triplets, choice probabilities, neighbours."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fecnet.data.packed import PackedDataset
from fecnet.engine.evaluator import TripletMetric
from fecnet.evaluation.choices import choice_fit, format_choices
from fecnet.evaluation.drawing import INSTALL, can_plot
from fecnet.evaluation.neighbours import neighbour_sheet
from fecnet.evaluation.plots import reliability_plot
from fecnet.evaluation.triplet_accuracy import TripletAccuracy, format_table, triplet_distances
from fecnet.layers.choice import DEFAULT_SCALE
from fecnet.utils.files import replace_arrays, replace_json

logger = logging.getLogger(__name__)


class TripletReport:
    """The ONE/TWO/THREE-CLASS table, the choice probabilities, the embeddings and a sheet of nearest neighbours.

    Args:
        dataset: the packed data set.
        metric: the triplets.
        embedding_ND: embeddings of ``metric.rows``, shape (N, D).
        baselines: accuracy of the baselines by name and split.
        choice_scale: scale of the choice probabilities that the net learned; None = ``DEFAULT_SCALE``.
        move: the largest change of an embedding by rounding.
    """

    name = "triplets"

    def __init__(
        self,
        dataset: PackedDataset,
        metric: TripletMetric,
        embedding_ND: Tensor,
        baselines: Mapping[str, dict[str, TripletAccuracy]],
        choice_scale: float | None,
        move: float,
    ) -> None:
        self._dataset = dataset
        self._rows = metric.rows
        self._splits = metric.splits
        self._embedding_ND = embedding_ND
        self._columns = {"fecnet": metric.measure(embedding_ND), **baselines}
        self._near_ties = metric.near_ties(embedding_ND, move)
        self._whose_scale = "the default" if choice_scale is None else "the net's"
        scale = DEFAULT_SCALE if choice_scale is None else choice_scale
        self._choices = {
            split: choice_fit(triplet_distances(embedding_ND, metric.places(split)), table.odd_T, table.votes_T3, scale)
            for split, table in metric.tables.items()
        }

    def table(self, split: str) -> str:
        """A headline, the table of ``split``, its near ties, and its choice probabilities."""
        table = format_table({name: accuracy[split] for name, accuracy in self._columns.items()})
        choices = format_choices(self._choices[split], self._whose_scale)
        return f"triplet accuracy, %\n{table}\n{self._near_ties[split].text()}\n{choices}"

    def to_dict(self) -> dict[str, Any]:
        """Spread of the embedding, near ties and choices by split; counts and percentages by split and column."""
        columns = self._columns.items()
        spreads = {split: accuracy.spread for split, accuracy in self._columns["fecnet"].items()}
        rows = [row for accuracy in self._columns["fecnet"].values() for row in accuracy.rows]
        return {
            "faces_embedded": len(self._rows),
            "spread": {split: spread and spread.to_dict() for split, spread in spreads.items()},
            "splits": {split: {name: found[split].to_dict() for name, found in columns} for split in self._splits},
            "near_ties": {split: found.to_dict() for split, found in self._near_ties.items()},
            "choices": {split: found.to_dict() for split, found in self._choices.items()},
            "rows": list(dict.fromkeys(rows)),
        }

    def write(self, folder: Path, result: Mapping[str, Any]) -> list[str]:
        """Write ``triplets.json``, ``embeddings.npz`` (``rows`` of faces.npy, ``embedding``) and ``neighbours.png``.

        Each split has ``choices_<split>.png`` if matplotlib is installed.
        """
        replace_json(folder / "triplets.json", result)
        embedding_ND = self._embedding_ND.numpy()
        replace_arrays(folder / "embeddings.npz", rows=self._rows, embedding=embedding_ND)
        neighbour_sheet(self._dataset.faces_NHWC, self._rows, embedding_ND, folder / "neighbours.png")
        return ["triplets.json", "embeddings.npz", "neighbours.png", *self._plot(folder)]

    def _plot(self, folder: Path) -> list[str]:
        """The reliability diagram of the choice probabilities of each split."""
        paths = {split: folder / f"choices_{split}.png" for split in self._choices}
        names = [path.name for path in paths.values()]
        if not can_plot():
            for path in paths.values():
                path.unlink(missing_ok=True)  # it would show an earlier evaluation
            logger.info(f"{', '.join(names)}: not written, they {INSTALL}")
            return []
        for split, found in self._choices.items():
            reliability_plot(
                found.calibration,
                split,
                paths[split],
                item="triplet",
                accuracy="share of raters who agree" if found.voted else "accuracy",
                confidence="probability of the odd face",
            )
        return names
