"""The boxes of faces in lists of AffectNet, whose columns have other names in copies of the data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from fecnet.faces.picture_lists import column_name
from fecnet.prepare.text_rows import number
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)

PUBLISHED = ("face_x", "face_y", "face_width", "face_height")
_PREFIXES = ("face_", "bbox_", "box_", "face_box_", "")
_CORNER_AND_SIZE = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_EDGES = (
    *(("left", "top", "right", "bottom"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1")),
    *(("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max")),
)
_WHOLE_BOXES = ("box", "bbox", "boxes", "bounding_box", "face_box", "face_bbox", "rect", "face_rect")


def published_boxes(path: Path, header: Sequence[str], rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows with their boxes under the published column names; logs one line where the list has other names.

    A list without boxes is unchanged: its images are face crops.

    Args:
        path: path of the list, for messages.
        header: its columns, in lower case.
        rows: values by column.

    Raises:
        DataError: columns that seem to be a box, in an unknown form.
    """
    names = {column_name(name): name for name in header}
    known = [[prefix + word for word in words] for prefix in _PREFIXES for words in (*_CORNER_AND_SIZE, *_EDGES)]
    columns = next((words for words in known if names.keys() >= {*words}), None)
    if columns is None:
        parts = {word for words in known if len(names.keys() & {*words}) > 2 for word in words}
        named = {word for words in known if "_" in words[0] for word in words if word.startswith(("face_", "b"))}
        if strange := sorted(names.keys() & {*_WHOLE_BOXES, *parts, *named}):
            forms = f"{', '.join(PUBLISHED)}; or x1, y1, x2, y2; or none where the images are cropped faces"
            raise DataError(f"{path}: columns {', '.join(strange)} seem to be boxes; allowed: {forms}")
        return list(rows)
    if tuple(columns) != PUBLISHED:
        logger.info("%s: columns %s are read as the boxes", path, ", ".join(columns))
    edges = any(tuple(columns) == (*(prefix + word for word in words),) for prefix in _PREFIXES for words in _EDGES)
    return [row | _published(row, [names[column] for column in columns], edges) for row in rows]


def _published(row: Mapping[str, str], columns: Sequence[str], edges: bool) -> dict[str, str]:
    left, top, third, fourth = (number(row[column]) for column in columns)
    width, height = (third - left, fourth - top) if edges else (third, fourth)
    return {name: repr(value) for name, value in zip(PUBLISHED, (left, top, width, height), strict=True)}


def box_of(row: Mapping[str, str]) -> tuple[float, ...] | None:
    """Left, top, right, bottom in pixels, of a row of ``published_boxes``; empty without a box, None if invalid."""
    if PUBLISHED[0] not in row:
        return ()
    x, y, width, height = (number(row[name]) for name in PUBLISHED)
    sound = all(abs(edge) < 1e6 for edge in (x, y, width, height)) and min(width, height) > 0
    return (x, y, x + width, y + height) if sound else None
