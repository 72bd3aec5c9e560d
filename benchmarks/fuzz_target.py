"""What is fuzzed: valid inputs, and what opens them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzz_mutations import Files

FORMATS = Path(__file__).parents[1] / "tests" / "formats"  # a small file of each format
_LONGEST = 1000  # characters of a message


@dataclass(frozen=True)
class Target:
    """A reader and inputs for it.

    Attributes:
        name: in the table.
        bases: makes valid inputs.
        read: opens the input in a folder, checks what it reads, and raises what the reader raises.
        words: that fields and bytes may be replaced by, besides those of all.
        names: whether the paths of files mean something, so that they are changed too.
        writes: whether the reader writes into the folder.
        mend: makes checksums right again, so that a change is not refused by them alone.
        lines: whether a message may have several lines, each of which is held to the same.
        unnamed: whether the input is no file, so that messages name none.
        weight: of its share of all inputs.
    """

    name: str
    bases: Callable[[], list[Files]]
    read: Callable[[Path], None]
    words: tuple[bytes, ...] = ()
    names: bool = False
    writes: bool = False
    mend: Callable[[Files], Files] | None = None
    lines: bool = False
    unnamed: bool = False
    weight: int = 4


def told_wrong(text: str, folder: Path, target: Target) -> str:
    """What is wrong with a message; empty if nothing is."""
    lines = text.split("\n") if target.lines else [text]
    if any(len(line) > _LONGEST for line in lines):
        return f"{max(map(len, lines))} characters in a line"
    if any(not line.isprintable() for line in lines):
        return "not printable in a line" if target.lines else "not one printable line"
    if not target.unnamed and any(str(folder) not in line for line in lines):
        return "names no file"
    return ""


def stored(*places: str) -> Files:
    """Files and folders of the stored formats, without the folder's name."""
    found: Files = {}
    for place in places:
        path = FORMATS / place
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file():
                found[file.name if path.is_file() else file.relative_to(path).as_posix()] = file.read_bytes()
    return found


def check(kept: bool, what: str) -> None:
    """Raise an AssertionError, which is a find, unless what was read is as it must be."""
    if not kept:
        raise AssertionError(what)
