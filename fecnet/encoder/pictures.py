"""Converts all accepted forms of a picture to RGB pixels, or to a status if that fails.

Shape suffixes: N pictures, H, W, C height, width and channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fecnet.faces import decode, extract
from fecnet.faces.decode import Photo, read_photo, to_rgb
from fecnet.faces.extract import Box
from fecnet.utils.errors import UserError

OK = "ok"
STATUS = {
    OK: "there is a face with its outputs",
    **decode.REASONS,
    **extract.REASONS,
    "missing_file": "no such file",
    "cannot_open": "the file cannot be opened, or is none",
}

Item = str | Path | bytes | BinaryIO | np.ndarray | Tensor
Items = Item | Iterable[Item]
Boxes = Iterable[Box | None]  # one for each picture

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def each_item(items: Items) -> Iterator[Item]:
    """Each picture in turn, from any nesting that ``Encoder`` accepts; arrays and tensors as uint8 (H, W, C).

    Open files are read and replaced by their content.

    Raises:
        UserError: an array or tensor that is not a picture, a file opened as text, or another type.
        OSError: an open file that cannot be read.
    """
    if isinstance(items, str | Path | bytes):
        yield items
    elif callable(read := getattr(items, "read", None)):
        yield _content(read(), getattr(items, "name", "a file"))
    elif isinstance(items, np.ndarray | Tensor):
        array = _channels_last(items)
        yield from array if array.ndim == 4 else [array]
    elif isinstance(items, Iterable):
        for item in items:
            yield from each_item(item)
    else:
        allowed = "a path, an open file, bytes, a numpy array, a torch tensor, or several"
        raise UserError(f"picture: {type(items).__name__}; allowed: {allowed}")


def paired(items: Items, boxes: Boxes | None) -> Iterator[tuple[Item, Box | None]]:
    """Each picture with its box.

    Raises:
        UserError: the numbers of boxes and pictures differ; else see ``each_item``.
    """
    if boxes is None:
        yield from ((item, None) for item in each_item(items))
        return
    missing = object()
    for item, box in zip_longest(each_item(items), boxes, fillvalue=missing):
        if item is missing or box is missing:
            raise UserError("boxes: not as many as pictures; expected one each, or None in its place")
        yield item, box  # type: ignore[misc]


def _content(read: object, name: object) -> bytes:
    if not isinstance(read, bytes):
        raise UserError(f"picture: {name}: open as text; allowed: files opened with mode 'rb'")
    return read


def _channels_last(picture: np.ndarray | Tensor) -> np.ndarray:
    """uint8, shape (H, W, C) or (N, H, W, C)."""
    array = _tensor_pixels(picture) if isinstance(picture, Tensor) else picture
    if array.dtype != np.uint8:
        raise UserError(f"picture: array of {array.dtype} {array.shape}; allowed: uint8; float in 0..1 as a tensor")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim not in (3, 4) or array.shape[-1] not in (1, 2, 3, 4) or 0 in array.shape[-3:]:
        order = "tensors (C, H, W) or (N, C, H, W)" if isinstance(picture, Tensor) else "(H, W, C) or (N, H, W, C)"
        raise UserError(f"picture: shape {tuple(picture.shape)}; allowed: (H, W), {order}, with C of 1, 3 or 4")
    return array


def _tensor_pixels(picture: Tensor) -> np.ndarray:
    """uint8 with the channels last; float in 0..1 is rounded to the nearest of 256 levels, as in an image file."""
    picture = picture.detach().cpu()
    if picture.dtype.is_floating_point:
        picture = picture.float()
        if picture.numel() and not (picture.min() >= 0 and picture.max() <= 1):  # true for NaN too
            low, high = picture.min().item(), picture.max().item()
            raise UserError(f"picture: float tensor with values {low:g} to {high:g}; allowed: 0 to 1")
        picture = (picture * 255).round().to(torch.uint8)
    return (picture.movedim(-3, -1) if picture.ndim >= 3 else picture).numpy()


def as_photo(item: Item, *, halve: bool = False) -> Photo | str:
    """A picture as uint8 RGB, or a key of ``STATUS``; for ``halve`` see ``read_photo``.

    A file is decoded by ``decode_image``. An array, shape (H, W, C), is converted in the same way: grey is repeated,
    and RGBA is blended with white. The result shares no memory with the item, which the caller may overwrite.

    Raises:
        UserError: an array with an unsupported number of channels.
    """
    if isinstance(item, str | Path | bytes):
        return read_photo(item, halve=halve)
    assert isinstance(item, np.ndarray | Tensor)  # open files were replaced by their content in ``each_item``
    array = _channels_last(item)
    if array.ndim != 3 or array.shape[2] not in _MODES:
        raise UserError(f"picture: shape {array.shape}; allowed: (H, W, C) with C of 1, 3 or 4")
    if array.shape[2] == 3:
        return Photo(np.array(array, order="C"), 1)
    pixels = np.ascontiguousarray(array if array.shape[2] == 4 else array[..., 0])
    return Photo(np.asarray(to_rgb(Image.fromarray(pixels, _MODES[array.shape[2]]))), 1)
