"""Matches the tensors of a state dict with those of a net: by name, with any prefix, and by shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Places:
    """The tensors of a net.

    Attributes:
        shapes: shape of each tensor, by name.
        image_convs: names of the weights of convolutions that read the image; their input channels may differ.
        sequences: names of children in order: of the net, and of a child that is the only one.
    """

    shapes: Mapping[str, torch.Size]
    image_convs: frozenset[str]
    sequences: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Places:
        """The tensors of a module; the first convolution, and those with as many input channels, read the image."""
        convs = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
        channels = next((layer.in_channels for layer in convs.values()), 0)
        read = {f"{name}.weight".removeprefix(".") for name, layer in convs.items() if layer.in_channels == channels}
        shapes = {name: value.shape for name, value in module.state_dict().items()}
        return cls(shapes, frozenset(read), _sequences(shapes))

    @property
    def in_channels(self) -> int:
        """Channels of the image; 0 without a convolution."""
        return next((shape[1] for name, shape in self.shapes.items() if name in self.image_convs), 0)


def _sequences(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    found, depth = [], 0
    while True:
        split = [name.split(".") for name in names]
        children = dict.fromkeys(".".join(parts[: depth + 1]) for parts in split if len(parts) > depth + 1)
        found.append(tuple(children))
        if len(children) != 1:
            return tuple(found)
        depth += 1


@dataclass(frozen=True)
class Reading:
    """How the names in a file are mapped to those of a net.

    Attributes:
        prefix: removed from the names in the file; names without it do not belong to the net.
        children: where the net was saved as an ``nn.Sequential`` of its children: their names by number.
    """

    prefix: str = ""
    children: Mapping[str, str] = field(default_factory=dict)

    def name(self, source: str) -> str | None:
        """The name in the net, or None."""
        if not source.startswith(self.prefix):
            return None
        rest = source.removeprefix(self.prefix)
        if self.children:
            number, _, rest = rest.partition(".")
            if number not in self.children:
                return None
            rest = f"{self.children[number]}.{rest}"
        return _our_name(rest)


@dataclass(frozen=True)
class Match:
    """The part of a state dict that fits a net.

    Attributes:
        reading: how the names were mapped.
        names: name in the net by name in the file, of the tensors that fit.
        converted: how the input channels are adapted, by name in the net, of the fitting tensors that need it.
        skipped: names in the file that do not fit, and why.
        missing: names in the net without a tensor in the file, except counters of batch norms.
        uncovered: the missing names that are not explained by another number of image channels.
        left_over: names in the file of unused tensors inside a module of the net that has other tensors in the file.
    """

    reading: Reading
    names: Mapping[str, str]
    converted: Mapping[str, str]
    skipped: Mapping[str, str]
    missing: tuple[str, ...]
    uncovered: tuple[str, ...]
    left_over: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the file covers the net and does not belong to a deeper one."""
        return bool(self.num_fitting) and not self.uncovered and not self.left_over

    @property
    def num_fitting(self) -> int:
        """Number of tensors that fit, without counters of batch norms, which fit any net."""
        return sum(not is_counter(name) for name in self.names.values())


def best_matches(shapes: Mapping[str, torch.Size], places: Places) -> list[Match]:
    """The matches of the readings with the most fitting tensors, the one with the shortest prefix first."""
    readings = _readings(shapes, places)
    votes: Counter[int] = Counter()
    for source, shape in shapes.items():
        if is_counter(source):  # they fit any net with batch norms
            continue
        parts = source.split(".")
        for i in range(len(parts)):
            for number, reading in readings[_prefix(parts[:i])]:
                name = reading.name(source)
                votes[number] += name is not None and _fit(shape, name, places) is not None
    every = [reading for found in readings.values() for _, reading in found]
    most = max(votes.values(), default=0)
    best = [reading for number, reading in enumerate(every) if votes[number] == most] if most else every[:1]
    return [_match(shapes, places, reading) for reading in sorted(best, key=lambda reading: len(reading.prefix))]


