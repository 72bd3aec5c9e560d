"""Finds the state dicts in a file: mappings of names to tensors, under any keys of its content."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fecnet.modeling import dlib_file
from fecnet.modeling.plain_pickle import LeftOut, load_plain, refusal
from fecnet.utils.errors import UserError


def read_state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """The named tensors of each mapping that has some, by the keys that lead to it, joined by dots; outer ones first.

    Args:
        path: ``.safetensors``; a file of ``torch.save`` with any further content; or dlib's
            ``dlib_face_recognition_resnet_model_v1.dat``.

    Raises:
        UserError: no such file; damaged; refused, since reading its tensors would execute code from the file; or it has
            no named tensors.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder; allowed: a file of weights, such as the model.safetensors of a checkpoint")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == dlib_file.SUFFIX:
        return {"": dlib_file.read_dlib_resnet(path)}
    content = _load_safetensors(path) if path.suffix == ".safetensors" else load_plain(path)
    found = {}
    for keys, part in _parts(content):
        if isinstance(part, Mapping):
            tensors = {str(name): value.detach() for name, value in part.items() if isinstance(value, Tensor)}
            if tensors:
                found[".".join(map(str, keys))] = tensors
    if not found:
        raise UserError(_why_none(path, content))
    return found


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (RuntimeError, SafetensorError) as error:  # RuntimeError: torch cannot map the file
        raise UserError(f"{path}: unreadable, damaged, or not safetensors ({error})") from error


def _why_none(path: Path, content: Any) -> str:
    for keys, part in _parts(content):
        if isinstance(part, LeftOut) and any(isinstance(value, Tensor) for _, value in _parts(part, into_objects=True)):
            of_module = any(isinstance(state, Mapping) and "_parameters" in state for state in part.held)
            place = "content" + "".join(f"[{key!r}]" for key in keys)
            return refusal(path, type(part).__name__, save=f"{place}.state_dict()" if of_module else "")
    return f"{path}: holds no state dict (a mapping of names to tensors)"


def _parts(content: Any, *, into_objects: bool = False) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All nested items of mappings and sequences, with the keys that lead to them; the content itself first."""
    waiting: deque[tuple[tuple[Any, ...], Any]] = deque([((), content)])
    seen: set[int] = set()
    while waiting:
        keys, part = waiting.popleft()
        yield keys, part
        if id(part) not in seen:
            seen.add(id(part))
            waiting.extend(((*keys, key), value) for key, value in _inside(part, into_objects))


def _inside(part: Any, into_objects: bool) -> Iterable[tuple[Any, Any]]:
    if isinstance(part, Mapping):
        return part.items()
    if isinstance(part, LeftOut):
        return enumerate(part.held) if into_objects else ()
    return enumerate(part) if isinstance(part, (list, tuple)) else ()
