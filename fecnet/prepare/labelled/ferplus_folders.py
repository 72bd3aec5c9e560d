"""Reads the folders that FERPlus's generator writes: ``FER2013Train`` with ``label.csv`` and png files, Valid and Test.

They contain the images that have a name in FERPlus, without the labels of FER2013. Four names occur twice; the second
image has replaced the first.

Shape suffixes: N rows of the files.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from fecnet.faces.decode import UnreadableImage, decode_image
from fecnet.faces.picture_files import is_there
from fecnet.faces.square_faces import load_square
from fecnet.prepare.labelled.fer2013 import Fer2013, describe_rows
from fecnet.prepare.labelled.ferplus_files import VOTES, vote_counts
from fecnet.prepare.labelled.label_files import is_inside, read_header, read_table, subfolders
from fecnet.prepare.labelled.pixel_rows import SIDE
from fecnet.utils.errors import DataError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

_FOLDERS = ("FER2013Train", "FER2013Valid", "FER2013Test")  # train, public_test, private_test
_LIST = "label.csv"


def find_ferplus_lists(path: Path) -> dict[str, Path]:
    """The lists by the name of their folder, in ``path`` or one or two folders below; empty where there are none."""
    for depth in ("", "*/", "*/*/"):
        roots = sorted({found.parent.parent for name in _FOLDERS for found in path.glob(f"{depth}{name}/{_LIST}")})
        if len(roots) > 1:
            raise DataError(f"{path}: {', '.join(map(str, roots))} each hold FERPlus; give one of these folders")
        if roots:
            lists = {name: roots[0] / name / _LIST for name in _FOLDERS}
            for file in lists.values():
                if file.parent.is_dir() and not file.is_file():
                    logger.warning("%s: warning: no %s, not read", file.parent, _LIST)
            return {name: file for name, file in lists.items() if file.is_file()}
    return {}


def read_ferplus_folders(path: Path, lists: dict[str, Path]) -> Fer2013:
    """Read images and votes in the order of the lists, training first.

    A row is ``fer0000002.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0``, or without the box.

    Args:
        path: what the user named, for messages.
        lists: from ``find_ferplus_lists``. The images are in the folder of the list, or in a parallel folder:
            ``Images/FER2013Train`` and ``Labels/FER2013Train/label.csv``.

    Raises:
        DataError: a list is damaged, or an image is missing, unreadable or of another size.
    """
    sources, images, usages, votes = [], [], [], []
    for name, file in lists.items():
        rows = _rows(file)
        folder = _picture_folder(file, next(iter(rows), ""))
        for picture, (line, counts) in rows.items():
            sources.append(f"{name}/{picture}")
            images.append(_pixels(file, line, folder / picture))
            usages.append(_FOLDERS.index(name))
            votes.append(counts)
    if not sources:
        raise DataError(f"{path}: {', '.join(map(str, lists.values()))} have no rows")
    return describe_rows(
        source_N=tuple(sources),
        image_NHW=np.stack(images),
        emotion_N=None,
        usage_N=np.array(usages, np.uint8),
        votes_NV=np.array(votes, np.uint8),
        named_N=np.ones(len(sources), bool),
        joined_N=np.ones(len(sources), bool),
    )


def _rows(file: Path) -> dict[str, tuple[int, list[int]]]:
    """Line and votes of each image; for rows with the same image name the last one, whose image replaced the others."""
    rows: dict[str, tuple[int, list[int]]] = {}
    columns = ("image name", *(("box",) if len(read_header(file)) > 1 + len(VOTES) else ()), *VOTES)
    number = 0
    for line, row in read_table(file, ("image name", *VOTES), columns):
        picture = row["image name"]
        if not is_inside(picture):
            raise DataError(
                f"{file}: line {line}: image name {shown(picture)}; allowed: the name of a file next to the list"
            )
        rows.pop(picture, None)
        rows[picture] = line, vote_counts(file, line, [row[name] for name in VOTES])
        number += 1
    if number > len(rows):
        logger.info("%s: %d images are listed twice; the last row of each counts", file, number - len(rows))
    return rows


def _picture_folder(file: Path, first: str) -> Path:
    """The folder that holds the first image of a list."""
    name, above = file.parent.name, file.parent.parent.parent
    folders = [file.parent, *(found / name for found in subfolders(above))]
    return next((folder for folder in folders if first and is_there(folder / first)), file.parent)


def _pixels(file: Path, line: int, picture: Path) -> np.ndarray:
    try:
        image_HWC = decode_image(picture)
    except (UnreadableImage, OSError) as error:
        raise DataError(f"{file}: line {line}: {' '.join(str(error).split())}") from error
    height, width = image_HWC.shape[:2]
    if (height, width) != (SIDE, SIDE):
        raise DataError(f"{file}: line {line}: {picture}: {width}×{height} pixels; allowed: {SIDE}×{SIDE}")
    grey = load_square(image_HWC, (), SIDE, grey=True)
    assert not isinstance(grey, str)
    return grey[..., 0]
