"""Detects whether the class numbers of a list start at 0 or 1; many copies of data sets differ from published lists."""

from __future__ import annotations

import logging
from collections.abc import Collection

from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)


def label_base(labels: Collection[int], highest: int, name: str, *, published: int = 1) -> int:
    """The number of the first class, 0 or 1; logs one line where it differs from the published list.

    The numbers start at 0 if 0 occurs and ``highest`` does not, and at 1 if ``highest`` occurs and 0 does not. If
    neither occurs, they start as in the published list.

    Args:
        labels: the numbers seen, of all rows that are read together, since a part of a set may lack a class.
        highest: number of classes, which is the number of the last class if the numbers start at 1.
        name: name of the list, for messages.
        published: the number of the first class in the published list.

    Raises:
        DataError: both 0 and ``highest`` occur.
    """
    if 0 in labels and highest in labels:
        raise DataError(f"{name}: labels 0 and {highest}; allowed: 1 to {highest}, or 0 to {highest - 1}, not both")
    base = 0 if 0 in labels else 1 if highest in labels else published
    if base != published:
        seen, unseen = (0, highest) if base == 0 else (highest, 0)
        logger.info("%s: labels count from %d, since there is a %d and no %d", name, base, seen, unseen)
    return base
