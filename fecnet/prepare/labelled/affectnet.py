"""Reads AffectNet: lists with a box, an expression, valence and arousal per face, or arrays with one value each.

Mollahosseini et al., arXiv:1708.03985. The lists belong to the release of whole photos and to copies of it, the arrays
to the release of 2021, whose images are cropped faces.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fecnet.faces.picture_files import is_there
from fecnet.prepare.labelled.affectnet_arrays import find_annotated, read_annotated
from fecnet.prepare.labelled.affectnet_boxes import PUBLISHED, box_of, published_boxes
from fecnet.prepare.labelled.affectnet_labels import AFFECTNET_CLASSES, affect, expressions, outside_affect
from fecnet.prepare.labelled.label_files import Dropped, hash_of, is_inside, read_header, read_table, subfolders
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.prepare.labelled.list_columns import need_column
from fecnet.prepare.labelled.split_words import split_name
from fecnet.prepare.text_rows import whole_number
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)

_PATH, _LABEL = "subdirectory_filepath", "expression"
_COLUMNS = (  # columns of a file without a header
    *(_PATH, *PUBLISHED, "facial_landmarks", _LABEL, "valence", "arousal"),
)
_FOLDERS = tuple(
    f"{kind}_Annotated{below}"
    for kind in ("Manually", "Automatically")
    for below in ("_Images", f"/{kind}_Annotated_Images", "")
)
_PICTURES = ("image", "images", "img", "imgs", "faces")  # names of folders of images that name no split


def read_affectnet(path: Path) -> LabelledSource:
    """Faces cropped by their boxes, where there are any; rows without one of the eight expressions are counted.

    Args:
        path: the folder with ``training.csv`` and ``validation.csv`` (splits ``train`` and ``val``), or its parent; one
            CSV file; or the folder with ``train_set`` and ``val_set``. Images are searched in
            ``Manually_Annotated_Images`` and next to the files, whether or not paths begin with that folder.

    Raises:
        DataError: none of these, or damaged; a column is missing, a label is an unknown word, or a path names several
            images.
    """
    if folders := find_annotated(path):
        return read_annotated(path, folders)
    files = [path] if path.is_file() else _lists(path)
    if not files:
        others = "class folders are read by 'fecnet prepare folder'"
        raise DataError(f"{path}: no training.csv or validation.csv, and no train_set/annotations; {others}")
    rows = [(file, row) for file in files for row in _rows(file)]
    index = expressions({row[_LABEL] for _, row in rows}, str(files[0] if len(files) == 1 else path))
    roots = {file: _roots(file.parent, _split_of(file)) for file in files}
    if outside := sum(outside_affect(row.get("valence", ""), row.get("arousal", "")) for _, row in rows):
        logger.info("%s: valence or arousal of %d faces are outside of -1 to 1, not read", path, outside)
    pictures, dropped = [], Dropped()
    for file, row in rows:
        picture = _picture(row, index[row[_LABEL]], roots[file])
        if isinstance(picture, str):
            dropped.add(_split_of(file), picture)
        else:
            pictures.append(picture)
    return LabelledSource(
        "affectnet", path, AFFECTNET_CLASSES, pictures, 112, dropped=dropped, provenance=hash_of(*files)
    )


def _lists(path: Path) -> list[Path]:
    """The lists of splits, or else ``labels.csv``, of the first folder that has some: ``path`` or one below."""
    for folder in (path, *subfolders(path)) if path.is_dir() else ():
        tables = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".csv" and file.is_file())
        splits = {file: split for file in tables if (split := _split_of(file)) != ALL}
        if len({*splits.values()}) < len(splits):
            raise DataError(f"{folder}: {', '.join(file.name for file in splits)}; allowed: one list of each split")
        if found := list(splits) or [file for file in tables if file.stem.lower() == "labels"]:
            return found
    return []


def _split_of(file: Path) -> str:
    return split_name(file.stem, ("affectnet", "affect", "net")) or ALL


def _rows(file: Path) -> list[dict[str, str]]:
    """The rows, with path, label, box, valence and arousal under the published names."""
    header = read_header(file)
    if len(header) == len(_COLUMNS) and whole_number(header[_COLUMNS.index(_LABEL)]) is not None:
        return [row for _, row in read_table(file, (_PATH, _LABEL), _COLUMNS)]
    path, label = (
        need_column(file, header, "path", documented=_PATH),
        need_column(file, header, "label", documented=_LABEL),
    )
    rows = [row | {_PATH: row[path], _LABEL: row[label]} for _, row in read_table(file, (path, label))]
    if {"val", "aro"} <= {*header} and not {"valence", "arousal"} & {*header}:
        rows = [row | {"valence": row["val"], "arousal": row["aro"]} for row in rows]
    return published_boxes(file, header, rows)


def _roots(folder: Path, split: str) -> list[tuple[Path, str]]:
    """Folders in which images may be, and their split; without folders of other splits than that of the list."""
    below = [(found, split_name(found.name), found.name.lower() in _PICTURES) for found in subfolders(folder)]
    named = [(found, of or split) for found, of, plain in below if plain or (of and split in (of, ALL))]
    published = [(base / name, split) for base in (folder, folder.parent) for name in (*_FOLDERS, "")]
    return [(root, of) for root, of in (*published, *named) if root.is_dir()]


def _picture(row: dict[str, str], label: int | str, roots: Sequence[tuple[Path, str]]) -> LabelledPicture | str:
    """The face of a row, or the reason why there is none."""
    name, box = row[_PATH].replace("\\", "/"), box_of(row)
    if isinstance(label, str):
        return label
    if not name:
        return "no_path"
    if not is_inside(name):
        return "bad_path"
    if box is None:
        return "bad_box"
    places = [(root / name, split) for root, split in roots if is_there(root / name)] or [
        (roots[0][0] / name, roots[0][1])
    ]
    if len(places) > 1:
        raise DataError(f"{places[0][0]} and {places[1][0]}: the list names {name}; allowed: one image of that path")
    return LabelledPicture(
        name,
        places[0][0],
        label,
        places[0][1],
        box=box,
        valence_arousal=affect(row.get("valence", ""), row.get("arousal", "")),
    )
