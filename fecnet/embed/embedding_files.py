"""The output formats of ``fecnet embed``: one array and its table, one table, or a file for each image.

Each is written from a stream of rows under a temporary name, then renamed. Shape suffixes: N pictures, D numbers each.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from fecnet.embed.shards import Rows
from fecnet.encoder.pictures import OK
from fecnet.utils.errors import UserError
from fecnet.utils.files import named_errors, whole_or_absent
from fecnet.utils.lookup import lookup
from fecnet.utils.together import all_or_none

BOX = ("x1", "y1", "x2", "y2")
COLUMNS = ("name", "frame", "time_s", "status", *BOX, "score")  # frame: of a video, or row of a packed set

Write = Callable[[Path, Iterable[Rows], int, int], None]


def output_path(output: str | Path, kind: str) -> Path:
    """The output path for the format, checked before any work is done.

    Args:
        output: the path that the user gave; empty for ``embeddings`` in the current folder.
        kind: ``npy``, ``csv`` or ``mirrored``.

    Raises:
        UserError: an unknown format, or a name with another suffix than that of the format.
    """
    _, suffix = lookup(_FORMATS, kind, key="format")
    path = Path(output or f"embeddings{suffix}")
    if path.suffix != suffix and (suffix or path.suffix in (".npy", ".csv")):
        raise UserError(f"{path}: format {kind} writes {f'a file *{suffix}' if suffix else 'a folder'}")
    return path


def written(path: Path, kind: str) -> list[Path]:
    """All files that the format writes for ``path``."""
    return [path, path.with_suffix(".csv")] if kind == "npy" else [path]


def made_here(folder: Path) -> bool:
    """Whether a folder was written by format ``mirrored`` and contains nothing else."""
    table = folder / "status.csv"
    if folder.is_symlink() or not table.is_file():
        return False
    with table.open(encoding="utf-8", errors="replace") as lines:
        if lines.readline(1000).rstrip() != ",".join(COLUMNS):
            return False
    return all(
        not path.is_symlink() and (path == table or path.is_dir() or path.suffix == ".npy")
        for path in folder.rglob("*")
    )


def write_rows(path: Path, kind: str, rows: Iterable[Rows], num: int, dims: int) -> None:
    """Write all rows to ``path``, replacing what is there.

    Args:
        path: see ``output_path``.
        kind: ``npy``, ``csv`` or ``mirrored``.
        rows: the pictures in order.
        num: N.
        dims: D.

    Raises:
        OSError: the disk is full or read-only.
        UserError: two pictures would have the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write, _ = _FORMATS[kind]
    with named_errors(path):
        write(path, rows, num, dims)


def _write_npy(path: Path, rows: Iterable[Rows], num: int, dims: int) -> None:
    """The vectors, float32, shape (N, D), and a table with the source of each: both at once."""
    with (
        all_or_none(written(path, "npy")) as (array, table),
        array.open("wb") as file,
        table.open("w", newline="", encoding="utf-8") as lines,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": (num, dims)}
        np.lib.format.write_array_header_1_0(file, header)
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        for some in rows:
            file.write(np.ascontiguousarray(some.vector_ND, "<f4").tobytes())
            writer.writerows(_cells(some))


def _write_csv(path: Path, rows: Iterable[Rows], num: int, dims: int) -> None:
    """One table: the source of each vector, then its values, which restore float32 exactly."""
    with whole_or_absent(path) as table, table.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow([*COLUMNS, *(f"v{place}" for place in range(dims))])
        for some in rows:
            for cells, vector_D in zip(_cells(some), some.vector_ND.tolist(), strict=True):
                numbers = [f"{value:.9g}" for value in vector_D] if cells[3] == OK else [""] * dims
                writer.writerow([*cells, *numbers])


def _write_mirrored(path: Path, rows: Iterable[Rows], num: int, dims: int) -> None:
    """The folder tree of the photos, with a vector, float32, shape (D,), for each; ``status.csv`` lists all."""
    with whole_or_absent(path) as folder:
        folder.mkdir(parents=True)
        with (folder / "status.csv").open("w", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines)
            writer.writerow(COLUMNS)
            for some in rows:
                writer.writerows(_cells(some))
                for place, status, vector_D in zip(some.place, some.status, some.vector_ND, strict=True):
                    if status == OK:
                        _save_vector(folder / f"{place}.npy", vector_D, path)


def _save_vector(file: Path, vector_D: np.ndarray, output: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        raise UserError(f"{output}: two pictures for {file.name}; give their sources one at a time, or format npy")
    np.save(file, vector_D, allow_pickle=False)


_FORMATS: dict[str, tuple[Write, str]] = {
    "npy": (_write_npy, ".npy"),
    "csv": (_write_csv, ".csv"),
    "mirrored": (_write_mirrored, ""),
}


def shown(name: str) -> str:
    """A file's name for display: bytes that are not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _cells(rows: Rows) -> Iterator[list[str]]:
    """The columns of each row."""
    columns = (rows.name, rows.number, rows.time_s, rows.status, rows.box_N4, rows.score_N)
    for name, number, time_s, status, box_4, score in zip(*columns, strict=True):
        frame, time = "" if number < 0 else str(number), "" if np.isnan(time_s) else f"{time_s:.3f}"
        yield [shown(str(name)), frame, time, str(status), *box_cells(box_4), "" if np.isnan(score) else f"{score:.4f}"]


def box_cells(box_4: np.ndarray) -> list[str]:
    """A box of a table, to a hundredth of a pixel; empty cells where nothing was detected."""
    return ["" if np.isnan(edge) else f"{edge:.2f}" for edge in box_4.tolist()]
