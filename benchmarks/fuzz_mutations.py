"""Mutations of valid files, driven by a string of bytes: one that is shorter, or has more zeros, changes less.

A file is changed by its form, so that more than its first check is reached: fields of lines, values of JSON, arrays and
members of archives, tensors, rows of a database, chunks of a PNG, nodes of a graph; once in four times its bare bytes.
"""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
Files = dict[str, bytes]  # content by path below a folder

_WORDS = (  # what fields, lines and bytes are replaced by
    *(b"", b"0", b"-1", b"1", b"3", b"1.0", b"1e999", b"nan", b"inf", b"-0", b"0x10", b"1_000", b"9" * 400),
    *(b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b" ", b"\0", b"\xff", b"\xef\xbb\xbf", b"a" * 3000, b"%s"),
    *("é".encode(), "٣".encode(), "\u2028".encode(), b"\x1b[2J", b"../x", b"/x", b"C:\\x", b"x://y", b".", b"#"),
    *(b"true", b"null", b"{}", b"[", b"*a", b"&a ", b"!!x ", b"? ", b"- ", b": ", b"|", b"<<: ", b"2001-01-01"),
)
_NESTED: Any = 0
for _ in range(60):
    _NESTED = [_NESTED]
_VALUES: tuple[Any, ...] = (  # what values of JSON and of a database are replaced by
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**63), 10**300, 1.5, -0.0, float("nan"), float("inf"), 1e308),
    *("", "x", "1", "nan", "\0", "é", "\ud800", "\n", "\x1b[2J", "../x", "/x", "a" * 3000, "cpu", "best"),
    *([], {}, [None], [[]], {"": None}, {"x": 1}, [0] * 300, _NESTED),
)
_KINDS = ("<i8", ">i4", "i1", "u1", "<u8", "f2", "<f4", "f8", "c8", "?", "U3", "S3", "M8[s]", "i4,i4")
_EXTREMES = (0, 1, -1, 2, 127, 255, 2**31 - 1, 2**62, 0.5, float("nan"), float("inf"), 1e30)


_PICTURES = (".png", ".jpg", ".tiff")


