"""Values of files and options as text for messages: short, whatever they are."""

from __future__ import annotations

import reprlib
from typing import Any

_MOST = 200  # characters
_MOST_BITS = 600  # of a whole number: Python writes none of more than 4,300 digits


class _Short(reprlib.Repr):
    """``repr`` of a few items of a few levels: a value may hold itself many times over, as aliases of YAML do."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxother = 3, _MOST
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 10

    def repr_int(self, x: int, level: int) -> str:
        """The digits of a number, or its number of bits where it is huge."""
        return repr(x) if x.bit_length() <= _MOST_BITS else f"a number of {x.bit_length()} bits"

    def repr_str(self, x: str, level: int) -> str:
        """The beginning of a text: a reader recognises it by that."""
        return repr(x[: _MOST + 1])


_SHORT = _Short()


def shown(value: Any, most: int = _MOST) -> str:
    """``repr`` of a value, cut to ``most`` characters; a huge value is never written out in memory."""
    return cut(_SHORT.repr(value), most)


def cut(text: str, most: int = _MOST) -> str:
    """A text in one line, cut to ``most`` characters."""
    text = " ".join(text[: 4 * most].split())
    return text if len(text) <= most else f"{text[:most]}…"


def printable(text: str) -> str:
    """A text without what a terminal would obey: characters that are not shown are escaped, but line ends."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark == "\n" else _escaped(mark) for mark in text)


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode()
