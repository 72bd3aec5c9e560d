"""Warnings about the splits of labelled pictures, logged before training and kept in the coverage."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fecnet.prepare.labelled.class_labels import empty_classes
from fecnet.prepare.labelled.label_noise import SplitLabels
from fecnet.prepare.labelled.labelled_faces import Written
from fecnet.prepare.labelled.labelled_source import TRAIN, LabelledSource
from fecnet.prepare.people import known_people

logger = logging.getLogger(__name__)


def warn_of_splits(source: LabelledSource, written: Written, labels: Mapping[str, SplitLabels]) -> dict[str, Any]:
    """Log the warnings and return them for the coverage.

    A net can neither learn a class without a face nor be evaluated on it, and people who are in training and in another
    split make the accuracy on that split too high.
    """
    warnings = {}
    for split in labels:
        told = [
            text
            for text in (empty_classes(source.classes, labels[split].label_M), _known_people(written, labels, split))
            if text
        ]
        if told:
            warnings[split] = "; ".join(told)
            logger.warning("%s: warning: %s in split %s", source.origin, warnings[split], split)
    return {"warnings": warnings} if warnings else {}


def _known_people(written: Written, labels: Mapping[str, SplitLabels], split: str) -> str:
    """How many faces of a split show people who are also in training; empty if none do."""
    if split == TRAIN or TRAIN not in labels:
        return ""
    trained, own = ([written.pictures[row].subject for row in labels[name].faces_M.tolist()] for name in (TRAIN, split))
    return known_people(trained, own)
