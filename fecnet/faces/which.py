"""Which faces of a picture are used: the option ``faces`` of all commands and functions that run a net."""

from __future__ import annotations

from typing import Literal, get_args

from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

Which = Literal["auto", "largest", "all", "whole"]

MEANING: dict[Which, str] = {
    "auto": "faces of packed data sets as they are; of any other picture the largest face",
    "largest": "the largest face",
    "all": "all faces, the highest detector score first",
    "whole": "the picture is a face already; no detection",
}
assert tuple(MEANING) == get_args(Which)


def check_which(faces: str, allowed: tuple[str, ...] = tuple(MEANING)) -> None:
    """Raise UserError unless ``faces`` is one of ``allowed``."""
    if faces not in allowed:
        raise UserError(f"faces: {shown(faces)}; allowed here: {', '.join(allowed)}")
