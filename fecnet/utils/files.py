"""Atomic file writing (temporary file, flush to disk, rename), reading arrays, and file locks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import io
import json
import os
import stat
import sys
import time
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fecnet.utils.errors import DataError, UserError
from fecnet.utils.in_place import put_in_place, remove, sweep

# Raised by numpy and zipfile for damaged files, found by flipping bits: numpy parses a header as a Python literal.
_DAMAGES = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, ArithmeticError, MemoryError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of file systems mounted without locks
_POLL_S = 0.1


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Add ``path`` to an OSError that names no file, such as that of a full disk.

    Raises:
        OSError: as raised inside, with ``path`` where it named no file.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is None:  # numpy gives only the number of bytes not written
            raise OSError(f"{path}: {error}; is the disk full?") from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_file(path: Path) -> None:
    """Refuse a path that is neither a file nor a folder, since reading it may never end.

    Raises:
        DataError: a pipe, a device or a socket.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # absent, or not a valid name: the caller reports it
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: a pipe, a device or a socket; allowed: a file")


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write and flush to disk; not atomic (used inside folders that are renamed as a whole).

    Raises:
        OSError: the disk is full or read-only.
    """
    with named_errors(path), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replace the content of ``path`` atomically: a reader sees the old content or the new one.

    Raises:
        OSError: the disk is full or read-only.
        UserError: another process has been writing the file for a minute.
    """
    with own_partial(path, wait_s=60) as partial:
        write_bytes(partial, data)
        partial.replace(path)


@contextlib.contextmanager
def own_partial(path: Path, *, wait_s: float = 0.0) -> Iterator[Path]:
    """A temporary, locked file that is to be renamed to ``path``; deleted on an error.

    A file that a killed process left under this name is overwritten.

    Args:
        path: the file to replace.
        wait_s: seconds to wait for another process that writes it.

    Raises:
        UserError: another process is writing it.
    """
    partial = path.with_name(f".{path.name}.partial")
    held: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if _has_locks():
        held = locked(partial, f"{path}: another process is writing it; wait for it to end", wait_s=wait_s)
    with held:
        try:
            yield partial
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def whole_or_absent(path: Path) -> Iterator[Path]:
    """Write a file or folder under a temporary name, which replaces ``path`` on success; see ``put_in_place``.

    On an error the temporary one is removed and the old ``path`` stays. The next call removes what a killed process
    left, so only one process at a time may write ``path``.

    Raises:
        OSError: the disk is full or read-only.
    """
    sweep(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        put_in_place(partial, path)
    finally:
        remove(partial)


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
    """Read arrays of an ``.npz`` by name; others are ignored.

    Args:
        path: the file.
        needed: required arrays.
        optional: arrays read where present.
        kind: what the file should be, for the error message.

    Raises:
        UserError: unreadable, truncated, or an array is missing.
    """
    check_file(path)
    try:
        # Opened here, since numpy does not close a file that is not an archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = (*needed, *(name for name in optional if name in file.files))
            return {name: _sound(file[name], f"{path}: '{name}'") for name in names}
    except DataError:
        raise
    except _DAMAGES as error:
        detail = " ".join(str(error).split())
        raise DataError(f"{path}: not a {kind} with arrays {', '.join(needed or optional)}: {detail}") from error


def open_array(path: Path, *, in_memory: bool = False) -> np.ndarray:
    """The array of an ``.npy``, as a memory map unless ``in_memory``.

    Raises:
        UserError: unreadable or truncated.
    """
    check_file(path)
    try:
        array: np.ndarray = np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)
    except _DAMAGES as error:
        raise DataError(f"{path}: unreadable or truncated: {' '.join(str(error).split())}") from error
    return _sound(array, str(path))


def _sound(array: np.ndarray | bytes, place: str) -> np.ndarray:
    """The array, unless numpy has taken damaged bytes for one.

    Raises:
        DataError: it has.
    """
    if not isinstance(array, np.ndarray):  # a member of an archive whose first bytes are not those of an array
        raise DataError(f"{place}: damaged: not an array")
    if array.dtype.kind == "U":  # numpy fails where an item becomes a str
        code = np.frombuffer(array.tobytes(), np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if code.size and code.max() > sys.maxunicode:
            raise DataError(f"{place}: damaged: text with the code {code.max()}; allowed: up to {sys.maxunicode}")
    return array


def hash_file(path: Path) -> str:
    """sha256 of a file in hexadecimal, read in chunks of constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path, problem: str, *, wait_s: float = 0.0) -> Iterator[int]:
    """Hold the lock of a file; child processes inherit it and may hold it a moment longer.

    The holder may delete the file. On a file system without locks, nothing is locked.

    Args:
        path: the file, created if missing, in an existing folder.
        problem: error message where another process holds the lock.
        wait_s: seconds to wait for the lock.

    Raises:
        UserError: another process holds the lock, or the operating system has no such locks.
    """
    require_locks()
    limit = time.monotonic() + wait_s
    while (handle := _try_lock(path)) is None:
        if time.monotonic() > limit:
            raise UserError(problem)
        time.sleep(_POLL_S)
    try:
        yield handle
    finally:
        os.close(handle)


def require_locks() -> None:
    """Check that this operating system has POSIX file locks.

    Raises:
        UserError: it has none, such as Windows.
    """
    if not _has_locks():
        raise UserError(f"{sys.platform}: this needs the file locks of POSIX; allowed: Linux, macOS")


def _has_locks() -> bool:
    return importlib.util.find_spec("fcntl") is not None


def lock_handle(handle: int) -> None:
    """Lock an open file or folder; the operating system releases the lock when the process ends.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file system has no locks.
        UserError: the operating system has no locks.
    """
    require_locks()
    import fcntl  # here, since Windows lacks it, where nets are loaded and used

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _try_lock(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lock_handle(handle)
        if os.path.samestat(os.fstat(handle), path.stat()):  # else its last holder has just deleted it
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
