"""Reads KDEF: ``AF01ANS.JPG`` is session A, female 01, expression AN, straight.

Lundqvist, Flykt and Öhman, "The Karolinska Directed Emotional Faces"; 70 people, two sessions, seven expressions, five
angles. There is no official split.
"""

from __future__ import annotations

import re
from pathlib import Path

from fecnet.prepare.labelled.labelled_source import LabelledSource
from fecnet.prepare.labelled.named_pictures import read_named

KDEF_CODES = {
    "AN": "anger",
    "DI": "disgust",
    "AF": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
_ANGLES = "FL|HL|S|HR|FR"  # full left to full right
_NAME = re.compile(rf"(?P<sequence>[AB](?P<subject>[FM]\d\d)(?P<expression>{'|'.join(KDEF_CODES)}))(?:{_ANGLES})\.")


def read_kdef(path: Path) -> LabelledSource:
    """Pictures in the classes anger, disgust, fear, happiness, neutral, sadness, surprise, all in split ``all``.

    All angles are read, full profiles too. The angles of one session and expression share a sequence.

    Raises:
        DataError: no such folder, or no image of such a name.
    """
    return read_named(path, "kdef", _NAME, KDEF_CODES, "AF01ANS.JPG", "rgb")
