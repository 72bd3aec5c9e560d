"""Reads AffectNet's manually annotated part: CSV files with a box, an expression, valence and arousal per face.

Mollahosseini et al., arXiv:1708.03985.
"""

from __future__ import annotations

from pathlib import Path

from fecnet.prepare.labelled.label_files import Dropped, hash_of, is_inside, read_table, split_name
from fecnet.prepare.labelled.labelled_source import ALL, LabelledPicture, LabelledSource
from fecnet.utils.errors import DataError

AFFECTNET_CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")  # 0..7
_NO_EMOTION = {8: "none", 9: "uncertain", 10: "not_a_face"}
_NEEDED = ("subdirectory_filepath", "expression")
_COLUMNS = (  # of a file without a header
    "subdirectory_filepath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")


def read_affectnet(path: Path) -> LabelledSource:
    """Faces cropped by their boxes; rows without one of the eight expressions are counted by their other label.

    Args:
        path: the folder with ``training.csv`` and ``validation.csv`` (splits ``train`` and ``val``) and the pictures
            in ``Manually_Annotated_Images`` or beside the files; or one such CSV file.

    Raises:
        DataError: no CSV file, or a column is missing.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else [file for file in _split_files(path) if file.is_file()]
    if not files:
        raise DataError(f"{path}: no training.csv or validation.csv")
    images = next((root / folder for folder in _FOLDERS if (root / folder).is_dir()), root)
    pictures, dropped = [], Dropped()
    for file in files:
        split = split_name(file.stem) or ALL
        for _, row in read_table(file, _NEEDED, _COLUMNS):
            picture = _picture(row, images, split)
            if isinstance(picture, str):
                dropped.add(split, picture)
            else:
                pictures.append(picture)
    return LabelledSource(
        "affectnet", path, AFFECTNET_CLASSES, pictures, 112, dropped=dropped, provenance=hash_of(*files)
    )


def _split_files(path: Path) -> list[Path]:
    return [path / "training.csv", path / "validation.csv"]


def _picture(row: dict[str, str], images: Path, split: str) -> LabelledPicture | str:
    """The face of a row, or the reason why there is none."""
    expression = _number(row["expression"])
    if expression in _NO_EMOTION:
        return _NO_EMOTION[int(expression)]
    if expression not in range(len(AFFECTNET_CLASSES)):
        return "unknown_label"
    name = row["subdirectory_filepath"]
    if not name:
        return "no_path"
    if not is_inside(name):
        return "bad_path"
    box = _box(row)
    if box is None:
        return "bad_box"
    return LabelledPicture(name, images / name, int(expression), split, box=box, valence_arousal=_valence_arousal(row))


def _box(row: dict[str, str]) -> tuple[float, ...] | None:
    """Left, top, right, bottom; empty where the file has no boxes: its images are face crops."""
    if "face_x" not in row:
        return ()
    x, y, width, height = (_number(row.get(f"face_{name}", "")) for name in ("x", "y", "width", "height"))
    sound = all(abs(number) < 1e6 for number in (x, y, width, height)) and min(width, height) > 0
    return (x, y, x + width, y + height) if sound else None


def _valence_arousal(row: dict[str, str]) -> tuple[float, float] | None:
    """Both, or None where one is not in -1..1; the files write -2 for missing."""
    valence, arousal = (_number(row.get(name, "")) for name in ("valence", "arousal"))
    return (valence, arousal) if abs(valence) <= 1 and abs(arousal) <= 1 else None


def _number(text: str) -> float:
    """NaN if not a number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
