"""Tables of faces, written row by row: CSV, Parquet and JSON with the same columns.

Shape suffixes: K classes, D embedding dimensions.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from fecnet.analysis.reading import FaceRow
from fecnet.encoder.encoder import Encoder
from fecnet.utils.errors import UserError
from fecnet.utils.files import named_errors, whole_or_absent

_INSTALL = "Parquet needs pyarrow; install it with: pip install 'fecnet[tables]'"
_GROUP = 4096  # rows of a Parquet file that are buffered and written together

Cells = dict[str, str | int | float | None]


class Columns:
    """The columns of a net's table.

    Args:
        encoder: the net.

    Attributes:
        kinds: the type of each column by name, in order.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._classes = encoder.classes if encoder.has_output("logits") else ()
        self._affect = encoder.has_output("valence_arousal")
        self._dims = encoder.dims("embedding") if encoder.has_output("embedding") else 0
        self.kinds: dict[str, type] = {"picture": str, "frame": int, "time_s": float, "track": int}
        self.kinds |= dict.fromkeys(("x1", "y1", "x2", "y2", "score"), float) | {"status": str}
        if self._classes:
            self.kinds |= {"expression": str} | {f"probability_{name}": float for name in self._classes}
        if self._affect:
            self.kinds |= {"valence": float, "arousal": float}
        if self._dims:
            self.kinds |= {"change": float, "since_s": float} | {f"embedding_{d}": float for d in range(self._dims)}

    def cells(self, row: FaceRow) -> Cells:
        """The values of a row; None for missing values."""
        face = row.face
        found = [None if number != number else number for number in (*face.box_4.tolist(), face.score)]  # of NaN
        values = [row.picture, row.frame, row.time_s, row.track, *found, face.status]
        if self._classes:
            told = face.probability_K
            values += [face.expression, *([None] * len(self._classes) if told is None else told.tolist())]
        if self._affect:
            values += [face.valence, face.arousal]
        if self._dims:
            embedding = [None] * self._dims if face.embedding_D is None else face.embedding_D.tolist()
            values += [row.change, row.since_s, *embedding]
        return dict(zip(self.kinds, values, strict=True))


class FaceTable(Protocol):
    """A table that is being written."""

    def add(self, cells: Cells) -> None:
        """Write a row."""


@contextmanager
def open_table(path: Path, columns: Columns) -> Iterator[FaceTable]:
    """Write a table, CSV or Parquet by its suffix; the file appears only when it is complete.

    Args:
        path: see ``check_table``.
        columns: its columns.

    Raises:
        UserError: pyarrow is missing.
        OSError: the disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(path), whole_or_absent(path) as partial:
        if path.suffix.lower() == ".parquet":
            with _arrow().parquet.ParquetWriter(partial, _schema(columns)) as writer:
                parquet = _Parquet(writer)
                yield parquet
                parquet.flush()
        else:
            with partial.open("w", newline="", encoding="utf-8") as lines:
                rows = csv.DictWriter(lines, list(columns.kinds))
                rows.writeheader()
                yield _Csv(rows)


def check_table(path: Path) -> None:
    """Raise UserError unless a table of this name can be written: ``.csv``, or ``.parquet`` if pyarrow is installed."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"{path}: '{path.suffix}' names no table to write here; allowed: .csv, .parquet")
    if path.suffix.lower() == ".parquet":
        _arrow()


class _Csv:
    def __init__(self, rows: csv.DictWriter[str]) -> None:
        self._rows = rows

    def add(self, cells: Cells) -> None:
        self._rows.writerow(
            {name: f"{value:.9g}" if isinstance(value, float) else value for name, value in cells.items()}
        )


class _Parquet:
    def __init__(self, writer: Any) -> None:
        self._writer, self._held = writer, list[Cells]()

    def add(self, cells: Cells) -> None:
        self._held.append(cells)
        if len(self._held) == _GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows."""
        if self._held:
            self._writer.write_table(_arrow().Table.from_pylist(self._held, schema=self._writer.schema))
            self._held = []


class JsonFaces:
    """The faces in a JSON document, one per line.

    Args:
        file: file to write to.
        head: fields before the faces.
    """

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        self._file, self._between = file, "\n"
        file.write(f'{_json(head)[:-1]}, "faces": [')

    def add(self, cells: Cells) -> None:
        """Write a row."""
        self._file.write(f"{self._between}{_json(cells)}")
        self._between = ",\n"

    def end(self, tail: Mapping[str, Any]) -> None:
        """Write the fields after the faces."""
        self._file.write(f"\n], {_json(tail)[1:]}\n")


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _arrow() -> Any:
    """Pyarrow with its Parquet writer.

    Raises:
        UserError: it is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(_INSTALL) from error
    return pyarrow


def _schema(columns: Columns) -> Any:
    arrow = _arrow()
    of = {str: arrow.string(), int: arrow.int64(), float: arrow.float32()}
    return arrow.schema(
        [(name, arrow.float64() if name.endswith("_s") else of[kind]) for name, kind in columns.kinds.items()]
    )
