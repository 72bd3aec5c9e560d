"""Assigns the next tasks to a rater.

Tasks are assigned a few at a time and counted, so that a triplet is not assigned to more raters than the answers it
wants. Triplets of the newest round come first, and among them those that others have begun, so that as many triplets as
possible are complete at any time. A task that a rater does not answer for long is also assigned to another rater. Every
``control_every``-th task is a control: a triplet with a known answer, or one that the rater has answered before.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass

from fecnet.rate.study import Study, now

AHEAD = 10  # tasks assigned at a time
PATIENCE_S = 3600.0  # time after which a task without an answer is also assigned to another rater
_ORDERS = ("012", "021", "102", "120", "201", "210")
_AGAIN_AFTER = 8  # minimum number of tasks between a triplet and its repetition


@dataclass(frozen=True)
class Task:
    """One question to a rater.

    Attributes:
        number: number of the task, from 1, in the order in which the rater sees them.
        faces: numbers of the faces from left to right.
        answer: number of the answer that counts; None where there is none.
        place: place of the chosen face, 0..2 from left to right; None for no answer or for "cannot tell".
    """

    number: int
    faces: tuple[int, int, int]
    answer: int | None
    place: int | None


@dataclass(frozen=True)
class Progress:
    """The progress of a rater.

    Attributes:
        done: number of answered tasks.
        total: number of all tasks, estimated, since it depends on other raters' answers.
    """

    done: int
    total: int


def tasks_from(study: Study, rater: int, first: int | None = None) -> list[Task]:
    """Tasks of a rater in order, from number ``first`` on; None for the first task without an answer.

    Assigns new tasks where fewer than half of ``AHEAD`` are left unanswered.
    """
    waiting = study.rows(
        "SELECT number FROM tasks WHERE rater = ? AND NOT EXISTS "
        "(SELECT 1 FROM answers WHERE task = tasks.id AND replaced_at IS NULL) ORDER BY number",
        rater,
    )
    if len(waiting) <= AHEAD // 2 and not study.setting("stopped"):
        given = _give(study, rater, AHEAD - len(waiting))
        waiting = waiting or given
    if first is None:
        first = waiting[0]["number"] if waiting else 1 << 60
    rows = study.rows(
        "SELECT number, shown, a, b, c, answers.id AS answer, choice FROM tasks "
        "JOIN triplets ON triplets.id = triplet "
        "LEFT JOIN answers ON answers.task = tasks.id AND replaced_at IS NULL "
        "WHERE rater = ? AND number >= ? ORDER BY number LIMIT ?",
        rater,
        first,
        AHEAD,
    )
    return [_task(row) for row in rows]


def progress_of(study: Study, rater: int) -> Progress:
    """The progress of a rater."""
    row = study.one(
        "SELECT count(*) AS given, count(answers.id) AS done FROM tasks "
        "LEFT JOIN answers ON answers.task = tasks.id AND replaced_at IS NULL WHERE rater = ?",
        rater,
    )
    # open triplets minus those assigned to the rater; counted separately, since an index covers open triplets
    left = study.one(
        "SELECT (SELECT count(*) FROM triplets WHERE known IS NULL AND given < wanted) "
        "- (SELECT count(*) FROM tasks JOIN triplets ON triplets.id = triplet "
        "WHERE rater = ? AND again = 0 AND known IS NULL AND given < wanted) AS number",
        rater,
    )
    assert row is not None and left is not None
    limit = int(study.setting("per_rater"))
    more = min(left["number"], max(0, limit - row["given"])) if limit else left["number"]
    return Progress(row["done"], row["given"] + more)


def shown_order(seed: int, rater: int, triplet: int, again: int) -> str:
    """The order of the faces from left to right: random, but a function of seed, rater, triplet and repetition."""
    digest = hashlib.sha256(f"{seed}|{rater}|{triplet}|{again}".encode()).digest()
    return _ORDERS[int.from_bytes(digest[:8]) % len(_ORDERS)]


def _task(row: sqlite3.Row) -> Task:
    faces = (row["a"], row["b"], row["c"])
    first, second, third = (int(place) for place in row["shown"])
    place = None if row["choice"] is None else row["shown"].index(str(row["choice"]))
    return Task(row["number"], (faces[first], faces[second], faces[third]), row["answer"], place)


def _give(study: Study, rater: int, number: int) -> list[sqlite3.Row]:
    """Assign new tasks to a rater; returns their numbers."""
    seed, limit, every = (int(study.setting(name)) for name in ("seed", "per_rater", "control_every"))
    with study.changing() as database:
        (last,) = database.execute("SELECT coalesce(max(number), 0) FROM tasks WHERE rater = ?", (rater,)).fetchone()
        number = min(number, limit - last) if limit else number
        if number <= 0:
            return []
        triplets = _open_triplets(database, rater, number)
        if not triplets and _release(database):
            triplets = _open_triplets(database, rater, number)
        first = last + 1
        for triplet in triplets:
            last += 1
            if every and last % every == 0 and (control := _control(database, rater, last // every, last)):
                _store(database, seed, rater, last, *control)
                last += 1
            _store(database, seed, rater, last, triplet, 0)
            database.execute("UPDATE triplets SET given = given + 1 WHERE id = ?", (triplet,))
        return database.execute(
            "SELECT number FROM tasks WHERE rater = ? AND number >= ? ORDER BY number", (rater, first)
        ).fetchall()


def _open_triplets(database: sqlite3.Connection, rater: int, number: int) -> list[int]:
    rows = database.execute(
        "SELECT id FROM triplets WHERE known IS NULL AND given < wanted "
        "AND NOT EXISTS (SELECT 1 FROM tasks WHERE rater = ? AND triplet = triplets.id) "
        "ORDER BY round DESC, given DESC, shuffle LIMIT ?",
        (rater, number),
    )
    return [row["id"] for row in rows]


def _control(database: sqlite3.Connection, rater: int, place: int, number: int) -> tuple[int, int] | None:
    """The next control of a rater, as triplet and ``again``: known triplets and repetitions alternate."""
    known = database.execute(
        "SELECT id FROM triplets WHERE known IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM tasks WHERE rater = ? AND triplet = triplets.id) ORDER BY shuffle LIMIT 1",
        (rater,),
    ).fetchone()
    before = database.execute(
        "SELECT triplet AS id FROM tasks JOIN triplets ON triplets.id = triplet "
        "WHERE rater = ? AND again = 0 AND number <= ? AND known IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM tasks AS o WHERE o.rater = tasks.rater AND o.triplet = tasks.triplet AND o.again = 1) "
        "ORDER BY number LIMIT 1",
        (rater, number - _AGAIN_AFTER),
    ).fetchone()
    if known and (place % 2 or not before):
        return known["id"], 0
    return (before["id"], 1) if before else None


def _store(database: sqlite3.Connection, seed: int, rater: int, number: int, triplet: int, again: int) -> None:
    database.execute(
        "INSERT INTO tasks (rater, number, triplet, again, shown, given_at) VALUES (?, ?, ?, ?, ?, ?)",
        (rater, number, triplet, again, shown_order(seed, rater, triplet, again), now()),
    )


def _release(database: sqlite3.Connection) -> int:
    """Release tasks that raters have not answered for long to other raters; returns their number."""
    old = database.execute(
        "SELECT tasks.id, triplet FROM tasks JOIN raters ON raters.id = rater "
        "WHERE released = 0 AND again = 0 AND excluded = 0 AND given_at < ? AND NOT EXISTS "
        "(SELECT 1 FROM answers WHERE task = tasks.id) AND EXISTS "
        "(SELECT 1 FROM triplets WHERE triplets.id = triplet AND known IS NULL)",
        (now() - PATIENCE_S,),
    ).fetchall()
    database.executemany("UPDATE tasks SET released = 1 WHERE id = ?", [(row["id"],) for row in old])
    database.executemany("UPDATE triplets SET given = given - 1 WHERE id = ?", [(row["triplet"],) for row in old])
    return len(old)
