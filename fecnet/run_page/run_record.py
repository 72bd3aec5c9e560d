"""A run for its page: with the evaluated faces, if they still exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fecnet.data.packed import PackedDataset
from fecnet.runs.run import Run
from fecnet.utils.errors import UserError


@dataclass(frozen=True)
class RunRecord(Run):
    """A run and its faces."""

    @property
    def expected(self) -> tuple[str, ...]:
        """The ``tables`` that an evaluation of this kind of run writes."""
        if self.best.kind == "embedding":
            return ("triplets",)
        kinds = {"joint": ("triplets", "classes"), "classifier": ("classes",), "affect": ()}
        return kinds[self.best.kind] + (("affect",) if "valence_arousal" in self.config.LOSS.CRITERIA else ())

    @property
    def selecting_split(self) -> str | None:
        """The split that selected the best checkpoint, or None without a selection."""
        return None if self.best.selection is None else self.best.selection.split

    @property
    def dataset(self) -> PackedDataset | None:
        """The evaluated faces, or None."""
        return self._faces[0]

    @property
    def no_faces(self) -> str:
        """Why the faces are not available."""
        return self._faces[1]

    @cached_property
    def _faces(self) -> tuple[PackedDataset | None, str]:
        """The evaluated data set if it is unchanged; else the reason."""
        if not self.tables:
            return None, "nothing is evaluated yet"
        table = next(iter(self.tables.values()))
        path, trained = table["data"], self.best.data
        try:
            dataset = PackedDataset(path)
        except (UserError, OSError) as error:
            return None, str(error)
        now = dataset.description
        if table["coverage"] != dataset.coverage or (
            path == self.config.DATA.PATH and (trained.sources, trained.num_faces) != (now["sources"], now["num_faces"])
        ):
            return None, f"{path}: holds other data than were evaluated"
        return dataset, ""

    def arrays(self, name: str, needed: Sequence[str]) -> dict[str, np.ndarray] | None:
        """``Run.arrays``, with a check that all rows are inside the data set.

        Raises:
            UserError: see ``Run.arrays``; or a row that the data set does not have.
        """
        arrays = super().arrays(name, needed)
        rows_N = np.zeros(0) if arrays is None else arrays["rows"]
        if len(rows_N) and self.dataset and not 0 <= rows_N[0] <= rows_N[-1] < len(self.dataset.faces_NHWC):
            file = self.path / "evaluation" / f"{name}.npz"
            raise UserError(f"{file}: rows that {self.dataset.path} does not have; evaluate the run again")
        return arrays
