"""Reads the paths of a list of pictures, in any of the common forms of lists: one reader for all commands."""

from __future__ import annotations

import csv
import os
import re
import string
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TextIO

from fecnet.faces.picture_files import is_picture, is_video
from fecnet.utils.errors import DataError
from fecnet.utils.files import check_file

_SLASHES = ("/", "\\")
LIST_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")

# Names of the column of paths, normalised by ``column_name``. Where a table has several, the first name here wins.
PATH_COLUMNS = (
    *("path", "filepath", "file_path", "image_path", "imagepath", "img_path", "picture_path", "photo_path"),
    *("relative_path", "rel_path", "full_path", "absolute_path", "file", "filename", "file_name", "image_file"),
    *("image_filename", "image_name", "imagename", "img_name", "picture_name", "image", "img", "picture", "photo"),
    *("pth", "subdirectory_filepath", "name"),
)
# Names of the column of videos, used where a table has no column of pictures.
_VIDEO_COLUMNS = ("video", "video_path", "videopath", "video_file", "video_name", "film", "clip")


def column_name(text: str) -> str:
    """The name of a column, normalised for comparison: ``File Name`` and ``file-name`` are ``file_name``."""
    return re.sub(r"[\s\-]+", "_", text.strip().lower())


def path_columns(header: Sequence[str]) -> list[int]:
    """The columns of a header that may hold the paths, by ``PATH_COLUMNS``: the one called ``path``, else all."""
    names = [column_name(text) for text in header]
    wanted = PATH_COLUMNS[:1] if PATH_COLUMNS[0] in names else PATH_COLUMNS
    return [place for place, name in enumerate(names) if name in wanted]


def tidy_path(text: str) -> str:
    """A path without the spaces and quotes around it."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def system_path(folder: Path, name: str) -> str:
    """A listed path for this system: backslashes of Windows become ``/``, unless a file of that very name exists."""
    if "\\" in name and os.sep == "/" and not os.path.exists(folder / name):  # noqa: PTH110 - raises for no name
        return name.replace("\\", "/")
    return name


def is_absolute(name: str) -> bool:
    """Whether a listed path is absolute, on this system or on Windows."""
    return name[:1] in _SLASHES or (name[1:2] == ":" and name[0] in string.ascii_letters)


def separator_of(line: str) -> str:
    """The separator of the fields of a line: comma, semicolon or tab; else a space, which means any white space."""
    bare = re.sub(r'"[^"]*"', "quoted", line).strip()
    return next((mark for mark in ",;\t" if mark in bare), " " if re.search(r"\s", bare) else ",")


def split_line(line: str, separator: str) -> list[str]:
    """The fields of one line, without quotes and the spaces around them."""
    if '"' in line:
        try:
            fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:  # a field beyond the limit of the csv module
            fields = line.split(separator)
    else:
        fields = line.split(None if separator == " " else separator)
    return [field.strip() for field in fields]


def read_paths(path: Path) -> Iterator[str]:
    """The pictures and videos of a list: one path per line, or the column of paths of a table with or without a header.

    The column is found by its name (``PATH_COLUMNS``), without a header by the suffixes of pictures and videos. Fields
    are separated by commas, semicolons, tabs or white space. In a ``.txt``, a line that ends in such a suffix is one
    path, including its spaces and commas. Empty lines and rows and comments (``# …``) are skipped.

    Args:
        path: a file in UTF-8, with or without byte-order mark, any line ends.

    Raises:
        DataError: not text, no column of paths or several, or a row without a path.
    """
    with _opened(path) as file:
        lines = (line for line in file if line.strip() and not _is_comment(line))
        first = next(lines, "")
        read = _reading(path, first)
        before = "the first line"
        for name in read(chain([first] if first else [], lines)):
            if not name:  # an empty path would mean the folder of the list
                raise DataError(f"{path}: a row without a path, after {before}")
            before = name
            yield name


def _reading(path: Path, first: str) -> Callable[[Iterator[str]], Iterator[str]]:
    """How to read the lines of a list that begins with this line."""
    table = path.suffix.lower() in (".csv", ".tsv")
    whole = tidy_path(first)
    if _is_file(whole) and not any(mark in whole for mark in (",;\t" if table else "\t")):
        return lambda lines: map(tidy_path, lines)
    separator = "\t" if path.suffix.lower() == ".tsv" else separator_of(first)
    fields = split_line(first, separator)
    pictures = [place for place, field in enumerate(fields) if is_picture(tidy_path(field))]
    files = pictures or [place for place, field in enumerate(fields) if is_video(tidy_path(field))]
    videos = [place for place, field in enumerate(fields) if column_name(field) in _VIDEO_COLUMNS]
    columns = files or path_columns(fields) or videos
    if len(columns) > 1:
        what = f"{len(columns)} {'pictures' if pictures else 'videos'}" if files else "several columns of paths"
        seen = _shown([fields[place] for place in columns])
        raise DataError(f"{path}: {what} in its first line: {seen}; allowed: one a line")
    if columns:
        return lambda lines: _column(path, lines, separator, columns[0], header=not files)
    if table:
        names = ", ".join(PATH_COLUMNS[:8])
        raise DataError(
            f"{path}: a list of photos without a column 'path'; columns seen: {_shown(fields)}; allowed: {names}, …"
        )
    return lambda lines: map(tidy_path, lines)


def _column(path: Path, lines: Iterator[str], separator: str, column: int, *, header: bool) -> Iterator[str]:
    """One column of a table."""
    spaced = (" ".join(line.split()) for line in lines) if separator == " " else lines
    rows = csv.reader(
        spaced, delimiter=separator, skipinitialspace=True, strict=True
    )  # otherwise an unbalanced quote would merge rows
    if header:
        next(rows)
    try:
        for row in rows:
            if len(row) <= column:
                raise DataError(
                    f"{path}: a row of {len(row)} columns: {_shown(row)}; the path is in column {column + 1}"
                )
            if any(row):  # spreadsheets write separators alone below their rows
                yield tidy_path(row[column])
    except csv.Error as error:
        raise DataError(f"{path}: not a list of photos: {error}") from error


def _is_comment(line: str) -> bool:
    return line.split(maxsplit=1)[0] == "#" and not _is_file(tidy_path(line))


def _is_file(name: str) -> bool:
    return is_picture(name) or is_video(name)


def _shown(fields: Sequence[str]) -> str:
    return textwrap.shorten(", ".join(field for field in fields if field), 200) or "none"


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    check_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a list of photos in UTF-8: {error}") from error
