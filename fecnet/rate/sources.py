"""The faces of a study: photos of a folder or list, a packed set, or labelled pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.embed.pieces import PhotoPiece
from fecnet.embed.sources import Sources
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.labelled_source import ALL
from fecnet.prepare.labelled.readers import READERS
from fecnet.prepare.recognition import recognise
from fecnet.prepare.triplet_lists import listed_path
from fecnet.utils.errors import DataError
from fecnet.utils.shown import shown

TRAIN = "train"


@dataclass(frozen=True)
class SourceFace:
    """A face that may be shown to raters.

    Attributes:
        name: its path in the source, or its key in a packed set; unique.
        picture: a file, or pixels: uint8, shape (H, W, C).
        subject: person; empty where unknown.
        label: class; empty where unknown.
        split: ``train`` where the source has no splits.
    """

    name: str
    picture: Path | np.ndarray
    subject: str = ""
    label: str = ""
    split: str = TRAIN


def read_source(path: Path, *, labelled: bool) -> list[SourceFace]:
    """The faces of a source, in its order.

    Args:
        path: a folder or list of photos, a packed set, or with ``labelled`` any source of ``fecnet prepare`` with
            labels.
        labelled: read the labels of pictures; those of packed sets are always read.

    Raises:
        DataError: nothing readable; no labels; or names that cannot be written to a table.
    """
    if (path / "dataset.json").is_file():
        faces = [*_packed_faces(PackedDataset(path))]
    else:
        faces = [*(_labelled_faces(path) if labelled else _photos(path))]
    if not faces:
        raise DataError(f"{path}: no picture in it")
    if labelled and not any(face.label for face in faces):
        raise DataError(f"{path}: no labels; allowed for typed triplets: class folders, a list or a set with labels")
    for face in faces:
        tidy = " ".join(face.name.splitlines()).strip()
        if listed_path(tidy, allow_absolute=False) != face.name:
            raise DataError(f"{path}: {shown(face.name)}: a name that a table cannot hold; rename the file")
    (name, times), *_ = Counter(face.name for face in faces).most_common(1)
    if times > 1:
        raise DataError(f"{path}: {times} faces are called {shown(name)}; allowed: one")
    return faces


def _photos(path: Path) -> Iterator[SourceFace]:
    sources = Sources([path], once=True)
    for piece in sources.pieces():
        if isinstance(piece, PhotoPiece):  # videos are skipped
            yield from (SourceFace(place, Path(file)) for file, place in piece.photos)


def _packed_faces(dataset: PackedDataset) -> Iterator[SourceFace]:
    labels, splits = _packed_labels(dataset)
    for row, record in enumerate(face_rows(dataset.path)):
        face_HWC = dataset.faces_NHWC[row]
        yield SourceFace(record["key"], face_HWC, record["subject"], labels.get(row, ""), splits.get(row, TRAIN))


def _packed_labels(dataset: PackedDataset) -> tuple[dict[int, str], dict[int, str]]:
    """Class and split of the faces, by row: from the first label set, else splits from the triplets."""
    labels: dict[int, str] = {}
    splits: dict[int, str] = {}
    label_set = next(iter(dataset.description["label_sets"]), None)
    for split, parts in dataset.description["splits"].items():
        if "triplets" in parts:
            rows = np.unique(dataset.triplets(split).faces_T3).tolist()
            splits |= {row: split for row in rows if row not in splits}
        if label_set is not None and label_set in parts.get("labels", {}):
            table = dataset.labels(label_set, split)
            classes = dataset.classes(label_set)
            for row, label in zip(table.faces_M.tolist(), table.label_M.tolist(), strict=True):
                splits[row] = split
                if label >= 0:
                    labels[row] = classes[label]
    return labels, splits


def _labelled_faces(path: Path) -> Iterator[SourceFace]:
    fit = recognise(path)
    if fit.source not in READERS:
        raise DataError(f"{path}: looks like '{fit.source}', which has no labels; allowed: {', '.join(READERS)}")
    source = read_folder(path) if fit.source == "folder" else READERS[fit.source](Path(fit.words[0]))
    for picture in source.pictures:
        if picture.box:
            raise DataError(
                f"{path}: pictures with boxes; make a packed set of their faces first: fecnet prepare {fit.source}"
            )
        split = TRAIN if picture.split == ALL else picture.split
        yield SourceFace(picture.source, picture.picture, picture.subject, source.classes[picture.label], split)


def labels_of(names: Sequence[str]) -> np.ndarray:
    """Class of each face as a number, by the names of the classes; −1 where it is empty; int64."""
    place_of = {name: place for place, name in enumerate(sorted({*names} - {""}))}
    return np.array([place_of.get(name, -1) for name in names], np.int64)