class Choices:
    """Numbers out of a string of bytes; zeros once it has ended."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def below(self, most: int) -> int:
        """A number of 0..``most`` − 1."""
        size = 1 if most <= 256 else 2 if most <= 1 << 16 else 4
        part = self._content[self._place : self._place + size]
        self._place += size
        return int.from_bytes(part, "little") % most if most > 0 else 0

    def of(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def rarely(self) -> bool:
        """Once in four times."""
        return self.below(4) == 3


def mutate(files: Files, choices: Choices, words: Sequence[bytes] = (), *, names: bool = False) -> Files:
    """The files with one to four changes; with ``names`` their paths may change too."""
    files, all_words = dict(files), (*words, *_WORDS)
    for _ in range(1 + choices.below(4)):
        if not files:
            break
        name = choices.of(sorted(files))
        if names and choices.rarely() != name.lower().endswith(_PICTURES):  # whose names say more than their pixels
            _change_name(files, name, choices, all_words)
        else:
            files[name] = mutate_file(name, files[name], choices, all_words)
    return files


def mutate_file(name: str, content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    """One change of a file, by the form that its suffix says, or of its bytes."""
    form = _FORMS.get(PurePosixPath(name).suffix)
    if form and not choices.rarely():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return form(content, choices, words)
        except Exception:  # a change before this one left it without that form
            pass
    return _bytes(content, choices, words)


def _bytes(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    kind, start = choices.below(7), choices.below(len(content) + 1)
    end = start + 1 + choices.below(40)
    if kind == 0:
        return content[:start]
    if kind == 1:
        return (
            content[:start]
            + bytes(byte ^ 1 << choices.below(8) for byte in content[start : start + 1])
            + content[start + 1 :]
        )
    if kind == 2:
        return content[:start] + bytes([choices.below(256)]) + content[start + 1 :]
    if kind == 3:
        return content[:start] + content[end:]
    if kind == 4:
        return content[:end] + content[start:]
    word = choices.of(words)
    return content[:start] + word + content[start + (len(word) if kind == 5 else 0) :]


def _text(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    lines = content.split(b"\n")
    kind, place = choices.below(9), choices.below(len(lines))
    line = lines[place]
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, line)
    elif kind == 2:
        lines[place : place + 2] = lines[place : place + 2][::-1]
    elif kind == 3:
        lines[place:place] = [line] * 300
    elif kind == 4:
        lines.insert(place, choices.of(words))
    else:
        mark = next((mark for mark in (b",", b";", b"\t", b": ", b" ") if mark in line), b",")
        fields = line.split(mark)
        field, word = choices.below(len(fields)), choices.of(words)
        fields[field : field + 1] = [[word], [fields[field] + word], [], [word, fields[field]]][kind - 5]
        lines[place] = mark.join(fields)
    return b"\n".join(lines)


def _json(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    return json.dumps(mutate_json(json.loads(content), choices, words)).encode()


def mutate_json(value: Any, choices: Choices, words: Sequence[bytes]) -> Any:
    """A value with one change somewhere in it."""
    holder, key = [value], 0
    top: list[Any] = holder
    place: Any = holder
    while isinstance(place[key], (dict, list)) and place[key] and not choices.rarely():
        place = place[key]
        key = choices.of([*place]) if isinstance(place, dict) else choices.below(len(place))
    kind = choices.below(5)
    if kind == 0 and isinstance(place[key], str) and choices.below(2):
        place[key] = _bytes(place[key].encode(errors="replace"), choices, words).decode(errors="replace")
    elif kind <= 2:
        place[key] = choices.of(_VALUES)
    elif kind == 3 and place is not holder:
        del place[key]
    elif isinstance(place, dict):
        place[choices.of(words).decode(errors="replace")] = place[key]
    else:
        place.append(place[key])
    return top[0]


def _npy(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    array, kind = np.load(io.BytesIO(content), allow_pickle=False), choices.below(7)
    if kind <= 1 and array.size:
        array = array.copy()
        array.flat[choices.below(array.size)] = np.array(choices.of(_EXTREMES)).astype(array.dtype)
    elif kind == 2:
        array = array.astype(choices.of(_KINDS))
    elif kind == 3:
        array = array[: choices.below(len(array) + 1)] if array.ndim else array[None]
    elif kind == 4:
        array = np.concatenate([array, array]) if array.ndim else array.reshape(1, 1)
    elif kind == 5:
        array = array.reshape(choices.of(((-1,), (1, -1), (-1, 1), (0,), ())) if array.size else (0, 3))
    else:
        array = np.asfortranarray(array)
    held = io.BytesIO()
    np.lib.format.write_array(held, array, allow_pickle=False)
    return held.getvalue()


def _zip(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name, kind = choices.of([*members]), choices.below(8)
    if kind == 7:
        members["x" + name] = members.pop(name)
    elif kind == 6:
        del members[name]
    else:
        members[name] = mutate_file(name, members[name], choices, words)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name, part in members.items():
            file.writestr(name, part)
    return held.getvalue()


def _safetensors(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    (size,) = struct.unpack("<Q", content[:8])
    header, data = content[8 : 8 + size], content[8 + size :]
    if choices.below(2):
        header = _json(header, choices, words)
    else:
        start = choices.below(len(data) // 4) * 4
        data = data[:start] + struct.pack("<f", choices.of(_EXTREMES)) + data[start + 4 :]
    return struct.pack("<Q", len(header)) + header + data


def _png(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    chunks, place = [], 8
    while place < len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += size + 12
    number = choices.below(len(chunks))
    kind, part = chunks[number]
    chunks[number] = kind, _bytes(part, choices, words)
    body = (
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )
    return content[:8] + b"".join(body)


def _database(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    mode, plain = content[18:20], content[:18] + b"\1\1" + content[20:]  # not WAL, which no memory holds
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(plain)
        database.execute("PRAGMA ignore_check_constraints = ON")
        tables = [
            name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        table = choices.of(tables)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        rows = [row for (row,) in database.execute(f"SELECT rowid FROM {table}")]
        kind, row, column = choices.below(6), choices.of(rows), choices.of(columns)
        if kind == 5:
            database.execute(f"DROP TABLE {table}")
        elif kind == 4:
            database.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        else:
            value = choices.of(
                [value for value in _VALUES if isinstance(value, (int, float, str)) and value != "\ud800"]
            )
            value = json.dumps(value) if table == "settings" else value
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
        database.commit()
        found = database.serialize()
    return found[:18] + mode + found[20:]


def _onnx(content: bytes, choices: Choices, words: Sequence[bytes]) -> bytes:
    import onnx

    model, kind = onnx.load_from_string(content), choices.below(6)
    if kind <= 1:
        about = choices.of(list(model.metadata_props))
        about.value = _json(about.value.encode(), choices, words).decode()
    elif kind == 2:
        tensor = choices.of(list(model.graph.initializer))
        tensor.dims[choices.below(len(tensor.dims))] = choices.below(9)
    elif kind == 3:
        tensor = choices.of(list(model.graph.initializer))
        tensor.raw_data = _bytes(tensor.raw_data, choices, words)
    elif kind == 4:
        node = choices.of(list(model.graph.node))
        node.input[choices.below(len(node.input))] = choices.of([one.output[0] for one in model.graph.node])
    else:
        place = choices.of([*model.graph.input, *model.graph.output])
        place.type.tensor_type.shape.dim[choices.below(4)].dim_value = choices.below(9)
    return model.SerializeToString()


def _change_name(files: Files, name: str, choices: Choices, words: Sequence[bytes]) -> None:
    """Remove a file, move it, or copy it."""
    kind, parts = choices.below(3), name.split("/")
    if kind == 0:
        del files[name]
        return
    place = choices.below(len(parts))
    parts[place] = _bytes(parts[place].encode(errors="surrogateescape"), choices, words).decode(
        errors="surrogateescape"
    )
    content = files[name] if kind == 1 else files.pop(name)
    files["/".join(parts)] = content


_FORMS: dict[str, Callable[[bytes, Choices, Sequence[bytes]], bytes]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".lst", ".yaml", ".md", ".jsonl"), _text),
    **dict.fromkeys((".json", ".request"), _json),
    **dict.fromkeys((".npz", ".pt", ".pth"), _zip),
    **{".npy": _npy, ".safetensors": _safetensors, ".png": _png, ".db": _database, ".onnx": _onnx},
}
