"""Tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence


def align_columns(rows: Iterable[Sequence[object]], *, left: Collection[int] = (0,)) -> str:
    """Format rows as aligned text, one line per row, columns separated by two spaces.

    Args:
        rows: of equal length, the header first.
        left: columns aligned to the left; all others to the right.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(f"{cell:{'<' if place in left else '>'}{widths[place]}}" for place, cell in enumerate(row))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def decimal(value: float | None) -> str:
    """A number to one decimal place; ``-`` for None or NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.1f}"
