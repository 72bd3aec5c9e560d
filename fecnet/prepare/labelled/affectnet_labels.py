"""The labels of AffectNet: expressions, valence and arousal."""

from __future__ import annotations

from collections.abc import Collection

from fecnet.prepare.labelled.class_labels import class_indices, is_missing
from fecnet.prepare.text_rows import number, whole_number
from fecnet.utils.errors import DataError

AFFECTNET_CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")  # 0..7
_NO_EMOTION = {8: "none", 9: "uncertain", 10: "not_a_face"}
_NO_EMOTION_WORDS = {"none": 8, "uncertain": 9, **dict.fromkeys(("no-face", "non-face", "no face", "noface"), 10)}


def expressions(written: Collection[str], name: str) -> dict[str, int | str]:
    """Index of the class of each label, or the reason why there is none.

    Args:
        written: the labels of all rows that are read together: numbers, also as decimals, or words.
        name: name of the list, for messages.

    Raises:
        DataError: a word that is no expression, or numbers that may start at 1.
    """
    codes = {text: _code(text) for text in written}
    numbers = {whole_number(text) for text in written}
    if 8 in numbers and not numbers & {0, 9, 10}:
        raise DataError(f"{name}: labels to 8, but no 0, 9 or 10: counted from 1?; allowed: 0 neutral to 7, 8 none")
    index = class_indices([text for text, code in codes.items() if code not in _NO_EMOTION], AFFECTNET_CLASSES, name)
    return {text: index.get(text, _reason(text, code)) for text, code in codes.items()}


def _code(text: str) -> int | None:
    word = _NO_EMOTION_WORDS.get(text.strip().lower())
    return whole_number(text) if word is None else word


def _reason(text: str, code: int | None) -> str:
    if code in _NO_EMOTION:
        return _NO_EMOTION[code]
    return "no_label" if is_missing(text) else "unknown_label"


def affect(valence: str, arousal: str) -> tuple[float, float] | None:
    """Both, or None where one is not in -1..1; the lists write -2 for missing."""
    pair = number(valence), number(arousal)
    return pair if all(abs(value) <= 1 for value in pair) else None


def outside_affect(valence: str, arousal: str) -> bool:
    """Whether a value is neither in -1..1 nor -2 (missing), so that the list has another scale."""
    return any(abs(value) > 1 and value != -2 for value in (number(valence), number(arousal)))
