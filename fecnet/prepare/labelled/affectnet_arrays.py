"""Reads AffectNet's release of arrays: ``train_set/images/0.jpg`` with ``train_set/annotations/0_exp.npy`` and others.

``_exp`` is the expression, ``_val`` and ``_aro`` are valence and arousal, one value each, as a number or as a string.
The images are cropped faces, so that the landmarks of ``_lnd`` are not needed.
"""

from __future__ import annotations

import logging
from pathlib import Path

from fecnet.faces.picture_files import PICTURE_SUFFIXES
from fecnet.prepare.labelled.affectnet_labels import AFFECTNET_CLASSES, affect, expressions
from fecnet.prepare.labelled.label_files import Dropped, levels, picture_name
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.prepare.labelled.split_words import split_name
from fecnet.utils.errors import DataError
from fecnet.utils.files import open_array

logger = logging.getLogger(__name__)

_EXPRESSION = "_exp.npy"


def find_annotated(path: Path) -> list[tuple[Path, str]]:
    """The folders with ``annotations`` and ``images``, and their splits: ``path`` itself, or one or two levels below.

    Where one folder has both, folders of other splits with only one of them are found too, and missing files counted.

    Raises:
        DataError: several folders, and one of them has no name of a split.
    """
    for level in levels(path):
        has = {folder: [(folder / name).is_dir() for name in ("annotations", "images")] for folder in level}
        if any(map(all, has.values())):
            found = [folder for folder in level if all(has[folder]) or (any(has[folder]) and split_name(folder.name))]
            splits = [split_name(folder.resolve().name) for folder in found]
            if len(found) > 1 and (None in splits or len({*splits}) < len(splits)):
                names = ", ".join(folder.name for folder in found)
                raise DataError(
                    f"{path}: annotations in {names}; allowed: train_set, val_set and other splits, one each"
                )
            return [(folder, split or ALL) for folder, split in zip(found, splits, strict=True)]
    return []


def read_annotated(path: Path, folders: list[tuple[Path, str]]) -> LabelledSource:
    """Faces with an annotation; images without one are counted.

    Args:
        path: what the user named.
        folders: from ``find_annotated``.

    Raises:
        DataError: an array is damaged, or contains Python objects or more than one value.
    """
    labels = {(folder, stem): _value(file) for folder, _ in folders for stem, file in _annotations(folder)}
    index = expressions({*labels.values()}, str(path))
    pictures, dropped = [], Dropped()
    for folder, split in folders:
        images = _images(folder)
        stems = [stem for of, stem in labels if of == folder]
        logger.info("%s: reads the annotations of %s faces", folder, f"{len(stems):,}")
        for _ in images.keys() - {*stems}:
            dropped.add(split, "no_label")
        for stem in stems:
            label = index[labels[folder, stem]]
            if isinstance(label, str):
                dropped.add(split, label)
                continue
            image = images.get(stem, folder / "images" / f"{stem}.jpg")
            valence, arousal = (_optional(folder / "annotations" / f"{stem}_{name}.npy") for name in ("val", "aro"))
            name, both = picture_name(image, path), affect(valence, arousal)
            pictures.append(LabelledPicture(name, image, label, split, valence_arousal=both))
    return LabelledSource("affectnet", path, AFFECTNET_CLASSES, pictures, 112, dropped=dropped)


def _annotations(folder: Path) -> list[tuple[str, Path]]:
    """Name and file of each annotated face, by number."""
    files = list((folder / "annotations").glob(f"*{_EXPRESSION}"))
    named = [(file.name.removesuffix(_EXPRESSION), file) for file in files if not file.name.startswith(".")]
    return sorted(named, key=lambda found: (not found[0].isdecimal(), found[0].zfill(12), found[0]))


def _images(folder: Path) -> dict[str, Path]:
    files = sorted(file for file in (folder / "images").glob("*") if not file.name.startswith("."))
    return {file.stem: file for file in files if file.suffix.lower() in PICTURE_SUFFIXES}


def _optional(file: Path) -> str:
    return _value(file) if file.is_file() else ""


def _value(file: Path) -> str:
    """The only value of an array as text: a number, or a string with a number."""
    try:
        array = open_array(file, in_memory=True)
    except DataError as error:
        if "allow_pickle" in str(error.__cause__):
            name = file.name
            again = f"np.save({name!r}, np.array(float(np.load({name!r}, allow_pickle=True))))"
            raise DataError(
                f"{file}: holds Python objects, which are opened by running code; if you trust the file, save only "
                f"its number: {again}"
            ) from error
        raise
    if array.size != 1:
        raise DataError(f"{file}: an array of shape {array.shape}; allowed: one value")
    value = array.item()
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
