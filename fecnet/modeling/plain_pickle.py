"""Reads files of ``torch.save`` without executing code from them, whatever classes they name.

``torch.load`` with ``weights_only`` refuses a whole file because of one unknown class, such as a training meter saved
with the weights. Here such classes are replaced by one that only keeps the data.
"""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # Python 3's names for those of protocol 2
from collections import OrderedDict
from pathlib import Path
from pickletools import genops
from typing import IO, Any

import torch

from fecnet.utils.errors import UserError

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file of torch before 1.6
_BETWEEN = 2  # number of pickles between the magic number and the content of such a file: version, system
_PROTOCOL = 2  # the only pickle protocol that torch reads without executing code

# Raised for damaged files by zipfile and pickletools, found by changing bytes; names and text are decoded too.
_DAMAGES = (ValueError, RuntimeError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


class LeftOut:
    """Placeholder for an object of an unknown class.

    Attributes:
        held: the data of the object in the file: the arguments of its constructor, and its state.
    """

    held: list[Any]

    def __new__(cls, *args: Any) -> Any:
        """Create a placeholder with any arguments."""
        self = super().__new__(cls)
        self.held = [args]
        return self

    def __init__(self, *args: Any) -> None:
        """Do nothing with the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.held.append(state)


class _PlainMapping:
    """Placeholder for an unknown mapping class: creates an OrderedDict, since torch fills only mappings it knows."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


class _PlainList:
    """Placeholder for an unknown list class: creates a list, for the same reason."""

    def __new__(cls, *_: Any) -> Any:
        return []


def load_plain(path: Path) -> Any:
    """The content of a file of ``torch.save``: tensors, plain values, and ``LeftOut`` for any other object.

    Raises:
        UserError: damaged, of another format, or not readable even with placeholders.
    """
    names, protocol = _check(path)
    kinds: dict[str, type] = dict.fromkeys(names, LeftOut)
    while True:
        try:
            # torch's messages then have the name alone, in quotes
            stand_ins: list[Any] = [
                (type(name, (kind,), {"__module__": "builtins"}), name) for name, kind in kinds.items()
            ]
            with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the errors below report it in one line
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load of a damaged file raises nearly anything
            refused = [name for name, kind in kinds.items() if kind is LeftOut and f"'{name}'" in str(error)]
            if not refused:
                raise UserError(_why(path, error, names, protocol)) from error
            kinds |= dict.fromkeys(refused, _PlainList if "lists, but got" in str(error) else _PlainMapping)


def refusal(path: Path, what: str, *, load: str = "torch.load({}, weights_only=False)", save: str = "") -> str:
    """The message for a file whose tensors cannot be read without executing code from it, with instructions.

    Args:
        path: the file.
        what: the class or the format that prevents reading.
        load: Python that loads the file, with ``{}`` for its name.
        save: Python for the state dict of the ``content`` loaded.
    """
    content = f"content = {load.format(repr(path.name))}; torch.save({save or 'content[...]'}, 'weights.pt')"
    hint = "" if save else ", with the key of the state dict for ..."
    return (
        f"{path}: refused, not damaged: {what} is in the way, and reading it would execute code from the file; where "
        f"you trust the file and have its code, save only its tensors: {content}{hint}"
    )


def _check(path: Path) -> tuple[list[str], int]:
    """The classes and functions that the file names, in order, and its pickle protocol."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            return _named_before_1_6(path, file)
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGES as error:
        raise UserError(f"{path}: damaged ({_one_line(error)})") from error
    with archive:
        members = {Path(name).name: name for name in archive.namelist()}
        if "constants.pkl" in members:
            load = "torch.jit.load({})"
            raise UserError(refusal(path, "a TorchScript program", load=load, save="content.state_dict()"))
        if "data.pkl" not in members:
            raise UserError(f"{path}: damaged, or not a file of torch.save (no data.pkl in it)")
        try:
            content = archive.read(members["data.pkl"])
        except _DAMAGES as error:
            raise UserError(f"{path}: damaged ({_one_line(error)})") from error
    return _named(_opcodes(path, io.BytesIO(content)))


def _named_before_1_6(path: Path, file: IO[bytes]) -> tuple[list[str], int]:
    if _MAGIC not in [argument for _, argument in _opcodes(path, file)]:
        tensors = "{name: torch.as_tensor(value) for name, value in content.items()}"
        raise UserError(refusal(path, "a plain pickle", load="pickle.load(open({}, 'rb'))", save=tensors))
    for _ in range(_BETWEEN):
        _opcodes(path, file)
    return _named(_opcodes(path, file))


def _opcodes(path: Path, file: IO[bytes]) -> list[tuple[str, Any]]:
    """Names and arguments of one pickle's opcodes, none of them executed."""
    try:
        return [(opcode.name, argument) for opcode, argument, _ in genops(file)]
    except _DAMAGES as error:
        raise UserError(f"{path}: damaged, or not a file of torch.save ({_one_line(error)})") from error


def _named(opcodes: list[tuple[str, Any]]) -> tuple[list[str], int]:
    protocol = next((argument for opcode, argument in opcodes if opcode == "PROTO"), 0)
    names = []
    for module, _, name in (argument.partition(" ") for opcode, argument in opcodes if opcode == "GLOBAL"):
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        names.append(f"{module}.{name}")
    return list(dict.fromkeys(names)), protocol


def _why(path: Path, error: Exception, names: list[str], protocol: int) -> str:
    """Refused by what torch says of a class, else damaged."""
    if protocol != _PROTOCOL:
        return refusal(path, f"pickle protocol {protocol}")
    if isinstance(error, (pickle.UnpicklingError, TypeError, AttributeError)):
        named = [name for name in names if name in str(error)]
        return refusal(path, named[0] if named else ", ".join(names[:3]))
    return f"{path}: damaged ({_one_line(error)})"


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
