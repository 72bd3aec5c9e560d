"""Reads ExpW, Expression in-the-Wild: ``label.lst`` with one line per face, and the photos in ``origin``.

Zhang et al., "From Facial Expression Recognition to Interpersonal Relation Prediction", arXiv:1609.06426.
"""

from __future__ import annotations

from pathlib import Path

from fecnet.prepare.labelled.label_files import Dropped, hash_of, is_inside, read_lines
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource

EXPW_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # labels 0..6
_LISTS = ("label.lst", "label/label.lst")
_FOLDERS = ("origin", "image/origin", "image")


def read_expw(path: Path) -> LabelledSource:
    """Read faces cropped by their boxes. There is no official split: all faces are in split ``all``.

    A line is ``image_name face_id top left right bottom confidence label``; the confidence is ignored.

    Args:
        path: the folder with the list and the photos, or the list beside the photos.

    Raises:
        UserError: the list is missing or empty.
    """
    file = (
        path
        if path.is_file()
        else next((path / name for name in _LISTS if (path / name).is_file()), path / "label.lst")
    )
    around = [file.parent, file.parent.parent]  # label/label.lst is beside image/origin
    images = next((root / name for root in around for name in _FOLDERS if (root / name).is_dir()), file.parent)
    pictures, dropped = [], Dropped()
    for line in read_lines(file):
        name, *values = line.rsplit(maxsplit=7)
        try:
            top, left, right, bottom, label = (int(values[place]) for place in (1, 2, 3, 4, 6))
        except (ValueError, IndexError):
            dropped.add(ALL, "bad_line")
            continue
        if label not in range(len(EXPW_CLASSES)):
            dropped.add(ALL, "unknown_label")
            continue
        if not is_inside(name):
            dropped.add(ALL, "bad_path")
            continue
        box = (left, top, right, bottom)
        pictures.append(LabelledPicture(name, images / name, label, ALL, box=box))
    return LabelledSource("expw", path, EXPW_CLASSES, pictures, 112, dropped=dropped, provenance=hash_of(file))
