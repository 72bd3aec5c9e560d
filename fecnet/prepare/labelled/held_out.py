"""Holds people out of a labelled source: assigns its pictures to train, val and test by subject."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any

from fecnet.prepare.labelled.labelled_source import ALL, LabelledSource
from fecnet.prepare.people import OPTION, Shares, describe_split, people_of, split_people
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)


def hold_out(source: LabelledSource, shares: Shares, *, seed: int) -> tuple[LabelledSource, dict[str, Any]]:
    """The source with a split for each picture, and the entries for the coverage.

    Rows that the reader dropped stay in the coverage of split ``all``, since their person is unknown.

    Args:
        source: a source without splits.
        shares: output of ``parse_shares``.
        seed: seed of the choice of people.

    Raises:
        DataError: the source has splits, or no subjects; or a split is left without a person.
    """
    given = sorted({picture.split for picture in source.pictures} - {ALL})
    if given:
        raise DataError(
            f"{source.origin}: {OPTION}, but there are splits already: {', '.join(given)}; allowed: their own splits, "
            "without the option; or a source without them (csv: no column of splits; folder: --levels with - for it)"
        )
    subjects = [picture.subject for picture in source.pictures]
    if not any(subjects):
        raise DataError(
            f"{source.origin}: {OPTION}, but no subjects are known; allowed: csv with a column 'subject', folder with "
            "--levels subject/class, ckplus, jaffe, kdef"
        )
    people = people_of(subjects, [picture.source for picture in source.pictures])
    splits = split_people(people, shares, seed=seed, origin=source.origin)
    logger.info("%s: held out by subject, seed %d: %s", source.origin, seed, describe_split(people, splits))
    if strangers := subjects.count(""):
        logger.info(
            "%s: %d of %d pictures have no subject: each is treated as a person of its own, so a person may be in "
            "several splits there",
            source.origin,
            strangers,
            len(subjects),
        )
    pictures = [replace(picture, split=splits[person]) for picture, person in zip(source.pictures, people, strict=True)]
    told = {"shares": dict(shares), "seed": seed, "people": dict(sorted(Counter(splits.values()).items()))}
    return replace(source, pictures=pictures), {"held_out": {**told, "pictures_without_subject": strangers}}


def check_readable(source: LabelledSource, shares: Shares, found: set[str]) -> None:
    """Check that no split lost all of its pictures.

    Args:
        source: output of ``hold_out``.
        shares: see ``hold_out``.
        found: the splits that have a readable picture.

    Raises:
        DataError: a split has no readable picture.
    """
    if lost := sorted({picture.split for picture in source.pictures} - found):
        raise DataError(
            f"{source.origin}: {OPTION} {','.join(f'{share:g}' for share in shares.values())}: no picture of split "
            f"'{lost[0]}' can be read; allowed: larger shares, or another --seed"
        )
