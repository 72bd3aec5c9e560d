"""One run on disk, read lazily; torch is not needed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.config.node import Frozen
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.description import CheckpointInfo
from fecnet.runs.evaluated import TABLES, read_table
from fecnet.utils.errors import UserError
from fecnet.utils.files import read_arrays
from fecnet.utils.metrics import read_metrics
from fecnet.utils.shown import cut, shown

Curve = dict[int, float]  # value by iteration

_RECENT_S = 300.0  # a run that wrote within this time may still be running; the disk cannot show this for certain


def is_run(path: Path) -> bool:
    """Whether a folder is a run folder."""
    return (path / "config.yaml").is_file() or (path / "checkpoints").is_dir()


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was saved already."""
        return (self.path / "checkpoints" / "last").is_file()

    @property
    def has_best(self) -> bool:
        """Whether a best checkpoint was selected already."""
        return (self.path / "checkpoints" / "best").is_file()

    @cached_property
    def last(self) -> CheckpointInfo:
        """The description of the last checkpoint.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        return load_info(find_checkpoint(self.path, "last"))

    @cached_property
    def best(self) -> CheckpointInfo:
        """The description of the best checkpoint, the one to use; of the last where none is selected.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        return load_info(find_checkpoint(self.path, "best"))

    @cached_property
    def config(self) -> Frozen:
        """The settings of ``best``."""
        return self.best.settings()

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return read_metrics(self.path / "metrics.jsonl")

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """The curves of ``metrics.jsonl`` by name.

        Raises:
            UserError: a number that is not finite.
        """
        curves: dict[str, Curve] = {}
        for number, line in enumerate(self.metrics, start=1):
            iteration = line["iteration"]
            for name, value in line.items():
                if name == "iteration" or value is None or isinstance(value, list):
                    continue  # no curve: a split without faces of this kind, or a histogram
                if not isinstance(value, (int, float)) or not math.isfinite(value):
                    raise UserError(
                        f"{self.path / 'metrics.jsonl'}:{number}: '{cut(name)}' is {shown(value)} "
                        f"at iteration {iteration}; allowed: finite numbers"
                    )
                curves.setdefault(name, {})[iteration] = value
        return curves

    @property
    def state(self) -> str:
        """The state of the run.

        ``finished``; ``pruned`` and not trained since; ``stopped`` before its last iteration; ``running?`` if it wrote
        within the last five minutes; ``empty`` before the first checkpoint; or ``damaged``.
        """
        if self.problem:
            return "damaged"
        unfinished = "running?" if self._wrote_recently() else "stopped" if self.has_checkpoint else "empty"
        if not self.has_checkpoint:
            return unfinished
        return "pruned" if self.last.pruned is not None else "finished" if self.last.is_finished else unfinished

    @cached_property
    def problem(self) -> str:
        """The damage to ``last`` or ``best`` in one line; empty without any."""
        try:
            if self.has_checkpoint:
                _check_files(self.last)
            if self.has_best:
                _check_files(self.best)
        except OSError as error:
            return f"{'/'.join(Path(str(error.filename)).parts[-2:])}: {error.strerror}"
        except UserError as error:
            return " ".join(str(error).removeprefix(f"{self.path}/checkpoints/").split())
        return ""

    def _wrote_recently(self) -> bool:
        files = (self.path / "metrics.jsonl", self.path / "config.yaml")
        return time.time() - max((file.stat().st_mtime for file in files if file.exists()), default=0.0) < _RECENT_S

    @cached_property
    def tables(self) -> dict[str, dict[str, Any]]:
        """The evaluation's reports by their names in ``TABLES``; tasks that were not evaluated are absent.

        Raises:
            UserError: a table is damaged.
        """
        files = {name: self.path / "evaluation" / f"{name}.json" for name in TABLES}
        return {name: read_table(file) for name, file in files.items() if file.is_file()}

    def arrays(self, name: str, needed: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Arrays of ``evaluation/<name>.npz``, a row per evaluated face, or None where there is no such file.

        Raises:
            UserError: unreadable, values that are not finite, or rows that do not increase or fit the values.
        """
        file = self.path / "evaluation" / f"{name}.npz"
        if not file.is_file():
            return None
        arrays = read_arrays(file, ("rows", *needed), kind="file of measured faces")
        sizes = {key: len(array) if array.ndim else None for key, array in arrays.items()}
        if len(set(sizes.values())) != 1 or arrays["rows"].ndim != 1:
            raise UserError(f"{file}: arrays of different lengths: {sizes}")
        if (np.diff(arrays["rows"]) <= 0).any():
            raise UserError(f"{file}: 'rows' do not increase")
        bad = [key for key, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
        if bad:
            raise UserError(f"{file}: '{bad[0]}' is not finite everywhere")
        return arrays


def _check_files(checkpoint: CheckpointInfo) -> None:
    """Raise OSError or UserError unless the other files of a checkpoint are there and not empty."""
    for name in ("model.safetensors", "trainer.pt"):
        if not Path(checkpoint.place, name).stat().st_size:
            raise UserError(f"{checkpoint.place}/{name}: empty")
