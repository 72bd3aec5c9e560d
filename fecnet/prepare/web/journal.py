"""The journal of a download, a file that survives a kill, and the lock that limits a folder to one process."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from fecnet.utils.errors import DataError
from fecnet.utils.files import lock_handle

FORMAT = 1
STORED = "stored"  # outcome of a stored photo; all other outcomes are reasons of failure


class FolderLock:
    """Context manager that locks ``folder`` for this process; the system releases the lock when the process ends."""

    def __init__(self, folder: Path, *, at_work: str = "download") -> None:
        self._folder = folder
        self._at_work = at_work
        self._handle = -1

    def __enter__(self) -> FolderLock:
        """Take the lock.

        Raises:
            DataError: another process holds it.
        """
        self._handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            lock_handle(self._handle)
        except BlockingIOError as error:
            os.close(self._handle)
            raise DataError(f"{self._folder}: another {self._at_work} is at work here; wait for it to end") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)


class Journal:
    """Append-only JSON lines, one per final outcome of a URL; the last line of a URL counts.

    The first line holds the format version. An incomplete last line, after a kill, is removed. Thread-safe.

    Args:
        path: the file; created if missing.

    Attributes:
        entries: the last outcome by URL.

    Raises:
        DataError: another format version, or an invalid line.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            os.ftruncate(self._handle, whole)
            self.entries = _entries(path, content[:whole])
            if not whole:
                self._append({"format": FORMAT})
        except BaseException:
            os.close(self._handle)
            raise

    def write(self, entry: dict[str, Any]) -> None:
        """Append the outcome of ``entry["url"]``, in one system call."""
        with self._lock:
            if self._handle < 0:  # closed: ignore a late worker
                return
            self._append(entry)
            self.entries[entry["url"]] = entry

    def _append(self, entry: dict[str, Any]) -> None:
        line = (json.dumps(entry) + "\n").encode()
        before = os.fstat(self._handle).st_size
        try:
            if os.write(self._handle, line) != len(line):
                raise OSError(errno.ENOSPC, "only part of a line was written; is the disk full?", str(self._path))
        except OSError as error:
            os.ftruncate(self._handle, before)  # otherwise the next line would be appended to this part
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self) -> None:
        """Flush to disk; later writes are ignored."""
        with self._lock:
            if self._handle >= 0:
                os.fsync(self._handle)
                os.close(self._handle)
                self._handle = -1


def _entries(path: Path, content: bytes) -> dict[str, dict[str, Any]]:
    entries = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            entry = json.loads(line)
            if number == 1:
                if entry != {"format": FORMAT}:
                    raise DataError(f"{path}:1: expected {{'format': {FORMAT}}}, found {line[:80]!r}")
                continue
            for key in ("outcome", "lasting", *(("bytes", "sha256") if entry["outcome"] == STORED else ())):
                entry[key]  # KeyError where it is missing
            entries[entry["url"]] = entry
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{number}: not a journal line; delete the line to continue without it") from error
    return entries
