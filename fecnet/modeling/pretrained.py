"""Loads pretrained weights into a net: torchvision, facenet-pytorch, other projects' or fecnet's checkpoints.

Tensors are matched by name and shape. A file that does not cover the net is refused: a few tensors fit nearly any net.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fecnet.modeling.proposals import fitting_backbones
from fecnet.modeling.weight_files import read_state_dicts
from fecnet.modeling.weight_names import Match, Places, adapt, best_matches, is_counter
from fecnet.utils.errors import UserError

_SHOWN = 6  # names printed per line of a report
_SHOWN_IN_ERROR = 3
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class LoadReport:
    """Result of loading, by tensor.

    Attributes:
        path: the file.
        prefix: removed from the names in the file.
        loaded: names in the module that were loaded from the file.
        converted: names of loaded tensors that were adapted to the number of input channels, and how.
        skipped: names in the file that were not used, and why.
        missing: names in the module that are not in the file; they keep their values.
        place: keys of the state dict in the file, joined by dots; empty where the file is the state dict.
        children: where the net was saved as an ``nn.Sequential`` of its children: their names by number; else None.
        others: places and prefixes of other tensors in the file that fit as well.
    """

    path: Path
    prefix: str
    loaded: tuple[str, ...]
    converted: Mapping[str, str]
    skipped: Mapping[str, str]
    missing: tuple[str, ...]
    place: str = ""
    children: Mapping[str, str] | None = None
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        removed = f", prefix {self.prefix!r} removed" if self.prefix else ""
        taken = f", of {self.place!r}" if self.place else ""
        lines = [f"{self.path}: {len(self.loaded)} tensors loaded{removed}{taken}"]
        if self.others:
            lines.append(f"  fit too, not loaded: {_short(self.others)}")
        if self.children:
            named = (f"{number} is {name}" for number, name in self.children.items())
            lines.append(f"  saved as a sequence: {_short(named)}")
        lines += [f"  converted: {name} ({how})" for name, how in self.converted.items()]
        lines.append(f"  not used: {_short(f'{name} ({why})' for name, why in self.skipped.items())}")
        lines.append(f"  missing: {_short(self.missing)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class FoundWeights:
    """The tensors of a file that fit a net best, not loaded yet.

    Attributes:
        report: what will be loaded.
        tensors: tensors by name in the net, with the net's shapes.
        match: how the names were matched.
        shapes: shapes of all tensors of the state dict, by name in the file.
    """

    report: LoadReport
    tensors: Mapping[str, Tensor]
    match: Match
    shapes: Mapping[str, torch.Size]


def load_pretrained(module: nn.Module, path: str | Path) -> LoadReport:
    """Load a state dict that covers ``module``, by name and shape.

    The state dict may be under any keys, and its names may have any common prefix (``module.``, ``_orig_mod.``,
    ``backbone.``, …), or be those of an ``nn.Sequential`` of the net's children (``features.4.0.conv1.weight``).
    ``shortcut`` in CIFAR nets is ``downsample`` here. Convolutions that read the image are adapted from three input
    channels to one by summing over them, which is equivalent for a grey image repeated in three channels. The weights
    of an additional mask channel are initialised to zero, so that it has no effect at first.

    Args:
        module: the backbone.
        path: ``.safetensors``, or a file of ``torch.save``; nothing in it is executed.

    Raises:
        UserError: no such file, damaged, or not readable without executing code from it; or it does not cover
            ``module`` (the first convolution may have another number of input channels), or belongs to a deeper net.
    """
    found = find_weights(module, path)
    if not found.match.is_whole:
        raise UserError(_why_not(module, found))
    module.load_state_dict(dict(found.tensors), strict=False)
    return found.report


def find_weights(module: nn.Module, path: str | Path) -> FoundWeights:
    """The state dict of the file that fits ``module`` best, whether it covers it or not.

    Raises:
        UserError: no such file, damaged, or not readable without executing code from it; or a tensor that fits is
            quantised, sparse or not finite.
    """
    path, places = Path(path), Places.of(module)
    found = []
    for place, tensors in read_state_dicts(path).items():
        shapes = {name: value.shape for name, value in tensors.items()}
        found += [(match, place, tensors) for match in best_matches(shapes, places)]
    match, place, tensors = max(found, key=lambda item: (item[0].is_whole, item[0].num_fitting))  # the first of equals
    for source, name in match.names.items():
        if not is_counter(name) and (problem := weight_problem(tensors[source])):
            raise UserError(f"{path}: {'.'.join(filter(None, (place, source)))} {problem}")
    filled = _filled(match, tensors, places)
    others = [
        " ".join(filter(None, (other_place, other.reading.prefix))) or "the outermost tensors"
        for other, other_place, others_tensors in found
        if other.is_whole and not _same(_filled(other, others_tensors, places), filled)
    ]
    report = LoadReport(
        path=path,
        prefix=match.reading.prefix,
        loaded=tuple(filled),
        converted=match.converted,
        skipped=match.skipped,
        missing=match.missing,
        place=place,
        children=match.reading.children,
        others=tuple(others),
    )
    return FoundWeights(report, filled, match, {name: value.shape for name, value in tensors.items()})


def _filled(match: Match, tensors: Mapping[str, Tensor], places: Places) -> dict[str, Tensor]:
    filled = {name: tensors[source] for source, name in match.names.items()}
    return filled | {name: adapt(filled[name], places.shapes[name][1]) for name in match.converted}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)


def _equal(one: Tensor, other: Tensor) -> bool:
    kinds = {(tensor.dtype, tensor.layout, tensor.device.type) for tensor in (one, other)}
    return len(kinds) == 1 and torch.equal(one, other)  # which compares no tensors of two kinds


def weight_problem(tensor: Tensor) -> str:
    """Why a tensor cannot be a weight, else empty; copying integers, for example, would silently change the scale."""
    if tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.is_meta:
        kind = "without values" if tensor.is_meta else str(tensor.dtype).removeprefix("torch.")
        kind = kind if tensor.layout == torch.strided else f"sparse {kind}"
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
        return f"is {kind}, as of a quantised or packed net; allowed: dense {allowed}"
    return "" if tensor.isfinite().all() else "has values that are not finite: the net diverged, or the file is damaged"


def _why_not(module: nn.Module, found: FoundWeights) -> str:
    """Why a file was refused, in one line: what fits, what is missing, and which backbones the file fits."""
    net, match, names = type(module).__name__, found.match, list(found.shapes)
    needed = [name for name in module.state_dict() if not is_counter(name)]
    place = f" ('{found.report.place}')" if found.report.place else ""
    if not match.num_fitting:
        said = f"none of its {len(names)} tensors{place} fits {net}: the file has {_short(names, _SHOWN_IN_ERROR)}; "
        said += f"expected {_short(needed, _SHOWN_IN_ERROR)}"
    else:
        said = f"does not cover {net}: " if match.uncovered else f"has more tensors than {net}: "
        said += f"{match.num_fitting} of the net's {len(needed)} tensors fit{place}"
        if match.uncovered:
            reasons = _reasons(match)
            lacking = [f"{name} ({reasons[name]})" if name in reasons else name for name in match.uncovered]
            said += f"; no weights for {_short(lacking, _SHOWN_IN_ERROR)}"
        if match.left_over:
            said += f"; unused inside the net: {_short(match.left_over, _SHOWN_IN_ERROR)}"
    fitting = fitting_backbones(found.shapes, Places.of(module).in_channels)
    advice = f"it fits: {' or '.join(fitting)}" if fitting else "it fits no backbone of fecnet"
    return f"{found.report.path}: {said}; {advice}"


def _reasons(match: Match) -> dict[str, str]:
    named = {match.reading.name(source): why for source, why in match.skipped.items() if why.startswith("shape")}
    return {name: why for name, why in named.items() if name is not None}


def _short(names: Iterable[str], shown: int = _SHOWN) -> str:
    every = list(names)
    more = f", and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more or "none"
