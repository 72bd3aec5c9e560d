"""Reads ExpW, Expression in-the-Wild: ``label.lst`` with one line per face, and the photos in ``origin``.

Zhang et al., "From Facial Expression Recognition to Interpersonal Relation Prediction", arXiv:1609.06426.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fecnet.faces.picture_lists import tidy_path
from fecnet.prepare.labelled.class_labels import class_indices, is_missing
from fecnet.prepare.labelled.label_files import Dropped, hash_of, is_inside, read_lines, read_table
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.prepare.text_rows import number
from fecnet.utils.errors import DataError

EXPW_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # labels 0..6
_NAME, _LABEL = "image_name", "expression_label"
_EDGES = ("face_box_left", "face_box_top", "face_box_right", "face_box_bottom")
_COLUMNS = (  # of a line; the confidence is published with this spelling, and ignored
    *(_NAME, "face_id_in_image", "face_box_top", "face_box_left", "face_box_right", "face_box_bottom"),
    *("face_box_cofidence", _LABEL),
)
_FAR = 1e6  # pixels
_LISTS = ("label.lst", "label/label.lst")
_FOLDERS = ("origin", "image/origin", "image", "images")


def read_expw(path: Path) -> LabelledSource:
    """Read faces cropped by their boxes. There is no official split: all faces are in split ``all``.

    A line is ``image_name face_id top left right bottom confidence label``, separated by spaces, tabs or commas; the
    first line may name the columns.

    Args:
        path: the folder with the list and the photos, or the list next to the photos.

    Raises:
        UserError: the list is missing or empty, or a label is an unknown word.
    """
    file = (
        path
        if path.is_file()
        else next((path / name for name in _LISTS if (path / name).is_file()), path / "label.lst")
    )
    around = [file.parent, file.parent.parent]  # label/label.lst is beside image/origin
    images = next((root / name for root in around for name in _FOLDERS if (root / name).is_dir()), file.parent)
    rows = list(_rows(file))
    index = class_indices({row.get(_LABEL, "") for row in rows}, EXPW_CLASSES, str(file))
    pictures, dropped = [], Dropped()
    for row in rows:
        box = tuple(number(row.get(edge, "")) for edge in _EDGES)
        if not all(abs(edge) < _FAR for edge in box) or is_missing(row.get(_LABEL, "")):
            dropped.add(ALL, "bad_line")
        elif row[_LABEL] not in index:
            dropped.add(ALL, "unknown_label")
        elif not is_inside(row[_NAME]):
            dropped.add(ALL, "bad_path")
        else:
            pictures.append(LabelledPicture(row[_NAME], images / row[_NAME], index[row[_LABEL]], ALL, box=box))
    return LabelledSource("expw", path, EXPW_CLASSES, pictures, 112, dropped=dropped, provenance=hash_of(file))


def _rows(file: Path) -> Iterator[dict[str, str]]:
    """Fields by column; a line with too few has none."""
    lines = read_lines(file)
    first = lines[0].lower().split()
    named = _NAME in first
    if (len(first) < len(_COLUMNS) and "," in lines[0]) or (named and first[0] != _NAME):
        yield from (row for _, row in read_table(file, (_NAME, _LABEL, *_EDGES), _COLUMNS))
        return
    columns = first if named else _COLUMNS
    if lacking := [name for name in (_LABEL, *_EDGES) if name not in columns]:
        raise DataError(f"{file}: no column {', '.join(lacking)}; seen: {', '.join(columns)}")
    for line in lines[1:] if named else lines:
        fields = line.rsplit(maxsplit=len(columns) - 1)  # a name may hold spaces
        row = dict(zip(columns, fields, strict=True)) if len(fields) == len(columns) else {}
        yield row | ({_NAME: tidy_path(row[_NAME])} if row else {})
