"""Loads pretrained weights into a backbone: torchvision, facenet-pytorch, other projects' or fecnet's checkpoints.

Tensors are matched by name and shape. The report lists tensors that were not used and those that are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fecnet.utils.errors import UserError

_NESTED = ("state_dict", "model", "net")  # keys of the state dict in checkpoints with further content
_SHOWN = 6  # names printed per line of a report


@dataclass(frozen=True)
class LoadReport:
    """Result of loading, by tensor.

    Attributes:
        path: the file.
        prefix: removed from the names in the file.
        loaded: names in the module that were loaded from the file.
        converted: those of them that were adapted to the input channels, and how.
        skipped: names in the file that were not used, and why.
        missing: names in the module that are not in the file; they keep their values.
    """

    path: Path
    prefix: str
    loaded: tuple[str, ...]
    converted: Mapping[str, str]
    skipped: Mapping[str, str]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        removed = f", prefix {self.prefix!r} removed" if self.prefix else ""
        lines = [f"{self.path}: {len(self.loaded)} tensors loaded{removed}"]
        lines += [f"  converted: {name} ({how})" for name, how in self.converted.items()]
        lines.append(f"  not used: {_short(f'{name} ({why})' for name, why in self.skipped.items())}")
        lines.append(f"  missing: {_short(self.missing)}")
        return "\n".join(lines)


def load_pretrained(module: nn.Module, path: str | Path) -> LoadReport:
    """Load the tensors of a state dict that match ``module`` in name and shape.

    The state dict may be nested under ``state_dict``, ``model`` or ``net``, and its names may have any common prefix
    (``module.``, ``_orig_mod.``, ``backbone.``, …): the prefix whose removal matches most names is removed.
    ``shortcut`` in CIFAR nets is ``downsample`` here. Convolutions that read the image are adapted from three input
    channels to one by summing over them, which is equivalent for a grey image repeated in three channels. The weights
    of an additional mask channel are initialised to zero, so that it has no effect at first.

    Args:
        module: the backbone.
        path: ``.safetensors``, or a file of ``torch.save`` that holds tensors only.

    Raises:
        UserError: no such file, not loadable without executing code from it, or no tensor matches.
    """
    path = Path(path)
    tensors = _tensors(_read(path), path)
    targets = module.state_dict()
    image_convs = _image_conv_weights(module)
    prefix = _best_prefix(tensors, targets, image_convs)

    filled: dict[str, Tensor] = {}
    converted: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for source, tensor in tensors.items():
        name = _our_name(source.removeprefix(prefix))
        if not source.startswith(prefix) or name not in targets:
            skipped[source] = "no such name"
            continue
        fitting, how = _fit(tensor, targets[name].shape, may_convert=name in image_convs)
        if fitting is None:
            skipped[source] = f"shape {_size(tensor.shape)}, expected {_size(targets[name].shape)}"
            continue
        filled[name] = fitting
        if how:
            converted[name] = how
    # batch-norm counters match any net with batch norms: they alone do not count as a match
    if all(_is_counter(name) for name in filled):
        raise UserError(
            f"{path}: none of its {len(tensors)} tensors fits {type(module).__name__}: "
            f"the file has {_short(tensors, 3)}; expected {_short(targets, 3)}"
        )
    module.load_state_dict(filled, strict=False)
    # older files lack the batch-norm counters, which are not used here
    missing = tuple(name for name in targets if name not in filled and not _is_counter(name))
    return LoadReport(path, prefix, tuple(filled), converted, skipped, missing)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise many different exceptions
        why = "damaged" if path.suffix == ".safetensors" else "damaged, or refused because it holds more than tensors"
        raise UserError(f"{path}: cannot be read: {why} ({type(error).__name__})") from error


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, without the surrounding content of a training checkpoint."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path}: holds no state dict (a mapping of names to tensors)")
    return tensors


def _best_prefix(tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor], image_convs: set[str]) -> str:
    """The prefix whose removal matches most names and shapes; the shortest in a tie."""
    votes: Counter[str] = Counter()
    for source, tensor in tensors.items():
        parts = source.split(".")
        for i in range(len(parts)):
            rest = ".".join(parts[i:])
            name = _our_name(rest)
            if name in targets and _fit(tensor, targets[name].shape, may_convert=name in image_convs)[0] is not None:
                votes[source.removesuffix(rest)] += 1
    return min(votes, key=lambda prefix: (-votes[prefix], len(prefix)), default="")


def _our_name(name: str) -> str:
    """Our name of a tensor: ``shortcut``, as in CIFAR code and the FER2013 system's ResNet18, is ``downsample``."""
    return name.replace(".shortcut.", ".downsample.")


def _fit(tensor: Tensor, shape: torch.Size, *, may_convert: bool) -> tuple[Tensor | None, str]:
    """``tensor`` in the required shape and how it was converted, or None where that is impossible."""
    if tensor.shape == shape:
        return tensor, ""
    if may_convert and tensor.ndim == 4 and tensor.shape[1] == 3 and len(shape) == 4:
        grey = tensor.sum(dim=1, keepdim=True)
        nothing = torch.zeros_like(grey)
        fitting, how = {
            1: (grey, "3 input channels summed into 1"),
            2: (
                torch.cat((grey, nothing), dim=1),
                "3 input channels summed into 1, and one of zeros added for the mask",
            ),
            4: (torch.cat((tensor, nothing), dim=1), "a fourth input channel of zeros added for the mask"),
        }.get(shape[1], (tensor, ""))
        if fitting.shape == shape:
            return fitting, how
    return None, ""


def _image_conv_weights(module: nn.Module) -> set[str]:
    """Weights of the first convolution and those with as many input channels: Deep-Emotion reads the image twice."""
    convs = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
    num_channels = next((layer.in_channels for layer in convs.values()), 0)
    return {f"{name}.weight".removeprefix(".") for name, layer in convs.items() if layer.in_channels == num_channels}


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _size(shape: torch.Size) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _short(names: Iterable[str], shown: int = _SHOWN) -> str:
    every = list(names)
    more = f", and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more or "none"
