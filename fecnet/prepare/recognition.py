"""Recognises which source of ``fecnet prepare`` a file or folder is, by names and first lines; no pixels are read.

The first rule that matches decides: published layouts come before lists, and lists before folders of classes.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fecnet.faces.picture_files import is_picture
from fecnet.faces.picture_lists import is_absolute, path_columns, separator_of, split_line, system_path, tidy_path
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.csv_list import read_csv_list
from fecnet.prepare.labelled.jaffe import read_jaffe
from fecnet.prepare.labelled.kdef import read_kdef
from fecnet.prepare.labelled.label_files import read_header, read_lines
from fecnet.prepare.labelled.labelled_source import LabelledSource
from fecnet.prepare.labelled.picture_tree import PictureTree, scan_tree
from fecnet.prepare.triplet_columns import named_columns
from fecnet.utils.class_words import EXPRESSIONS, class_word
from fecnet.utils.errors import DataError, UserError

_TABLES = (".csv", ".tsv", ".txt", ".lst")
_LINES = 100  # first lines that are searched for a picture
_TRIPLET = re.compile(r"^(?P<name>.*?)[_-]?(?P<number>[123abc])(?P<rest>(_path|_name)?)$")


@dataclass(frozen=True)
class Fit:
    """A recognised source.

    Attributes:
        source: its name in ``fecnet prepare``.
        why: what it was recognised by.
        words: its arguments before PATH.
    """

    source: str
    why: str
    words: tuple[str, ...]


def recognise(path: Path) -> Fit:
    """The source that a file or folder is.

    Raises:
        DataError: no such file or folder, no source fits, or the source that fits cannot be read.
    """
    if path.is_file():
        return _file(path)
    tree = scan_tree(path)
    names = {"/".join(parts).lower(): path.joinpath(*parts) for parts in (*tree.others, *tree.pictures)}
    for sign in _SIGNS:
        if fit := sign(path, tree, names):
            return fit
    seen = ", ".join([*names][:3]) or "nothing"
    raise DataError(f"{path}: no source fits; seen: {seen}; allowed: see fecnet prepare --help")


def _file(path: Path) -> Fit:
    if path.suffix.lower() == ".npz":
        return _arrays(path)
    if path.suffix.lower() not in _TABLES:
        raise DataError(f"{path}: no source fits; allowed: a folder, {', '.join(_TABLES)} or .npz")
    fit = _table(path)
    if fit is None:
        seen = ", ".join(read_header(path)[:8])
        raise DataError(f"{path}: no source fits; columns seen: {seen}; allowed: path and label, for prepare csv")
    return fit


def _arrays(path: Path) -> Fit:
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.removesuffix(".npy") for name in file.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged: {error}") from error
    source = "ckplus" if {"classes", "filename"} <= names else "fer2013"
    return Fit(source, f"arrays {', '.join(sorted(names)[:6])}", (str(path),))


def _table(path: Path) -> Fit | None:
    """The source of a list; None where the file is not a list."""
    first = read_lines(path)[0]
    fields = split_line(first, separator_of(first))
    header, given = [field.lower() for field in fields], (str(path),)
    if "pixels" in header:
        return Fit("ckplus" if "ck" in path.stem.lower() else "fer2013", "a column pixels", given)
    if fields[0].lower().startswith(("http://", "https://")):
        return Fit("fec", "rows that begin with an address of the web, without a header", given)
    if path.suffix.lower() == ".lst" and len(first.split()) == 8:
        return Fit("expw", "lines of name, face, box, confidence and label", given)
    absolute = ("--allow-absolute",) if _has_absolute(path) else ()
    if _answers(path, fields):
        return Fit(
            "triplets", "three pictures, and a rater or votes, in a row", (*given, _pictures_of(path), *absolute)
        )
    if sum(is_picture(tidy_path(field)) for field in fields) == 3 or _three_pictures(header):
        return Fit("list", "three pictures in a row", (*given, _pictures_of(path), *absolute))
    if "subdirectory_filepath" in header:
        return Fit("affectnet", "a column subDirectory_filePath", given)
    if {"exp", "val", "aro"} <= {*header}:
        return Fit("affectnet", "columns exp, val and aro", given)
    if path_columns(fields) and (votes := [name for name in header if class_word(name) in EXPRESSIONS])[1:]:
        words = (*given, "--votes", ",".join(votes), *absolute)
        return Fit("csv", f"paths, and a column for each of {', '.join(votes)}", words)
    try:
        source = read_csv_list(path, allow_absolute=True)
    except UserError:
        if path_columns(fields):
            raise  # it is a list of pictures: its own error is more helpful than the list of sources
        return None
    return Fit("csv", _counted(source), (*given, *absolute))


def _pictures_of(path: Path) -> str:
    """The folder of the pictures of a list: its own folder, or a subfolder with a picture of the first lines."""
    lines = read_lines(path)[:_LINES]
    separator = separator_of(lines[0])
    names = {tidy_path(field) for line in lines for field in split_line(line, separator)}
    folders = [path.parent, *sorted(entry for entry in path.parent.iterdir() if entry.is_dir())]
    held = (folder for folder in folders for name in names if is_picture(name) and _is_there(folder, name))
    return str(next(held, path.parent))


def _is_there(folder: Path, name: str) -> bool:
    return os.path.isfile(folder / system_path(folder, name))  # noqa: PTH113 - of a Path it raises for no name


def _has_absolute(path: Path) -> bool:
    """Whether a field of a list is an absolute path."""
    lines = read_lines(path)
    separator = separator_of(lines[0])
    return any(is_absolute(field) for line in lines for field in split_line(line, separator))


def _answers(path: Path, fields: Sequence[str]) -> bool:
    """Whether a header names three pictures, and a rater or votes for each of them."""
    try:
        columns = named_columns(path, fields)
    except UserError:
        return False
    return columns is not None and columns.pictures is not None and (columns.rater, columns.votes) != (None, None)


def _three_pictures(header: Sequence[str]) -> bool:
    """Whether three columns have one name with 1 to 3 or a to c, such as ``img1`` or ``image_a``."""
    found = [match for match in map(_TRIPLET.match, header) if match and match["name"] not in ("x", "y")]
    return 3 in Counter((match["name"], match["rest"], match["number"].isdecimal()) for match in found).values()


def _counted(source: LabelledSource) -> str:
    """Summary of what a reader found."""
    pictures = source.pictures
    splits = Counter(picture.split for picture in pictures)
    people = len({picture.subject for picture in pictures} - {""})
    shown = ", ".join(source.classes[:8]) + (", …" if len(source.classes) > 8 else "")
    parts = [f"{len(pictures):,} pictures", f"{len(source.classes)} classes ({shown})"]
    parts += [f"splits {', '.join(splits)}"] if len(splits) > 1 else []
    parts += [f"{people:,} people"] if people else []
    parts += ["boxes"] if any(picture.box for picture in pictures) else []
    return ", ".join(parts)


_Names = dict[str, Path]  # path below the folder in lower case, to the file
_Sign = Callable[[Path, PictureTree, _Names], Fit | None]


def _ending(source: str, *patterns: str) -> _Sign:
    """A rule: for each pattern there is a file whose path below the folder ends with it."""

    def sign(path: Path, tree: PictureTree, names: _Names) -> Fit | None:
        found = [next((name for name in names if re.search(rf"(^|/){end}$", name)), "") for end in patterns]
        return Fit(source, f"{' and '.join(found)}", (str(path),)) if all(found) else None

    return sign


def _named(source: str, read: Callable[[Path], LabelledSource]) -> _Sign:
    """A rule: pictures that are named as in a data set of posed expressions."""

    def sign(path: Path, tree: PictureTree, names: _Names) -> Fit | None:
        try:
            found = read(path)
        except UserError:
            return None
        enough = len(found.pictures) * 2 > len(tree.pictures)
        return Fit(source, f"names such as {Path(found.pictures[0].source).name}", (str(path),)) if enough else None

    return sign


def _lists(path: Path, tree: PictureTree, names: _Names) -> Fit | None:
    """Lists at the top of the folder."""
    tables = [path / parts[0] for parts in tree.others if len(parts) == 1 and Path(parts[0]).suffix.lower() in _TABLES]
    fits = []
    for file in tables:
        try:
            fits.append(_table(file))
        except UserError:
            continue
    found = [fit for fit in fits if fit]
    if found and all(fit.source == "affectnet" for fit in found):  # AffectNet has one list per split, read together
        return Fit("affectnet", found[0].why, (str(path),))
    if len(found) > 1:
        raise DataError(f"{path}: several lists: {', '.join(fit.words[0] for fit in found)}; give the path of one")
    return found[0] if found else None


def _classes(path: Path, tree: PictureTree, names: _Names) -> Fit | None:
    """Folders of classes; an error that lists the interpretations where there are several."""
    if not tree.pictures or tree.depth() == 0:
        return None
    return Fit("folder", _counted(read_folder(path)), (str(path),))


_SIGNS: tuple[_Sign, ...] = (
    _ending("fec", r"faceexp-comparison-data-train-public\.csv", r"faceexp-comparison-data-test-public\.csv"),
    _ending("ferplus", r"fer2013\.(csv|npz)", r"fer2013new\.csv"),
    _ending("ferplus", r"fer2013train/label\.csv"),
    _ending("fer2013", r"(fer2013\.(csv|npz)|icml_face_data\.csv)"),
    _ending("ckplus", r"(ckplus48\.npz|ckextended\.csv)"),
    _ending("ckplus", r"s\d{3}_\d{3}_\d{8}\.png"),
    _ending("rafdb", r"list_part?ition_label\.txt"),
    _ending("rafdb", r"(train|test)_\d+_aligned\.jpg"),
    _ending("rafdb", r"train_labels\.csv", r"test_labels\.csv"),
    _ending("affectnet", r"annotations/\d+_exp\.npy"),
    _ending("affectnet", r"training\.csv", r"validation\.csv"),
    _ending("affectnet", r"labels\.csv", r"train/[^/]+/[^/]+\.(jpg|png)"),
    _ending("expw", r"label\.lst"),
    _named("jaffe", read_jaffe),
    _named("kdef", read_kdef),
    _lists,
    _classes,
)
