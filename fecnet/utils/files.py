"""Files that are whole or not there: written beside their place, flushed to disk, then renamed; and reading them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import io
import json
import os
import shutil
import sys
import time
import tokenize
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.utils.errors import DataError, UserError

# What numpy and zipfile raise for damaged files, found by flipping bits: numpy reads a header as a Python literal.
_DAMAGES = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # as shared disks answer that are mounted without
_LOOK_S = 0.1


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Give an error of the system the name of what was written: a full disk tells none by itself.

    Raises:
        OSError: as inside, with ``path`` where it named no file.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:  # numpy counts the bytes that found no place
            raise OSError(f"{path}: {error}; is the disk full?") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write and flush to disk; not atomic by itself (used inside folders that are renamed as a whole).

    Raises:
        OSError: the disk is full or read-only.
    """
    with named_errors(path), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_bytes(path: Path, data: bytes | memoryview) -> None:
    """Make ``path`` hold ``data``, atomically: a reader sees the old content or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write_bytes(partial, data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """A temporary name for a file or folder, which gets ``path`` at the end, in place of what stands there.

    All is flushed to disk before. After an error nothing is left of it, and what stood there stays. What a kill left is
    removed by the next call, or brought back where it is the old folder and no new one stands: so one process at a time
    may write ``path``.

    Raises:
        OSError: the disk is full or read-only.
    """
    partial, replaced = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.replaced")
    if replaced.exists() and not path.exists():
        replaced.rename(path)
    _remove(replaced)
    _remove(partial)
    try:
        yield partial
        with ThreadPoolExecutor(16) as pool:  # a disk flushes many files at once in the time of a few
            deque(pool.map(flush_folder, [*partial.rglob("*"), partial]), maxlen=0)  # raises what was raised there
        if path.is_dir():  # a folder takes the place of nothing: the old one goes once the new one stands
            path.rename(replaced)
            try:
                partial.rename(path)
            except OSError:
                replaced.rename(path)
                raise
        else:
            partial.replace(path)
        flush_folder(path.parent)
        _remove(replaced)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    """A file or a folder with all in it, where there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """``replace_bytes`` with text."""
    replace_bytes(path, text.encode())


def replace_json(path: Path, value: Any) -> None:
    """``replace_text`` with ``value`` as indented JSON."""
    replace_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def replace_arrays(path: Path, **arrays: np.ndarray) -> None:
    """``replace_bytes`` with an ``.npz`` of the arrays."""
    held = io.BytesIO()
    np.savez(held, **arrays)  # type: ignore[arg-type]
    replace_bytes(path, held.getbuffer())


def read_arrays(path: Path, needed: Sequence[str], *, optional: Sequence[str] = (), kind: str) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz``; others in it are not read.

    Args:
        path: the file.
        needed: arrays that must be in it.
        optional: arrays that may be in it.
        kind: what the file should be, for the error.

    Raises:
        UserError: unreadable, truncated, or an array is missing.
    """
    try:
        # Opened here, since numpy leaves a file open that is no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in (*needed, *(name for name in optional if name in file.files))}
    except _DAMAGES as error:
        told = " ".join(str(error).split())
        raise DataError(f"{path}: not a {kind} with arrays {', '.join(needed or optional)}: {told}") from error


def open_array(path: Path, *, in_memory: bool = False) -> np.ndarray:
    """The array of an ``.npy``, as a memory map unless ``in_memory``.

    Raises:
        UserError: unreadable or truncated.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)
    except _DAMAGES as error:
        raise DataError(f"{path}: unreadable or truncated: {' '.join(str(error).split())}") from error
    return array


def hash_file(path: Path) -> str:
    """sha256 of a file in hexadecimal; read in pieces, so that memory does not grow with it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(path: Path) -> None:
    """Make renames inside ``path``, or what was written to it where it is a file, survive a power cut.

    Not on Windows, which opens no folders and flushes no file that is open for reading.
    """
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, problem: str, *, wait_s: float = 0.0) -> Iterator[int]:
    """An open file that only one process holds, with those that it has started: these may outlive it for a moment.

    Its holder may remove it. On a disk that knows no locks it is open to all.

    Args:
        path: the file; made where absent, in a folder that exists.
        problem: what to say where it is held.
        wait_s: for its holder to end.

    Raises:
        UserError: another process holds it, or the system has no such locks.
    """
    require_locks()
    limit = time.monotonic() + wait_s
    while (handle := _try_lock(path)) is None:
        if time.monotonic() > limit:
            raise UserError(problem)
        time.sleep(_LOOK_S)
    try:
        yield handle
    finally:
        os.close(handle)


def require_locks() -> None:
    """Make sure that this system has file locks.

    Raises:
        UserError: it has none, as Windows.
    """
    if importlib.util.find_spec("fcntl") is None:
        raise UserError(f"{sys.platform}: this needs the file locks of POSIX; allowed: Linux, macOS")


def lock_handle(handle: int) -> None:
    """Take the lock of an open file or folder, which the system frees when the process ends.

    Raises:
        BlockingIOError: another process holds it.
        OSError: its disk knows no locks.
        UserError: the system has none.
    """
    require_locks()
    import fcntl  # here, since Windows lacks it, and nets are loaded and used there

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _try_lock(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lock_handle(handle)
        if os.path.samestat(os.fstat(handle), path.stat()):  # else its last holder has just removed it
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return handle
        os.close(handle)
        raise
    os.close(handle)
    return None
