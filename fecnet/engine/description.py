"""What a checkpoint says of itself: the one definition of ``meta.json``, read and checked once; torch is not needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fecnet.config.node import Frozen, load_config
from fecnet.utils.errors import CheckpointError, UserError
from fecnet.utils.typed_json import NOT_JSON, from_json, to_json

CHECKPOINT_FORMAT = 1
INFO_FILE = "meta.json"

Kind = Literal["embedding", "classifier", "joint", "affect"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What images a net takes.

    Attributes:
        height: of a stored face, pixels.
        width: likewise.
        channels: of a stored face, in order.
        faces: how pictures became faces: ``FaceRecipe.to_dict``.
        crop: side of the part that the net sees, as a fraction of the stored side.
        input_size: side of the net's input, pixels.
        mean: subtracted from each channel of the image in 0..1, inside the net.
        std: divides each channel after that, inside the net.
    """

    height: int
    width: int
    channels: list[str]
    faces: dict[str, Any]
    crop: float
    input_size: int
    mean: list[float]
    std: list[float]


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What tells a data set from another, wherever it lies: what ``dataset.json`` says, and the hash of its pixels."""

    name: str
    sources: dict[str, str]
    num_faces: int
    splits: dict[str, dict[str, Any]]
    height: int
    width: int
    channels: list[str]
    faces_sha256: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Code, versions and hardware of the training: ``fecnet.utils.env.provenance``, and the precision of the net."""

    fecnet: str
    commit: str | None
    torch: str
    python: str
    processor: str
    cores: int | None
    device: str
    threads: int
    world_size: int
    precision: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The split and the figure that select the best checkpoint, and what it was here, per cent."""

    split: str
    figure: str
    percent: float | None


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The last evaluation in training.

    Attributes:
        iteration: when.
        selection: None where nothing selects.
        splits: what was measured of each.
    """

    iteration: int
    selection: Selection | None
    splits: dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Export:
    """What became of an export.

    Attributes:
        name: of the file or folder.
        kind: its format.
        raw: the preprocessing is in the graph.
        source: run and iteration.
        fecnet: version.
        date: when.
        checked: what the comparison with the net found; absent before it.
    """

    name: str
    kind: str
    raw: bool
    source: str
    fecnet: str
    date: str
    checked: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """All that is needed to use the weights, in the order of ``meta.json``.

    Attributes:
        format: version.
        iteration: updates made; 0 of a pruned net.
        command: that started the training.
        started: when.
        kind: what the net gives.
        classes: in the order of the logits; empty where there are none.
        preprocessing: what images the net takes.
        data: the data set trained on.
        coverage: what of it was read, kept and dropped.
        config: all settings, plain; see ``settings``.
        provenance: code and hardware.
        pretraining: what the weights were trained on before; None = nothing.
        length: of the whole training, iterations; 0 of a pruned net.
        accuracy: None before the first evaluation.
        seconds: of training so far.
        pruned: what was removed, of a net that was pruned and not trained since.
        export: of an exported file.
        origin: file that says all this, for errors.
    """

    format: int
    iteration: int
    command: str
    started: str
    kind: Kind
    classes: list[str]
    preprocessing: Preprocessing
    data: DataInfo
    coverage: dict[str, Any]
    config: dict[str, Any]
    provenance: Provenance
    pretraining: str | None
    length: int
    accuracy: Accuracy | None
    seconds: float
    pruned: dict[str, Any] | None = None
    export: Export | None = None
    origin: str = field(default="", compare=False, metadata=NOT_JSON)

    @property
    def place(self) -> str:
        """The checkpoint folder or exported file, for errors."""
        return self.origin.removesuffix(f"/{INFO_FILE}")

    @property
    def is_finished(self) -> bool:
        """The training has reached its length."""
        return self.iteration >= self.length

    @property
    def selection(self) -> Selection | None:
        """What selects the best checkpoint; None where nothing does, or before the first evaluation."""
        return None if self.accuracy is None else self.accuracy.selection

    def settings(self, overrides: Sequence[str] = ()) -> Frozen:
        """The settings of the training, checked; ``overrides`` as of ``load_config``.

        Raises:
            CheckpointError: unknown keys or ill-typed values.
        """
        return load_config(overrides=overrides, base=self.config, base_name=self.origin)

    def to_dict(self) -> dict[str, Any]:
        """What ``parse_info`` reads, for JSON."""
        described: dict[str, Any] = to_json(self)
        return described if self.accuracy else {**described, "accuracy": {}}


def parse_info(text: str, origin: str) -> CheckpointInfo:
    """What a checkpoint, or a file that was exported from one, says of itself.

    Args:
        text: JSON.
        origin: where it stands, for errors.

    Raises:
        CheckpointError: not JSON, another format version, or a field that is absent, unknown or of another type.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{origin}: not a checkpoint description: {error}") from error
    version = found.get("format") if isinstance(found, dict) else None
    if version != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{origin}: checkpoint format {version!r}; this version reads {CHECKPOINT_FORMAT}")
    if found.get("accuracy") == {}:
        found["accuracy"] = None
    try:
        return replace(from_json(CheckpointInfo, found, origin), origin=origin)
    except UserError as error:
        raise CheckpointError(str(error)) from error
