"""Draws a box around each face of a frame, labelled with its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fecnet.encoder.pictures import OK
from fecnet.watch.faces import FacePrediction

_COLOURS = {True: "lime", False: "silver"}  # colour of a face with and without predictions


def draw_faces(image_HWC: np.ndarray, faces: Sequence[FacePrediction], corner: str = "") -> np.ndarray:
    """A copy of the frame with annotated faces.

    Args:
        image_HWC: uint8, shape (H, W, 3), RGB; not modified.
        faces: the faces of the frame.
        corner: text for the lower left corner.

    Returns:
        uint8, shape (H, W, 3).
    """
    image = Image.fromarray(image_HWC)
    pen = ImageDraw.Draw(image)
    letters = max(10, min(image.size) // 30)  # pixels
    pen.font = _font(letters)
    for face in faces:
        pen.rectangle(face.box_4.tolist(), outline=_COLOURS[face.status == OK], width=max(1, letters // 6))
    for face in faces:  # above all boxes
        _label(pen, face, image.width)
    if corner:
        _text(pen, (0, image.height - _size(pen, corner)[1]), corner, "white")
    return np.asarray(image)


def describe(face: FacePrediction) -> list[str]:
    """The predictions for a face as lines of text, or the reason why there are none."""
    if face.status != OK:
        return [face.status]
    lines = []
    if face.expression is not None and face.probability is not None:
        lines.append(f"{face.expression} {100 * face.probability:.0f} %")
    if face.affect is not None:
        lines.append("valence {:+.2f} arousal {:+.2f}".format(*face.affect))
    if face.to_reference is not None:
        lines.append(f"to reference {face.to_reference:.2f}")
    if face.change is not None:
        lines.append(f"change {face.change:.2f}")
    return lines


def _label(pen: Any, face: FacePrediction, frame_width: int) -> None:
    """Above the box, or in it where there is no room, and never beyond the frame's left, right and upper edge."""
    text = "\n".join(describe(face))
    if not text:
        return
    width, height = _size(pen, text)
    left, top = face.box_4[:2].tolist()
    above = top - height
    corner = (max(0, min(left, frame_width - width)), above if above >= 0 else max(0, top))
    _text(pen, corner, text, _COLOURS[face.status == OK])


def _text(pen: Any, corner: tuple[float, float], text: str, colour: str) -> None:
    width, height = _size(pen, text)
    left, top = (int(edge) for edge in corner)
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill="black")
    pen.text((left + 2, top), text, fill=colour)


def _size(pen: Any, text: str) -> tuple[int, int]:
    _, _, right, bottom = pen.textbbox((0, 0), text)
    return int(right) + 4, int(bottom) + 3


@lru_cache
def _font(letters: int) -> Any:
    return ImageFont.load_default(letters)
