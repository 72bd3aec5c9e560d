"""Raters, each with a personal link, and the open link that creates new raters.

Only the sha256 of a token is stored, so that nobody can answer for a rater with a copy of the study.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass

from fecnet.rate.study import Study, now
from fecnet.utils.errors import DataError
from fecnet.web.tokens import new_token

_MOST = 10_000  # maximum number of raters invited in one call
OPEN_RATERS = 1_000  # default maximum number of raters created by open links, since anyone may follow these


@dataclass(frozen=True)
class Rater:
    """A rater, identified only by a number.

    Attributes:
        id: number, from 1.
        excluded: the owner has excluded the rater's answers.
    """

    id: int
    excluded: bool

    @property
    def name(self) -> str:
        """Name of the rater in tables."""
        return rater_name(self.id)


def rater_name(number: int) -> str:
    """``rater-007``."""
    return f"rater-{number:03d}"


def invite(study: Study, number: int) -> list[tuple[Rater, str]]:
    """Create raters; returns them with their tokens, which are not stored anywhere.

    Args:
        study: an open study.
        number: number of raters.

    Raises:
        DataError: ``number`` is out of range.
    """
    if not 1 <= number <= _MOST:
        raise DataError(f"{number} raters; allowed: 1 to {_MOST:,}")
    with study.changing() as database:
        return [_add(database, "invited") for _ in range(number)]


def _add(database: sqlite3.Connection, origin: str) -> tuple[Rater, str]:
    token = new_token()
    values = (hash_token(token), origin, now())
    number = database.execute("INSERT INTO raters (token_hash, origin, created) VALUES (?, ?, ?)", values).lastrowid
    assert number is not None
    return Rater(number, excluded=False), token


def open_link(study: Study, most: int = OPEN_RATERS) -> str:
    """Create a new token of the open link; the previous one becomes invalid.

    Args:
        study: an open study.
        most: maximum number of raters created by all open links together.

    Raises:
        DataError: ``most`` is out of range.
    """
    if not 1 <= most <= _MOST:
        raise DataError(f"--most {most}; allowed: 1 to {_MOST:,}")
    token = new_token()
    study.set(open_link=hash_token(token).hex(), open_raters=most)
    return token


def is_open_link(study: Study, token: str) -> bool:
    """Whether this is the token of the open link."""
    stored = study.setting("open_link")
    return stored is not None and hash_token(token).hex() == stored


def join(study: Study) -> str | None:
    """Create a rater for the open link and return the token; None if the maximum number is reached."""
    with study.changing() as database:  # nobody else joins between the count and the new rater
        (made,) = database.execute("SELECT count(*) FROM raters WHERE origin = 'open'").fetchone()
        return None if made >= study.setting("open_raters") else _add(database, "open")[1]


def find_rater(study: Study, token: str) -> Rater | None:
    """The rater with this token."""
    row = study.one("SELECT id, excluded FROM raters WHERE token_hash = ?", hash_token(token))
    return None if row is None else Rater(row["id"], bool(row["excluded"]))


def exclude(study: Study, rater: int, *, excluded: bool = True) -> None:
    """Exclude the answers of a rater, or include them again; they are kept and marked.

    Other raters are asked these triplets instead.

    Raises:
        DataError: no such rater.
    """
    with study.changing() as database:
        changed = database.execute(
            "UPDATE raters SET excluded = ? WHERE id = ? AND excluded != ?", (excluded, rater, excluded)
        ).rowcount
        if changed:
            database.execute(
                "UPDATE triplets SET given = given + ? WHERE id IN "
                "(SELECT triplet FROM tasks WHERE rater = ? AND again = 0 AND released = 0)",
                (-1 if excluded else 1, rater),
            )
        elif not database.execute("SELECT 1 FROM raters WHERE id = ?", (rater,)).fetchone():
            raise DataError(f"{study.path}: no rater {rater}")


def hash_token(token: str) -> bytes:
    """The sha256 of a token, which is stored instead of the token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
