"""The lists of RAF-DB and of its mirrors, and the images that they name, with or without ``_aligned``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from fecnet.faces.picture_files import is_picture
from fecnet.faces.picture_lists import column_name
from fecnet.prepare.labelled.label_files import Dropped, is_inside, read_header, read_lines, read_table
from fecnet.prepare.labelled.labelled_source import ALL
from fecnet.prepare.labelled.list_columns import USUAL, need_column
from fecnet.prepare.labelled.picture_tree import Parts, PictureTree, scan_tree
from fecnet.prepare.labelled.split_words import name_words, split_name
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)

_TABLES = (".csv", ".tsv")
_IMAGE, _LABEL = "image", "label"  # columns of the CSV mirror
_LISTS = {"list_patition_label.txt", "list_partition_label.txt"}  # published with the first spelling
_WHOLE_PHOTOS = "original"  # folder of the photos that the aligned faces were cut from


class Row(NamedTuple):
    """A row of a list: its place in the file, the image and the label as written, the split."""

    place: str
    image: str
    label: str
    split: str


def find_lists(path: Path) -> tuple[Path, list[Path]]:
    """The folder of the data set, and its lists: one text file, CSV files such as ``train_labels.csv``, or none.

    Raises:
        DataError: no such file or folder, or several data sets below it.
    """
    if path.is_file():
        return _root_of(path), [path]
    others = scan_tree(path).others
    texts = [parts for parts in others if parts[-1].lower() in _LISTS]
    tables = [parts for parts in others if parts[-1].lower().endswith(_TABLES)]
    names = [parts for parts in tables if _is_csv_list(parts[-1])] or [
        parts for parts in tables if _has_columns(path.joinpath(*parts))
    ]
    lists = texts or names
    if texts and names:
        unread = ", ".join("/".join(parts) for parts in names)
        logger.info("%s: reads %s; not %s", path, "/".join(texts[0]), unread)
    if len(texts) > 1:
        lists = [parts for parts in texts if "basic" in (part.lower() for part in parts)]
        logger.info("%s: %d lists; read: that of the folder basic", path, len(texts))
    files = [path.joinpath(*parts) for parts in lists]
    folders = sorted({str(file.parent) for file in files})
    if len(folders) > 1 or (len(texts) > 1 and len(lists) != 1):
        found = ", ".join("/".join(parts) for parts in texts or names)
        raise DataError(f"{path}: several lists: {found}; give the path of one, or of its folder")
    return (_root_of(files[0]) if texts else path), files


def _is_csv_list(name: str) -> bool:
    stem = name.rpartition(".")[0]
    return bool({"label", "labels"} & {*name_words(stem)}) and _split_of_list(stem) is not None


def _has_columns(file: Path) -> bool:
    """Whether a CSV file of any name lists images with labels; not a table of the classes, for instance."""
    names = {column_name(name): name for name in read_header(file)}
    paths, labels = ([names[usual] for usual in (what, *USUAL[what]) if usual in names] for what in ("path", "label"))
    first = next((row for _, row in read_table(file, ())), {}) if paths and labels else {}
    return any(is_picture(first.get(column, "")) for column in paths)


def _split_of_list(stem: str) -> str | None:
    return split_name(stem, ("raf", "rafdb", "db"))


def _root_of(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "EmoLabel" else file.parent


def read_rows(files: Sequence[Path]) -> tuple[list[Row], Dropped]:
    """The rows of the lists, and counts of those without a split or with a path outside of the folder.

    Raises:
        UserError: a list is missing, empty or damaged, or names an image of another split.
    """
    rows, dropped = [], Dropped()
    for file in files:
        for row in _csv_rows(file) if file.suffix.lower() in _TABLES else _text_rows(file):
            if not row.split:
                dropped.add("unknown", "bad_line")
            elif not is_inside(row.image):
                dropped.add(row.split, "bad_path")
            else:
                rows.append(row)
    return rows, dropped


def _text_rows(file: Path) -> list[Row]:
    """Rows of image and label, separated by spaces or a comma."""
    rows, further = [], 0
    for number, line in enumerate(read_lines(file), start=1):
        image, label, others = [*re.split(r"[\s,;]+", line, maxsplit=2), "", ""][:3]
        further += bool(others)
        rows.append(Row(f"{file}: row {number}", image, label, _split_of(image) or ""))
    if further:
        logger.info("%s: columns after image and label in %d rows, not read", file, further)
    return rows


def _csv_rows(file: Path) -> list[Row]:
    rows, split, header = [], _split_of_list(file.stem), read_header(file)
    image = need_column(file, header, "path", documented=_IMAGE)
    label = need_column(file, header, "label", documented=_LABEL)
    for line, row in read_table(file, (image, label)):
        place, named = f"{file}: line {line}", _split_of(row[image])
        if split and named and named != split:
            raise DataError(f"{place}: {row[image]}; allowed: images of split {split}, as the list's name says")
        rows.append(Row(place, row[image], row[label], split or named or ""))
    return rows


def _split_of(image: str) -> str | None:
    return split_name(PureWindowsPath(image).name.partition("_")[0])


class RafdbPictures:
    """The images below a folder by their names, without ``_aligned`` and suffix; whole photos are left out.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._tree: PictureTree = scan_tree(root)
        self._found: dict[str, list[Parts]] = {}
        self._listed: set[str] = set()
        for parts in self._tree.pictures:
            if _WHOLE_PHOTOS not in (part.lower() for part in parts[:-1]):
                self._found.setdefault(_key(parts[-1]), []).append(parts)

    def folders(self) -> set[str]:
        """The names of the folders directly above the images."""
        return {parts[-2] for found in self._found.values() for parts in found if len(parts) > 1}

    def of(self, row: Row) -> Parts:
        """The image of a row; where it should be if it is missing.

        Raises:
            DataError: several images have its name.
        """
        name = PureWindowsPath(row.image).name
        self._listed.add(_key(name))
        found = self._found.get(_key(name), [])
        if len(found) > 1:
            same = ", ".join("/".join(parts) for parts in found)
            raise DataError(f"{row.place}: {name} is each of {same}; allowed: one image of a name")
        suffix = PureWindowsPath(name).suffix if is_picture(name) else ".jpg"
        return found[0] if found else ("Image", "aligned", f"{_stem(name).removesuffix('_aligned')}_aligned{suffix}")

    def unlisted(self) -> Counter[str]:
        """By split, the number of images that no row has named."""
        names = [parts[-1] for key, found in self._found.items() if key not in self._listed for parts in found]
        return Counter(_split_of(name) or ALL for name in names)


def _key(name: str) -> str:
    return _stem(name).lower().removesuffix("_aligned")


def _stem(name: str) -> str:
    """A name in a list, which may lack the suffix of the image."""
    return name.rpartition(".")[0] if is_picture(name) else name
