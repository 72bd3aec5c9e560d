"""Small trees of pictures for the tests of folder readers."""

import itertools

import numpy as np
from PIL import Image

_seed = itertools.count()


def grow(root, *names):
    """Write a tiny picture of its own for each name that has a suffix of pictures, else an empty file or folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        elif path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tiff"):
            pixels = np.random.default_rng(next(_seed)).integers(0, 256, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(path)
        else:
            path.touch()
    return root


def read(source):
    """Class, split and subject of each picture by its name."""
    return {
        picture.source: (source.classes[picture.label], picture.split, picture.subject) for picture in source.pictures
    }


def places(source):
    """The distinct classes and splits."""
    return sorted({(source.classes[picture.label], picture.split) for picture in source.pictures})


def dropped(source):
    return {split: dict(reasons) for split, reasons in source.dropped.items() if any(reasons.values())}