def _readings(names: Iterable[str], places: Places) -> dict[str, list[tuple[int, Reading]]]:
    """All readings, numbered, by prefix: the names as they are, and numbers read as those of an ``nn.Sequential``."""
    numbers: dict[str, set[str]] = {}
    for source in names:
        parts = source.split(".")
        for i, part in enumerate(parts):
            found = numbers.setdefault(_prefix(parts[:i]), set())
            if part.isdecimal() and i + 1 < len(parts):
                found.add(part)
    number = count()
    readings: dict[str, list[tuple[int, Reading]]] = {}
    for prefix, found in numbers.items():
        in_order = sorted(found, key=int)
        # children without tensors, such as activations, leave gaps in the numbers
        sequences = (dict(zip(in_order, children, strict=False)) for children in places.sequences if in_order)
        every = [Reading(prefix), *(Reading(prefix, children) for children in sequences)]
        readings[prefix] = [(next(number), reading) for reading in every]
    return readings


def adapt(tensor: Tensor, channels: int) -> Tensor:
    """Convert a convolution's weights for three colours to ``channels`` input channels; the last may be a mask."""
    grey = tensor.sum(dim=1, keepdim=True)
    nothing = torch.zeros_like(grey)
    return {1: grey, 2: torch.cat((grey, nothing), dim=1), 4: torch.cat((tensor, nothing), dim=1)}[channels]


_ADAPTED = {  # from three input channels to other numbers
    1: "3 input channels summed into 1",
    2: "3 input channels summed into 1, and one of zeros added for the mask",
    4: "a fourth input channel of zeros added for the mask",
}


def is_counter(name: str) -> bool:
    """Whether a name is that of a batch norm's counter, which older files lack and which is not used here."""
    return name.endswith("num_batches_tracked")


def size(shape: Iterable[int]) -> str:
    """A shape for a message."""
    return "×".join(map(str, shape)) or "scalar"


def _match(shapes: Mapping[str, torch.Size], places: Places, reading: Reading) -> Match:
    names, converted, skipped = {}, {}, {}
    other_channels = set()
    inside = {}
    for source, shape in shapes.items():
        name = reading.name(source)
        if name is None or name not in places.shapes:
            skipped[source] = "no such name"
            if name is not None and not is_counter(name):
                inside[source] = name.partition(".")[0]
            continue
        how = _fit(shape, name, places)
        if how is None:
            skipped[source] = f"shape {size(shape)}, expected {size(places.shapes[name])}"
            if name in places.image_convs and _is_of_other_channels(shape, places.shapes[name]):
                other_channels.add(name)
            continue
        names[source] = name
        if how:
            converted[name] = how
    there = set(names.values())
    missing = tuple(name for name in places.shapes if name not in there and not is_counter(name))
    parts = {name.partition(".")[0] for name in there}
    return Match(
        reading=reading,
        names=names,
        converted=converted,
        skipped=skipped,
        missing=missing,
        uncovered=tuple(name for name in missing if name not in other_channels),
        left_over=tuple(source for source, part in inside.items() if part in parts),
    )


def _prefix(parts: Sequence[str]) -> str:
    return "".join(f"{part}." for part in parts)


def _our_name(name: str) -> str:
    """The name of a tensor here: ``shortcut`` of CIFAR nets and of the FER2013 system's ResNet18 is ``downsample``."""
    return name.replace(".shortcut.", ".downsample.")


def _fit(shape: torch.Size, name: str, places: Places) -> str | None:
    """How a tensor of this shape is adapted, empty where it fits as it is, or None where it does not fit."""
    expected = places.shapes.get(name)
    if expected is None:
        return None
    if shape == expected:
        return ""
    adaptable = name in places.image_convs and _is_of_other_channels(shape, expected) and shape[1] == 3
    return _ADAPTED.get(expected[1]) if adaptable else None


def _is_of_other_channels(shape: torch.Size, expected: torch.Size) -> bool:
    return len(shape) == len(expected) == 4 and (shape[0], *shape[2:]) == (expected[0], *expected[2:])
