"""Whether the numbers of a list count its classes from 1, as published, or from 0, as many copies do."""

from __future__ import annotations

import logging
from collections.abc import Collection

from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)


def label_base(labels: Collection[int], highest: int, name: str) -> int:
    """The number of the first class: 1, or 0 where a 0 is seen and ``highest`` never; says the latter in one line.

    Args:
        labels: the numbers seen, of all rows that are read together: a part of a set may lack a class.
        highest: number of classes, which is the number of the last class where they count from 1.
        name: of the list, for messages.

    Raises:
        DataError: both 0 and ``highest`` are seen.
    """
    if 0 not in labels:
        return 1
    if highest in labels:
        raise DataError(f"{name}: labels 0 and {highest}; allowed: 1 to {highest}, or 0 to {highest - 1}, not both")
    logger.info("%s: labels count from 0, for there is a 0 and no %d", name, highest)
    return 0
