"""Metadata of a checkpoint: the definition of ``meta.json``, read and validated here only; does not import torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fecnet.config.node import Frozen, load_config
from fecnet.utils.errors import CheckpointError, UserError
from fecnet.utils.shown import shown
from fecnet.utils.typed_json import NOT_JSON, check_json, from_json, to_json
from fecnet.utils.versioned import parse_versioned

CHECKPOINT_FORMAT = 1  # increased for each change that an older version misreads or refuses: docs/formats.md
INFO_FILE = "meta.json"
_MOST_PIXELS = 10_000  # maximum side of a face, so that a damaged file does not allocate huge memory

Kind = Literal["embedding", "classifier", "joint", "affect"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Input images that a net expects.

    Attributes:
        height: height of a stored face, pixels.
        width: width of a stored face, pixels.
        channels: names of the channels of a stored face, in order.
        faces: how faces were extracted from photos: ``FaceRecipe.to_dict``.
        crop: side of the crop that is the net's input, as a fraction of the stored side.
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
    """Identity of a data set, independent of its path: the content of ``dataset.json`` and the hash of its pixels."""

    name: str
    sources: dict[str, str]
    num_faces: int
    splits: dict[str, dict[str, Any]]
    height: int
    width: int
    channels: list[str]
    faces_sha256: str


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """Code, versions and hardware (``fecnet.utils.env.provenance``)."""

    fecnet: str
    commit: str | None
    torch: str
    python: str
    processor: str
    cores: int | None
    device: str
    threads: int
    world_size: int


@dataclass(frozen=True, kw_only=True)
class Provenance(MadeBy):
    """What made the training, and the numerical precision."""

    precision: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The split and the metric that select the best checkpoint, and the metric's value here.

    Attributes:
        split: name of the split.
        figure: name of the metric.
        percent: its value, %.
    """

    split: str
    figure: str
    percent: float | None


@dataclass(frozen=True, kw_only=True)
class Count:
    """Counts of evaluated triplets of one kind.

    Attributes:
        right: number of triplets on which net and raters agree.
        total: number of all triplets.
        percent: accuracy, %; None without triplets, or for a collapsed embedding.
    """

    right: int
    total: int
    percent: float | None


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """The metrics of a split that are read back: of triplets by type, and of classes."""

    ONE: Count | None = None
    TWO: Count | None = None
    THREE: Count | None = None
    ALL: Count | None = None
    accuracy: float | None = None
    total: list[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The last evaluation during training.

    Attributes:
        iteration: iteration after which it took place.
        selection: None where no metric selects the best checkpoint.
        splits: metrics of each split.
    """

    iteration: int
    selection: Selection | None
    splits: dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported net.

    Attributes:
        name: name of the file or folder.
        kind: its format.
        raw: whether the preprocessing is part of the graph.
        source: run and iteration of the net.
        fecnet: version of fecnet.
        date: date of the export.
        checked: result of the comparison with the original net; None before the comparison.
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
    """Everything needed to use the weights, in the order of ``meta.json``.

    Attributes:
        format: version of the format.
        iteration: number of updates; 0 for a pruned net.
        command: command line that started the training.
        started: date and time of the start.
        kind: task of the net.
        classes: class names in the order of the logits; empty where there are none.
        preprocessing: input images that the net expects.
        data: the data set trained on.
        coverage: what was read, kept and dropped when it was made.
        config: all settings as plain values; see ``settings``.
        provenance: code and hardware.
        pretraining: what the weights were pretrained on; None = nothing.
        length: length of the whole training, iterations; 0 for a pruned net.
        accuracy: the last evaluation; None before the first one.
        seconds: training time so far, seconds.
        pruned: what was removed, for a net that was pruned and not trained since; else None.
        export: description of the export, for an exported net; else None.
        extra_classes: class names of each of ``DATA.EXTRA_LABELS`` by its name; None where there are none.
        choice_scale: scale of the choice probabilities (``fecnet.layers.choice``); None where no criterion has one.
        origin: file that this was read from, for error messages.
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
    extra_classes: dict[str, list[str]] | None = None
    choice_scale: float | None = None
    origin: str = field(default="", compare=False, metadata=NOT_JSON)

    @property
    def label_sets(self) -> dict[str, list[str]]:
        """The classes by name of the label set, those of ``DATA.LABELS`` first; empty where there are none."""
        return {self.settings().DATA.LABELS: self.classes, **(self.extra_classes or {})} if self.classes else {}

    @property
    def extra_sizes(self) -> dict[str, int]:
        """Number of classes of each of ``DATA.EXTRA_LABELS``, in order."""
        return {name: len(classes) for name, classes in (self.extra_classes or {}).items()}

    @property
    def place(self) -> str:
        """The checkpoint folder or exported file, for error messages."""
        return self.origin.removesuffix(f"/{INFO_FILE}")

    @property
    def is_finished(self) -> bool:
        """Whether training has reached its full length."""
        return self.iteration >= self.length

    @property
    def selection(self) -> Selection | None:
        """The selection of the best checkpoint; None where there is none, or before the first evaluation."""
        return None if self.accuracy is None else self.accuracy.selection

    def settings(self, overrides: Sequence[str] = ()) -> Frozen:
        """The settings of the training, validated; ``overrides`` as in ``load_config``.

        Raises:
            CheckpointError: unknown keys or values of a wrong type.
        """
        return load_config(overrides=overrides, base=self.config, base_name=self.origin)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``parse_info`` reads them."""
        described: dict[str, Any] = to_json(self)
        return described if self.accuracy else {**described, "accuracy": {}}


def parse_info(text: str, origin: str) -> CheckpointInfo:
    """Parse the metadata of a checkpoint or of an exported net.

    Args:
        text: JSON.
        origin: file it was read from, for error messages.

    Raises:
        CheckpointError: not JSON, an unsupported format version, or a field that is absent, unknown, of a wrong type or
            out of range.
    """
    found = parse_versioned(text, origin, "a checkpoint description", CHECKPOINT_FORMAT, CheckpointError)
    if found.get("accuracy") == {}:
        found["accuracy"] = None
    try:
        info = replace(from_json(CheckpointInfo, found, origin), origin=origin)
        for split, figures in info.accuracy.splits.items() if info.accuracy else ():
            check_json(_Figures, figures, origin, f"accuracy.splits.{split}")
    except UserError as error:
        raise CheckpointError(str(error)) from error
    if info.choice_scale is not None and not 0 < info.choice_scale < math.inf:
        raise CheckpointError(f"{origin}: 'choice_scale' is {info.choice_scale}; allowed: above 0, or null")
    for key in ("height", "width", "input_size"):
        if not 1 <= (side := getattr(info.preprocessing, key)) <= _MOST_PIXELS:
            raise CheckpointError(f"{origin}: 'preprocessing.{key}' is {shown(side)}; allowed: 1..{_MOST_PIXELS}")
    return info
