"""The words for splits in names of folders, files and columns: training, validation, test and others."""

from __future__ import annotations

import re
from collections.abc import Collection

_SPLITS = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev", "devel", "development", "devset"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
    **dict.fromkeys(("eval", "evaluation"), "eval"),
    **dict.fromkeys(("publictest", "public test", "public testing"), "public_test"),
    **dict.fromkeys(("privatetest", "private test", "private testing"), "private_test"),
}
# Words that name neither a class nor a split.
_PICTURES = {"image", "images", "img", "imgs", "picture", "pictures", "pics", "photo", "photos", "jpegimages"}
_FACES = {"face", "faces", "aligned", "crop", "crops", "cropped", "original", "originals", "raw"}
_CONTAINERS = {"data", "dataset", "set", "split", "folder", "dir", "label", "labels", "annotations", "masks", "new"}
_PLAIN = _PICTURES | _FACES | _CONTAINERS


def split_name(text: str, ignore: Collection[str] = ()) -> str | None:
    """The split for a name such as ``Training``, ``val_set``, ``train-images``, ``PublicTest`` or ``Fold 1``, or None.

    Args:
        text: the name.
        ignore: further words that are ignored, in lower case.
    """
    words = [word for word in name_words(text) if not word.isdecimal() and word not in _PLAIN and word not in ignore]
    if words in (["fold"], ["folds"]):
        numbers = [int(word) for word in name_words(text) if word.isdecimal() and len(word) < 19]
        return f"fold_{numbers[0]}" if len(numbers) == 1 else None
    return _SPLITS.get(" ".join(words))


def split_names(names: Collection[str]) -> dict[str, str]:
    """The splits of sibling folders, without those that name none.

    Words that all of them share are ignored, as in ``FER2013Train`` and ``FER2013Test``.
    """
    shared = set.intersection(*({*name_words(name)} for name in names)) if len(names) > 1 else set()
    found = {name: split_name(name, shared - {*_SPLITS, "fold"}) for name in names}
    return {name: split for name, split in found.items() if split}


def says_nothing(name: str) -> bool:
    """Whether a folder's name names neither a class nor a split, such as ``images`` or ``aligned``."""
    words = name_words(name)
    return bool(words) and all(word in _PLAIN for word in words)


def name_words(text: str) -> list[str]:
    """The words and numbers of a name in lower case, split at ``_``, ``-``, spaces and capitals."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.findall(r"[^\W\d_]+|\d+", apart.lower())
