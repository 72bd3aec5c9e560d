"""Replaces a file or folder by another one: at every instant either the old or the new one is there, complete.

What a killed process leaves has reserved names, and the next call for the same target removes it: ``.NAME.partial`` is
incomplete, or was being deleted; ``.NAME.replaced`` is the complete old one, from between two renames.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)  # of old kernels and some file systems
_HERE, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2  # AT_FDCWD; of Linux; of macOS


def put_in_place(new: Path, target: Path) -> None:
    """Flush ``new`` to disk and rename it to ``target``; the old target is deleted last, under the name of ``new``.

    A folder cannot be renamed onto another one, so the two names are exchanged in one call. Where the system has no
    such call, the old one is moved aside first; ``sweep`` restores it if the process was killed before the second
    rename.

    Args:
        new: a file or folder in the folder of ``target``, with a name that ``sweep`` or its owner removes.
        target: the path to replace; may not exist yet.

    Raises:
        OSError: the disk is full or read-only; the old ``target`` is restored.
    """
    flush_tree(new)
    if not target.is_dir():
        new.replace(target)
    elif not _exchange(new, target):
        aside = _aside(target)
        target.rename(aside)
        try:
            new.rename(target)
        except OSError:
            aside.rename(target)
            raise
        aside.rename(new)  # before it is deleted: a ``.replaced`` is always complete
    flush_folder(target.parent)
    remove(new)


def sweep(target: Path) -> None:
    """Restore the old ``target`` that a killed process had moved aside, and remove what else that process left."""
    bring_back(target)
    partial = target.with_name(f".{target.name}.partial")
    remove(partial)
    if _aside(target).exists():
        _aside(target).rename(partial)
        remove(partial)


def bring_back(target: Path) -> None:
    """Undo the first of two renames where the process was killed before the second one."""
    if _aside(target).exists() and not target.exists():
        _aside(target).rename(target)


def discard(folder: Path) -> None:
    """Delete a folder that must never be seen half deleted; what remains after a kill is called ``.NAME.partial``."""
    partial = folder.with_name(f".{folder.name}.partial")
    remove(partial)
    folder.rename(partial)
    remove(partial)


def remove(path: Path) -> None:
    """Delete a file or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folders(path: Path) -> None:
    """Make a folder and those above it that are missing, and flush their names to disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        flush_folder(folder.parent)


def flush_tree(path: Path) -> None:
    """Flush a file, or a folder and all in it, to disk."""
    with ThreadPoolExecutor(16) as pool:  # flushing many files concurrently takes little longer than a few
        for _ in pool.map(flush_folder, [*path.rglob("*"), path]):  # raises the errors of the workers
            pass


def flush_folder(path: Path) -> None:
    """Flush the renames inside a folder, or the content of a file, to disk, so that it survives a power cut.

    A no-op on Windows, which cannot open folders or flush a file opened for reading.
    """
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one call.

    Returns:
        False where the system or the file system has no such call.

    Raises:
        OSError: it failed.
    """
    call = _system_call()
    if call is None:
        return False
    code = call(os.fsencode(one), os.fsencode(other))
    if code in _CANNOT:
        return False
    if code:
        raise OSError(code, os.strerror(code), str(one), None, str(other))
    return True


@cache
def _system_call() -> Callable[[bytes, bytes], int] | None:
    """A function that exchanges two names and returns 0 or an error number; None where the system has none."""
    if os.name == "nt":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "renameat2"):  # Linux

        def call(one: bytes, other: bytes) -> int:
            return int(library.renameat2(_HERE, one, _HERE, other, _RENAME_EXCHANGE)) and ctypes.get_errno()
    elif sys.platform == "darwin":

        def call(one: bytes, other: bytes) -> int:
            return int(library.renamex_np(one, other, _RENAME_SWAP)) and ctypes.get_errno()
    else:
        return None
    return call
