"""Finds the columns of a list: by given names, documented names, or other usual names; the latter are logged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fecnet.faces.picture_lists import PATH_COLUMNS, column_name
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)

USUAL = {  # usual names by documented name
    "path": PATH_COLUMNS[1:],
    "label": (
        *("labels", "class", "class_name", "class_id", "expression", "emotion", "category", "target"),
        *("expression_label", "emotion_label", "label_name", "exp"),
    ),
    "split": ("usage", "set", "subset", "partition"),
    "subject": ("subject_id", "person", "person_id", "identity"),
}
BOXES = (  # names of the columns of a box: left, top, right, bottom
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
)
_OPTIONS = ("path", "label")  # columns that fecnet prepare csv has options for


def find_column(
    path: Path, header: Sequence[str], what: str, asked: str | None = None, documented: str | None = None
) -> str | None:
    """The name of a column in lower case; None where the list has none of the usual names.

    The documented name wins where others exist too; another name is logged, unless it was given by an option.

    Args:
        path: path of the list, for messages.
        header: its columns, in lower case.
        what: content of the column: ``path``, ``label``, ``split`` or ``subject``, which are the documented names too.
        asked: the name given by an option.
        documented: another documented name.

    Raises:
        DataError: no column of the given name, or several with usual names and none with the documented one.
    """
    if asked is not None:
        name = asked.strip().lower()
        if name not in header:
            raise DataError(f"{path}: no column {name}; seen: {seen_columns(header)}")
        return name
    if (documented or what) in header:
        return documented or what
    found = [name for usual in (what, *USUAL[what]) for name in header if column_name(name) == usual]
    if len(found) > 1:
        choose = f"; name it with csv --{what}-column" if what in _OPTIONS else ""
        raise DataError(f"{path}: columns {', '.join(found)} may each be the {what}; allowed: one of them{choose}")
    if found:
        logger.info("%s: column '%s' is read as the %s", path, found[0], what)
    return found[0] if found else None


def need_column(
    path: Path, header: Sequence[str], what: str, asked: str | None = None, documented: str | None = None
) -> str:
    """``find_column`` for a column that the list must have.

    Raises:
        DataError: see ``find_column``; or no column has a usual name.
    """
    column = find_column(path, header, what, asked, documented)
    if column is None:
        choose = f"; name it with csv --{what}-column" if what in _OPTIONS else ""
        if what == "path" and "pixels" in header:
            choose = "; pixels are read by 'fecnet prepare fer2013' and 'fecnet prepare ckplus'"
        raise DataError(f"{path}: no column {documented or what}; seen: {seen_columns(header)}{choose}")
    return column


def box_columns(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    """The columns of left, top, right and bottom, which are logged; empty where the list has no boxes.

    Raises:
        DataError: only some columns of a box, or two sets of them.
    """
    begun = [names for names in BOXES if {*names} & {*header}]
    for names in begun:
        if lacking := [name for name in names if name not in header]:
            there = ", ".join(name for name in names if name in header)
            raise DataError(f"{path}: columns {there} of a box without {', '.join(lacking)}; allowed: all four or none")
    if len(begun) > 1:
        raise DataError(f"{path}: boxes in {' and in '.join(map(', '.join, begun))}; allowed: one of them")
    if begun:
        logger.info("%s: columns %s are read as the boxes, in pixels", path, ", ".join(begun[0]))
    return begun[0] if begun else ()


def seen_columns(header: Sequence[str]) -> str:
    """The columns of a list for a message."""
    return ", ".join(header)[:100] or "an empty file"
