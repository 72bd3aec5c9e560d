"""Stores an answer in one transaction; it is on disk before it is acknowledged.

The page creates a key for each answer and sends the answer again until it is acknowledged. A key is stored only once,
so an answer that arrives twice counts once, even after a crash between storing and acknowledging.
"""

from __future__ import annotations

import math
import re
import sqlite3
from dataclasses import dataclass

from fecnet.rate.raters import Rater
from fecnet.rate.study import Study, now
from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

AGREED = 2  # raters who must choose the same face of an informative triplet before no more are asked
_LONGEST_S = 86_400.0
_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")


class AnswerConflict(UserError):
    """An answer that contradicts what is stored.

    Args:
        text: the message.
        answer: number of the answer that counts; None where there is none.
    """

    def __init__(self, text: str, answer: int | None) -> None:
        super().__init__(text)
        self.answer = answer


class AnswerRefused(UserError):
    """An answer that is not accepted: the study is stopped, or the rater is excluded."""


@dataclass(frozen=True)
class GivenAnswer:
    """An answer as sent by the page.

    Attributes:
        number: number of the task.
        key: random key, created by the page for each answer.
        place: place of the chosen face, 0..2 from left to right; None for "cannot tell".
        seconds: time for which the question was shown, seconds.
        replaces: number of the previous answer that the page knew; None for the first answer.
    """

    number: int
    key: str
    place: int | None
    seconds: float
    replaces: int | None = None

    def __post_init__(self) -> None:
        if not _is_whole(self.number) or self.number < 1:
            raise UserError(f"number: {shown(self.number)}; allowed: the number of a task, from 1")
        if not isinstance(self.key, str) or not _KEY.fullmatch(self.key):
            raise UserError("key: allowed: 8 to 64 of letters, digits, - and _")
        if self.place is not None and not (_is_whole(self.place) and 0 <= self.place <= 2):
            raise UserError(f"place: {shown(self.place)}; allowed: 0, 1, 2, or null for 'cannot tell'")
        is_number = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not is_number or not (math.isfinite(self.seconds) and 0 <= self.seconds <= _LONGEST_S):
            raise UserError(f"seconds: {shown(self.seconds)}; allowed: 0 to {_LONGEST_S:,.0f}")
        if self.replaces is not None and not _is_whole(self.replaces):
            raise UserError(f"replaces: {shown(self.replaces)}; allowed: the number of an answer, or null")


def take_answer(study: Study, rater: Rater, given: GivenAnswer) -> int:
    """Store an answer; returns its number, also if it was stored before.

    Raises:
        AnswerConflict: the task has another answer than the page knew, or the key belongs to another answer.
        AnswerRefused: the study is stopped, or the rater is excluded.
        UserError: the rater has no such task.
        OSError: the disk is full; nothing is stored.
    """
    with study.changing() as database:
        task = database.execute(
            "SELECT tasks.id, triplet, shown, again, released, answers.id AS answer, excluded, strategy, "
            "(SELECT value FROM settings WHERE name = 'stopped') = 'true' AS stopped "
            "FROM tasks JOIN raters ON raters.id = rater JOIN triplets ON triplets.id = triplet "
            "LEFT JOIN answers ON answers.task = tasks.id AND replaced_at IS NULL WHERE rater = ? AND number = ?",
            (rater.id, given.number),
        ).fetchone()
        if task is None:
            raise UserError(f"number: {given.number}: no such task of this rater")
        choice = None if given.place is None else int(task["shown"][given.place])
        stored = database.execute("SELECT id, task, choice FROM answers WHERE key = ?", (given.key,)).fetchone()
        if stored is not None:
            if (stored["task"], stored["choice"]) != (task["id"], choice):
                raise AnswerConflict("key: that of another answer", task["answer"])
            return int(stored["id"])
        if task["excluded"] or task["stopped"]:
            raise AnswerRefused("this link is no longer in use" if task["excluded"] else "the study is paused")
        if task["answer"] != given.replaces:
            raise AnswerConflict("answered already, in another window", task["answer"])
        number = _store(database, task, given, choice)
        if task["strategy"] == "informative" and not task["again"]:
            _ask_further(database, task["triplet"])
        return number


def _store(database: sqlite3.Connection, task: sqlite3.Row, given: GivenAnswer, choice: int | None) -> int:
    if task["answer"] is not None:
        database.execute("UPDATE answers SET replaced_at = ? WHERE id = ?", (now(), task["answer"]))
    number = database.execute(
        "INSERT INTO answers (task, key, choice, seconds, answered_at) VALUES (?, ?, ?, ?, ?)",
        (task["id"], given.key, choice, round(given.seconds, 3), now()),
    ).lastrowid
    assert number is not None
    if task["released"]:  # the task was released to others before this late answer
        database.execute("UPDATE tasks SET released = 0 WHERE id = ?", (task["id"],))
        if not task["again"]:
            database.execute("UPDATE triplets SET given = given + 1 WHERE id = ?", (task["triplet"],))
    return number


def _ask_further(database: sqlite3.Connection, triplet: int) -> None:
    """Ask one more rater if no face has been chosen by ``AGREED`` raters yet."""
    *votes, answers = database.execute(
        "SELECT coalesce(sum(choice = 0), 0), coalesce(sum(choice = 1), 0), coalesce(sum(choice = 2), 0), count(*) "
        "FROM answers JOIN tasks ON tasks.id = task JOIN raters ON raters.id = rater "
        "WHERE triplet = ? AND again = 0 AND excluded = 0 AND replaced_at IS NULL",
        (triplet,),
    ).fetchone()
    wanted = answers + (max(votes) < AGREED)
    database.execute(
        "UPDATE triplets SET wanted = min(most, max(?, ?)) WHERE id = ? AND known IS NULL", (wanted, AGREED, triplet)
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53
