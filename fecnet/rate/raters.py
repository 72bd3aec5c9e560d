"""Who answers: raters with a personal link each, and the open link that hands one out.

Only the sha256 of a token is stored: a copy of the study lets nobody answer in another's name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fecnet.rate.study import Study, now
from fecnet.utils.errors import DataError
from fecnet.web.tokens import new_token

_MOST = 10_000  # raters invited at once


@dataclass(frozen=True)
class Rater:
    """A rater, known by a number only.

    Attributes:
        id: number, from 1.
        excluded: the owner lets the answers not count.
    """

    id: int
    excluded: bool

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return rater_name(self.id)


def rater_name(number: int) -> str:
    """``rater-007``."""
    return f"rater-{number:03d}"


def invite(study: Study, number: int, *, origin: str = "invited") -> list[tuple[Rater, str]]:
    """New raters with their tokens, which are shown here once and stored nowhere.

    Args:
        study: an open one.
        number: how many.
        origin: ``invited``, or ``open`` where the open link was followed.

    Raises:
        DataError: none, or too many.
    """
    if not 1 <= number <= _MOST:
        raise DataError(f"{number} raters; allowed: 1 to {_MOST:,}")
    made = []
    with study.changing() as database:
        for _ in range(number):
            token = new_token()
            values = (hash_token(token), origin, now())
            cursor = database.execute("INSERT INTO raters (token_hash, origin, created) VALUES (?, ?, ?)", values)
            assert cursor.lastrowid is not None
            made.append((Rater(cursor.lastrowid, excluded=False), token))
    return made


def open_link(study: Study) -> str:
    """A new token of the open link; the one before is no longer valid."""
    token = new_token()
    study.set(open_link=hash_token(token).hex())
    return token


def is_open_link(study: Study, token: str) -> bool:
    """Whether this is the token of the open link."""
    stored = study.setting("open_link")
    return stored is not None and hash_token(token).hex() == stored


def find_rater(study: Study, token: str) -> Rater | None:
    """The rater with this token."""
    row = study.one("SELECT id, excluded FROM raters WHERE token_hash = ?", hash_token(token))
    return None if row is None else Rater(row["id"], bool(row["excluded"]))


def exclude(study: Study, rater: int, *, excluded: bool = True) -> None:
    """Let the answers of a rater not count, or count again; they stay in the data, marked.

    The triplets are asked of others instead.

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
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
