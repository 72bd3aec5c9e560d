"""Views of a face for evaluation (test-time augmentation): the centre, with horizontal flip, or ten crops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from fecnet.data.augment import center_view, window_view

View = Callable[[Tensor], Tensor]

_FIVE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # corners and centre, (y, x)


def center(input_size: int, crop: float) -> list[View]:
    """The central window only."""
    return [partial(center_view, input_size=input_size, crop=crop)]


def flip(input_size: int, crop: float) -> list[View]:
    """The central window of the face and of its horizontal flip."""
    return _with_mirrored(center(input_size, crop))


def ten_crop(input_size: int, crop: float) -> list[View]:
    """Windows in the four corners and the centre, of the face and of its horizontal flip.

    As published for FER2013 (github.com/WuJie1010/Facial-Expression-Recognition.Pytorch): 44 of 48 pixels, in the order
    of torchvision's ``ten_crop``.
    """
    return _with_mirrored([partial(window_view, input_size=input_size, crop=crop, place=place) for place in _FIVE])


def _with_mirrored(views: list[View]) -> list[View]:
    return [*views, *(partial(_mirrored, view) for view in views)]


def _mirrored(view: View, image_NCHW: Tensor) -> Tensor:
    return view(image_NCHW.flip(3))
