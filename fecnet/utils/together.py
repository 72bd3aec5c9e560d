"""Replaces several files of a folder together: at every instant either all are the old ones or all are the new ones.

No single call replaces several names, so for a moment the names are symbolic links. The temporary folder
``.NAME.pair`` contains ``old`` (hard links to the old files), ``new`` (the new files) and the link ``now``, which
points to one of the two. First each name becomes a link to its file in ``now``, so its content does not change. Then
one rename turns ``now`` from ``old`` to ``new``. Then the links are replaced by the files. Wherever the process is
killed, all names lead to old files or all to new ones, and the next call completes the replacement.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from fecnet.utils.in_place import flush_folder, flush_tree, remove

_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def all_or_none(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Write files under temporary names, which replace those at ``paths`` together on success.

    On an error the old files stay. Only one process at a time may write ``paths``. On a file system without links the
    old files are removed before the new ones are renamed, so a kill may lose files there but never mixes old and new.

    Args:
        paths: files of one folder; the temporary folder is named after the first.
            A file that is not written is removed.

    Raises:
        OSError: the disk is full or read-only.
    """
    settle(paths)
    work = _work(paths)
    (work / "old").mkdir(parents=True)
    (work / "new").mkdir()
    written = [work / "new" / path.name for path in paths]
    try:
        yield written
        flush_tree(work)
        if _are_linked(paths):
            _point(work, "new")
        else:
            _replace_in_turn(paths, written)
    finally:
        settle(paths)


def is_unsettled(paths: Sequence[Path]) -> bool:
    """Whether a process has begun to replace the files and has not finished: it is still running, or was killed."""
    return _work(paths).is_dir()


def settle(paths: Sequence[Path]) -> None:
    """Replace the links that a killed process left by their files, and remove what else it left."""
    if not is_unsettled(paths):
        return
    work = _work(paths)
    now = work / "now"
    for path in paths:
        if _leads_to(path, now):
            if (now / path.name).exists():
                (now / path.name).replace(path)
            else:  # there was none
                path.unlink()
    flush_folder(work.parent)
    remove(work)


def _work(paths: Sequence[Path]) -> Path:
    return paths[0].with_name(f".{paths[0].name}.pair")


def _leads_to(path: Path, now: Path) -> bool:
    return path.is_symlink() and path.readlink() == _link_to(path, now)


def _link_to(path: Path, now: Path) -> Path:
    """The target of the link that replaces a file: relative, since the folder may be moved."""
    return Path(now.parent.name, now.name, path.name)


def _are_linked(paths: Sequence[Path]) -> bool:
    """Make each name a link through ``now``, which leads to the old files.

    Returns:
        False where the file system has no links: then nothing is changed.

    Raises:
        OSError: the disk is full or read-only.
    """
    work = _work(paths)
    try:
        for path in paths:
            if path.is_symlink():
                (work / "old" / path.name).symlink_to(path.resolve())
            elif path.exists():
                (work / "old" / path.name).hardlink_to(path)
        _point(work, "old")
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    for folder in (work / "old", work.parent):
        flush_folder(folder)
    for path in paths:
        (work / "link").symlink_to(_link_to(path, work / "now"))
        (work / "link").replace(path)
    flush_folder(work.parent)
    return True


def _point(work: Path, name: str) -> None:
    (work / "next").symlink_to(name)
    (work / "next").replace(work / "now")
    flush_folder(work)


def _replace_in_turn(paths: Sequence[Path], written: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for path, file in zip(paths, written, strict=True):
        if file.exists():
            file.replace(path)
