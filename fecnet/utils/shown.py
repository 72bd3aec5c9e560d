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
        """Its digits, or how many bits it has."""
        return repr(x) if x.bit_length() <= _MOST_BITS else f"a number of {x.bit_length()} bits"

    def repr_str(self, x: str, level: int) -> str:
        """Its beginning: that is where a reader looks for it."""
        return repr(x[: _MOST + 1])


_SHORT = _Short()


def shown(value: Any, most: int = _MOST) -> str:
    """``repr`` of a value, cut to so many characters; a huge value takes no memory."""
    return cut(_SHORT.repr(value), most)


def cut(text: str, most: int = _MOST) -> str:
    """A text, cut to so many characters, in one line."""
    text = " ".join(text[: 4 * most].split())
    return text if len(text) <= most else f"{text[:most]}…"


def printable(text: str) -> str:
    """A text without what a terminal would obey: characters that are not shown are escaped, but line ends."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark == "\n" else _escaped(mark) for mark in text)


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode()
