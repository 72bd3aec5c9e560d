"""Raters at once over HTTP: answers a second, none lost and none twice while the server is killed, memory.

Fifty raters answer as fast as they can. First without a kill, in turns with SQLite alone, which commits the same rows
into the same tables, one transaction each, with the same settings: so both meet the same disk and the same noise. Then
20,000 answers, while the server is killed with -9 ten times at random moments; every key is compared with the database.
How many answers a net needs: ``rate_learning``.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.rate_load import Load
from benchmarks.rate_server import Server, serving
from benchmarks.record import seconds
from fecnet.rate.new import new_study
from fecnet.rate.plan import Plan
from fecnet.rate.raters import invite
from fecnet.rate.study import DATABASE, Study

RATERS, WANTED = 50, 10


def run(*, quick: bool) -> dict[str, Any]:
    """Both parts; stops with an error where an answer is lost, doubled or invented."""
    answers, kills, turns, each = (600, 2, 2, 100) if quick else (20_000, 10, 10, 1000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        speed = measure_speed(folder, turns, each)
        print(speed)
        kept = measure_kills(folder, answers, kills)
        print(kept)
        return {"speed": speed, "killed": kept}


def make_study(folder: Path, answers: int) -> tuple[Path, list[str]]:
    """A study for more than so many answers, and the pages of its raters."""
    photos, path = folder / "photos", folder / f"study-{answers}"
    photos.mkdir(exist_ok=True)
    for number in range(100):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number:03d}.png")
    new_study(path, photos, Plan(answers // WANTED * 6 // 5 + RATERS, WANTED), progress=False)
    with Study(path) as study:
        return path, [f"/r/{token}" for _, token in invite(study, RATERS)]


def measure_speed(folder: Path, turns: int, each: int) -> dict[str, Any]:
    """Answers a second over HTTP and commits a second of SQLite, in turns; memory of the server."""
    path, pages = make_study(folder, turns * each + each)
    with serving(path) as server, closing(_twin(folder, path, turns * each)) as twin:
        load = Load(server.port, pages, "speed-of-answers")
        load.run(each)  # all code is loaded, and tasks are given
        memory = [server.memory_mb()]
        http_s = sqlite_s = 0.0
        for turn in range(turns):
            http_s += seconds(lambda: load.run(each))
            sqlite_s += seconds(lambda turn=turn: _commit(twin, turn * each, each))  # type: ignore[misc]
            memory.append(server.memory_mb())
    errors = [error for rater in load.raters for error in rater.errors]
    if errors:
        raise SystemExit(f"{len(errors)} errors, the first of them: {errors[0]}")
    return {
        "raters": RATERS,
        "answers": turns * each,
        "answers_per_s": round(turns * each / http_s),
        "sqlite_commits_per_s": round(turns * each / sqlite_s),
        "share_of_sqlite": round(sqlite_s / http_s, 3),
        "memory_mb_first": round(memory[0], 1),
        "memory_mb_last": round(memory[-1], 1),
    }


def _twin(folder: Path, path: Path, tasks: int) -> sqlite3.Connection:
    """A copy of the study with tasks to answer, opened by SQLite alone with the settings of a study."""
    with Study(path) as study:
        study.back_up(folder / "twin")
    database = sqlite3.connect(folder / "twin" / DATABASE, isolation_level=None)
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        database.execute(f"PRAGMA {setting}")
    database.execute("BEGIN")
    database.execute("DELETE FROM answers")
    database.execute("DELETE FROM tasks")
    (triplets,) = database.execute("SELECT count(*) FROM triplets").fetchone()
    database.executemany(
        "INSERT INTO tasks (id, rater, number, triplet, again, shown, given_at) VALUES (?, ?, ?, ?, 0, '012', 0)",
        [(n + 1, n // triplets + 1, n % triplets + 1, n % triplets + 1) for n in range(tasks)],
    )
    database.execute("COMMIT")
    return database


def _commit(database: sqlite3.Connection, first: int, number: int) -> None:
    for task in range(first, first + number):
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "INSERT INTO answers (task, key, choice, seconds, answered_at) VALUES (?, ?, ?, ?, ?)",
            (task + 1, f"speed-of-answers-{task % RATERS}-{task}", task % 3, 1.5, time.time()),
        )
        database.execute("COMMIT")


def measure_kills(folder: Path, answers: int, kills: int) -> dict[str, Any]:
    """Answer while the server is killed at random; then compare every key with the database."""
    path, pages = make_study(folder, answers)
    moments = sorted(random.Random(0).sample(range(answers // 20, answers * 19 // 20), kills))
    with serving(path) as server:
        load = Load(server.port, pages, "killed-at-random")
        killer = threading.Thread(target=_kill, args=(server, load, moments))
        killer.start()
        load.run(answers)
        killer.join()
    return {"answers": answers, "kills": kills, **compare(path, load)}


def _kill(server: Server, load: Load, moments: list[int]) -> None:
    for moment in moments:
        while load.acknowledged < moment:
            time.sleep(0.002)
        server.kill_and_start()


def compare(path: Path, load: Load) -> dict[str, int]:
    """Counts of what the raters were told and of what the study holds.

    Raises:
        SystemExit: an acknowledged answer is not there, is there twice or as another one, or one was never sent.
    """
    with Study(path) as study:
        rows = study.rows(
            "SELECT answers.id, key, choice, shown FROM answers JOIN tasks ON tasks.id = task WHERE replaced_at IS NULL"
        )
        doubled = study.rows("SELECT task FROM answers WHERE replaced_at IS NULL GROUP BY task HAVING count(*) > 1")
    stored = {row["key"]: row for row in rows}
    told = {key: number for rater in load.raters for key, number in rater.acknowledged.items()}
    places = {key: place for rater in load.raters for key, place in rater.places.items()}
    errors = [error for rater in load.raters for error in rater.errors]
    found = {
        "acknowledged": len(told),
        "stored": len(rows),
        "lost": len(told.keys() - stored.keys()),
        "twice": len(rows) - len(stored) + len(doubled),
        "invented": len(stored.keys() - places.keys()),
        "changed": sum(
            row["choice"] != int(row["shown"][places[key]]) or told.get(key, row["id"]) != row["id"]
            for key, row in stored.items()
            if key in places
        ),
        "errors": len(errors),
    }
    if any(found[name] for name in ("lost", "twice", "invented", "changed", "errors")):
        raise SystemExit(f"{found}; {errors[:1]}")
    return found
