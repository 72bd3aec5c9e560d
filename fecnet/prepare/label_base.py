"""Whether the numbers of a list count its classes as published, or from 0 or 1 instead, as many copies do."""

from __future__ import annotations

import logging
from collections.abc import Collection

from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)


def label_base(labels: Collection[int], highest: int, name: str, *, published: int = 1) -> int:
    """The number of the first class: 0 or 1, as published or as the numbers show; says in one line where they differ.

    A 0 and never ``highest`` counts from 0, ``highest`` and never a 0 from 1, neither of them as published.

    Args:
        labels: the numbers seen, of all rows that are read together: a part of a set may lack a class.
        highest: number of classes, which is the number of the last class where they count from 1.
        name: of the list, for messages.
        published: the number of the first class in the published list.

    Raises:
        DataError: both 0 and ``highest`` are seen.
    """
    if 0 in labels and highest in labels:
        raise DataError(f"{name}: labels 0 and {highest}; allowed: 1 to {highest}, or 0 to {highest - 1}, not both")
    base = 0 if 0 in labels else 1 if highest in labels else published
    if base != published:
        seen, unseen = (0, highest) if base == 0 else (highest, 0)
        logger.info("%s: labels count from %d, for there is a %d and no %d", name, base, seen, unseen)
    return base
