"""A study on disk: a folder with its database, the pictures of its faces, and its texts.

The database is SQLite in WAL mode with ``synchronous=FULL``: a transaction that has returned is on disk, and survives
a killed process and a power cut.
"""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fecnet.rate.schema import APPLICATION_ID, TABLES, VERSION
from fecnet.utils.errors import DataError, UserError
from fecnet.utils.files import locked, whole_or_absent
from fecnet.utils.versioned import check_format

DATABASE, FACES, INSTRUCTIONS, CONSENT = "study.db", "faces", "instructions.md", "consent.md"
_WAIT_S = 10.0  # maximum wait for another process that writes
_LOCK = ".served"


class Study:
    """An open study. Its methods may be called from several threads at once; writing is one at a time.

    Args:
        path: the folder.

    Attributes:
        path: the folder.

    Raises:
        DataError: no study, damaged, or made by a newer version of fecnet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._writing, self._reading = threading.RLock(), threading.Lock()
        self._file = file = self.path / DATABASE
        if not file.is_file():
            raise DataError(f"{self.path}: no study here (no {DATABASE}); make one with: fecnet rate new")
        with told(file):
            _check(file)
            self._writer = _connect(file)
            try:
                self._reader = _connect(file)  # reads while a commit waits for the disk
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Close the database; committed transactions are on disk already."""
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on disk afterwards, or none of it if an exception leaves the block.

        Raises:
            OSError: the disk is full or fails.
            UserError: another process has been writing for too long.
        """
        with self._writing, told(self._file):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk may have ended it
                    self._writer.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query on committed data.

        Raises:
            OSError: the disk fails.
        """
        with self._reading, told(self._file):
            return self._reader.execute(query, values).fetchall()

    def one(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        return next(iter(self.rows(query, *values)), None)

    def setting(self, name: str) -> Any:
        """A setting, see ``fecnet.rate.new``."""
        row = self.one("SELECT value FROM settings WHERE name = ?", name)
        assert row is not None, name
        return json.loads(row["value"])

    def set(self, **values: Any) -> None:
        """Store settings."""
        with self.changing() as database:
            store_settings(database, **values)

    def text(self, name: str) -> str:
        """``instructions.md`` or ``consent.md``; empty where the owner deleted it.

        Raises:
            DataError: not UTF-8.
        """
        file = self.path / name
        try:
            return file.read_text(encoding="utf-8") if file.is_file() else ""
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: is not UTF-8 ({error.reason} at byte {error.start})") from error

    @contextmanager
    def served(self) -> Iterator[None]:
        """Lock of the only server of the study.

        Raises:
            UserError: another server holds it.
        """
        problem = f"{self.path}: is served by another process already; allowed: one server a study"
        with locked(self.path / _LOCK, problem):
            yield

    def back_up(self, target: str | Path) -> None:
        """Write a copy that is a complete study; raters may answer meanwhile.

        Args:
            target: the folder to create; the copy has all answers stored before the call, and possibly later ones.

        Raises:
            DataError: ``target`` exists.
            OSError: the disk is full.
        """
        target = Path(target)
        if target.exists():
            raise DataError(f"{target}: exists; allowed: a folder to create")
        with whole_or_absent(target) as partial:
            partial.mkdir(parents=True)
            file = partial / DATABASE
            with told(file), closing(_connect(self.path / DATABASE)) as source, closing(sqlite3.connect(file)) as copy:
                # in one step: SQLite restarts the backup whenever an answer is written between steps
                source.backup(copy)
            with told(file), closing(_connect(file)) as copy:
                (found,) = copy.execute("PRAGMA quick_check").fetchone()
                if found != "ok":
                    raise DataError(f"{self.path / DATABASE}: damaged: {found}")
            for name in (INSTRUCTIONS, CONSENT):
                if (self.path / name).is_file():
                    shutil.copyfile(self.path / name, partial / name)
            shutil.copytree(self.path / FACES, partial / FACES)


def create_database(folder: Path, **settings: Any) -> None:
    """Write the tables of a new study to an existing folder."""
    file = folder / DATABASE
    with told(file), closing(_connect(file)) as database:
        database.executescript(
            f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
        )
        database.execute("BEGIN")
        store_settings(database, **settings)
        database.execute("COMMIT")


def store_settings(database: sqlite3.Connection, **values: Any) -> None:
    """Store settings, inside a transaction."""
    database.executemany(
        "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [(name, json.dumps(value)) for name, value in values.items()],
    )


@contextmanager
def told(file: Path) -> Iterator[None]:
    """Convert SQLite's errors about the disk, other processes and damage to one-line errors that name the file.

    Raises:
        OSError: the disk is full or fails.
        UserError: another process has been writing for too long.
        DataError: the file is damaged, or not an SQLite database.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, f"no room on the disk ({error})", str(file)) from error
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise OSError(errno.EIO, str(error), str(file)) from error
        if code == sqlite3.SQLITE_BUSY:
            raise UserError(f"{file}: another process has written for over {_WAIT_S:g} seconds; try again") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DataError(f"{file}: no database of a study, or damaged: {error}") from error
        raise


def now() -> float:
    """The time as stored in the tables: seconds since 1970."""
    return round(time.time(), 3)


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    return database


def _check(file: Path) -> None:
    """Refuse databases that are not studies before anything is written to them: ``_connect`` sets the journal mode."""
    with closing(sqlite3.connect(file, timeout=_WAIT_S)) as database:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        there = _columns(database)
    if application != APPLICATION_ID:
        raise DataError(f"{file}: a database of something else (application_id {application}); expected a study")
    check_format(version, VERSION, file, DataError)
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(TABLES)
        if lacking := sorted(_columns(empty) - there):
            raise DataError(f"{file}: damaged: lacks {', '.join(lacking[:3])}; take a copy that was made before")


def _columns(database: sqlite3.Connection) -> set[str]:
    """Every column as ``table.column``."""
    found = database.execute(
        "SELECT tables.name || '.' || columns.name FROM sqlite_master AS tables "
        "JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
    )
    return {name for (name,) in found}
