"""Reads JAFFE: ``KA.AN1.39.tiff`` is person KA, expression AN, first picture of it, number 39.

Lyons et al., "Coding Facial Expressions with Gabor Wavelets"; 213 pictures of ten women. There is no official split.
"""

from __future__ import annotations

import re
from pathlib import Path

from fecnet.prepare.labelled.labelled_source import LabelledSource
from fecnet.prepare.labelled.named_pictures import read_named

JAFFE_CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
_NAME = re.compile(r"(?P<sequence>(?P<subject>[A-Z]{2})[.\-_]?(?P<expression>AN|DI|FE|HA|NE|SA|SU))\d[.\-_]?\d+\.")


def read_jaffe(path: Path) -> LabelledSource:
    """Grey pictures in the classes anger, disgust, fear, happiness, neutral, sadness, surprise, all in split ``all``.

    The pictures of one person and expression share a sequence.

    Raises:
        DataError: no such folder, or no image of such a name.
    """
    return read_named(path, "jaffe", _NAME, JAFFE_CODES, "KA.AN1.39.tiff", "grey")
