"""What a cut of power could lose of a command that writes, by the order of its system calls.

A cut loses what was not synced: of a file what was written since its last fsync, of a folder the names that were given
in it since then. So from the calls of a command, listed by strace, it is read whether

- a file or folder gets its final name only when it and all that is in it is synced;
- what stood there before is removed only when the new name is synced, by an fsync of the folder around it;
- ``last`` of a run names a checkpoint only when that, the metrics up to it and the folders around them are synced;
- a file that is written under its final name, as a database is, is synced when the command ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

CALLS = (
    "openat,write,pwrite64,writev,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlink,"
    "symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir"
)
_TEMPORARY = (".partial", ".replaced", ".pair", ".shards")  # of names: unfinished, or what a repeated command takes up
_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)")
_BEGUN = re.compile(r"(\d+) +\w+\((.*) <unfinished \.\.\.>")
_ENDED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)(.*)")
_NAME = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"')
_OPEN_FILE = re.compile(r"\d+<([^>]*)>")


class Disk:
    """What of a folder is on the disk for certain, while a command runs.

    Args:
        folder: that the command runs in; all outside it is ignored.
        old: what is in it before, relative to it.
    """

    def __init__(self, folder: Path, old: Sequence[str]) -> None:
        self._folder = folder.resolve()
        paths = [self._folder / path for path in old]
        self._there = set(paths)
        self._old = set(paths)  # of these, wherever they were moved
        self._written: set[Path] = set()  # files, since their last sync
        self._named: set[Path] = set()  # paths whose name was given since the last sync of the folder around them
        self._renamed: set[Path] = set()  # of these, final names
        self._links: dict[Path, Path] = {}  # symbolic ones: where they lead
        self._losses: list[str] = []

    def follow(self, calls: Sequence[str]) -> None:
        """Take the lines of strace, of all threads."""
        for name, arguments in _calls(calls):
            found = _NAME.findall(arguments)
            paths = [self._path(*names) for names in found]
            match name:
                case "openat" | "mkdir" | "mkdirat":
                    self._make(paths[0])
                case "write" | "pwrite64" | "writev" | "ftruncate" | "fallocate":
                    self._written |= self._inside(_open_file(arguments))
                case "fsync" | "fdatasync":
                    self._sync(_open_file(arguments))
                case "rename" | "renameat" | "renameat2":
                    self._rename(*paths, exchange="RENAME_EXCHANGE" in arguments)
                case "link" | "linkat":
                    self._make(paths[1])
                    self._old |= {paths[1]} if paths[0] in self._old else set()
                case "symlink" | "symlinkat":
                    self._make(paths[1])
                    self._links[paths[1]] = paths[1].parent / found[0][1]
                case "unlink" | "unlinkat" | "rmdir":
                    self._remove(paths[0])

    def losses(self, output: Sequence[str]) -> list[str]:
        """What a cut of power at some moment could lose, in words.

        Args:
            output: the files that the command has written, relative to the folder.
        """
        left = [path for path in output if self._folder / path in self._written]
        return [*dict.fromkeys(self._losses), *(f"{path}: not synced at the end" for path in left)]

    def _path(self, folder: str, name: str) -> Path:
        """Absolute, with the links among the folders above it followed."""
        path = self._folder / folder / name
        for link, target in self._links.items():
            if link in path.parents:
                path = target / path.relative_to(link)
        return path

    def _inside(self, path: Path) -> set[Path]:
        return {path} if self._folder in path.parents else set()

    def _make(self, path: Path) -> None:
        if path not in self._there:
            self._there |= self._inside(path)
            self._named |= self._inside(path)

    def _sync(self, path: Path) -> None:
        self._written.discard(path)
        for names in (self._named, self._renamed):
            names -= {name for name in names if name.parent == path}

    def _rename(self, old: Path, new: Path, *, exchange: bool) -> None:
        if not _is_temporary(new):
            self._check_synced(old, new)
        before = self._take(new, old)  # what is called so already
        for paths, moved, back in zip(self._known, self._take(old, new), before, strict=True):
            paths |= moved | (back if exchange else set())
        self._links.pop(new, None)
        if old in self._links:
            self._links[new] = self._links.pop(old)
        self._named.add(new)
        if not _is_temporary(new):
            self._renamed.add(new)

    def _check_synced(self, old: Path, new: Path) -> None:
        """Note what is not synced of what now gets its final name, or of what a pointer names."""
        waiting = self._written | self._named
        lost = {path for path in waiting if old in path.parents} | (self._written & {old})
        if new.name == "last":
            run = new.parents[1]
            lost |= {path for path in waiting if run in path.parents or path in new.parents} - {old, new}
        self._losses += [
            f"{self._short(new)} gets its name before {self._short(path)} is synced" for path in sorted(lost)
        ]

    def _remove(self, path: Path) -> None:
        if path in self._old:
            self._losses += [
                f"{self._short(path)} is removed before the name {self._short(name)} is synced"
                for name in sorted(self._renamed)
            ]
        self._links.pop(path, None)
        self._take(path, path)

    @property
    def _known(self) -> tuple[set[Path], ...]:
        return self._there, self._old, self._written, self._named

    def _take(self, old: Path, new: Path) -> list[set[Path]]:
        """Take a path and all below it out of what is known of each kind; as they are called afterwards."""
        found = []
        for paths in (*self._known, self._renamed):
            own = {path for path in paths if path == old or old in path.parents}
            paths -= own
            found.append({new / path.relative_to(old) for path in own})
        return found[:-1]

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self._folder))


def _is_temporary(path: Path) -> bool:
    return any(part in str(path) for part in _TEMPORARY)


def _open_file(arguments: str) -> Path:
    found = _OPEN_FILE.match(arguments)
    return Path(found[1] if found else "")


def _calls(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and arguments of the calls that succeeded, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in lines:
        if (found := _BEGUN.fullmatch(line)) is not None:
            begun[found[1]] = found[2]
        elif (found := _ENDED.fullmatch(line)) is not None:
            line = f"{found[1]} {found[2]}({begun.pop(found[1], '')}{found[3]}) = {found[4]}"
        if (whole := _WHOLE.fullmatch(line)) is None or whole[4].startswith("-"):
            continue
        if whole[2] != "openat" or "O_CREAT" in whole[3]:
            yield whole[2], whole[3]
