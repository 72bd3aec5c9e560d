"""Reads RAF-DB, single-label part: ``EmoLabel/list_patition_label.txt`` and ``Image/aligned/``.

Li and Deng, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild".
"""

from __future__ import annotations

from pathlib import Path

from fecnet.prepare.labelled.label_files import Dropped, hash_of, is_inside, picture_name, read_lines, split_name
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource

RAFDB_CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # labels 1..7
_LIST = "EmoLabel/list_patition_label.txt"  # published with this spelling


def read_rafdb(path: Path) -> LabelledSource:
    """Aligned faces, 100×100 as published, with the official split: 12,271 of ``train`` and 3,068 of ``test``.

    Args:
        path: the folder that holds ``EmoLabel`` and ``Image``, or its parent that holds ``basic``.

    Raises:
        UserError: the list is missing or empty.
    """
    root = path / "basic" if (path / "basic").is_dir() else path
    pictures, dropped = [], Dropped()
    for line in read_lines(root / _LIST):
        name, label = [*line.rsplit(maxsplit=1), ""][:2]
        split = split_name(name.partition("_")[0])
        if split is None:
            dropped.add("unknown", "bad_line")
        elif label not in {str(number + 1) for number in range(len(RAFDB_CLASSES))}:
            dropped.add(split, "unknown_label")
        elif not is_inside(name):
            dropped.add(split, "bad_path")
        else:
            stem, dot, suffix = name.rpartition(".")
            picture = root / "Image/aligned" / f"{stem}_aligned{dot}{suffix}"
            pictures.append(LabelledPicture(picture_name(picture, root), picture, int(label) - 1, split))
    return LabelledSource(
        "rafdb", path, RAFDB_CLASSES, pictures, 100, dropped=dropped, provenance=hash_of(root / _LIST)
    )
