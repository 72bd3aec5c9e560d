"""Puts several files of a folder in the place of others at once: at every instant all are the old ones, or all the new.

Two names cannot be exchanged by one call, so for a moment they are symbolic links through a third one: ``.NAME.pair``
beside the files holds ``old`` (hard links of what is there), ``new`` (what was written) and the link ``now``, which
leads to one of the two. Each name becomes a link to its file in ``now``, which shows what it showed; then ``now`` is
turned from ``old`` to ``new`` by one rename; then the files take the places of the links. Wherever a process is killed,
all names show old files or all new ones, and the next call puts them in their places.
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

    On an error the old ones stay. Only one process at a time may write ``paths``. On a file system without links the
    old ones are removed first and the new ones come after: what a kill leaves there is never old beside new.

    Args:
        paths: of one folder; the first gives the temporary folder its name. One that is not written is removed.

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
    """Whether a process has begun to replace the files and has not ended: it works still, or was killed."""
    return _work(paths).is_dir()


def settle(paths: Sequence[Path]) -> None:
    """Put files in the place of the links that a killed process left, and remove what else it left beside them."""
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
    """What the link in the place of a file says: relative, as the folder of both may be moved."""
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
