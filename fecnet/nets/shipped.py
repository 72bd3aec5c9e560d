"""Finds a shipped net by its name and verifies its files; does not import torch.

``fecnet/nets/NAME/`` is a checkpoint without a run, written by ``python -m benchmarks ship``: ``model.safetensors`` and
``meta.json``, the measured ``card.json`` and ``sample.npz``, ``SHA256SUMS`` of these four, and the model card
``README.md``, made of them.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from fecnet.utils.errors import CheckpointError
from fecnet.utils.files import hash_file

NETS = Path(__file__).parent
CARD, SAMPLE, SUMS = "card.json", "sample.npz", "SHA256SUMS"
_SAVED = "result"  # folder for results of shipped nets, as for runs


def shipped_names() -> list[str]:
    """The names of the shipped nets, in alphabetical order; empty in a package that was built without them."""
    return sorted(path.name for path in NETS.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))


def is_name(path: str | Path) -> bool:
    """Whether ``path`` can only be the name of a net: one word without suffix, and no such file or folder exists."""
    path = Path(path)
    return len(path.parts) == 1 and path.name not in ("", "..") and not path.suffix and not path.exists()


def shipped_net(name: str) -> Path:
    """The folder of a shipped net, after its files were verified.

    Raises:
        CheckpointError: no such name, or a file that was altered.
    """
    names = shipped_names()
    if not names:
        raise CheckpointError(f"{name}: no checkpoint here, and this fecnet was built without nets of its own")
    if name not in names:
        near = sorted(names, key=lambda known: difflib.SequenceMatcher(None, name, known).ratio(), reverse=True)
        raise CheckpointError(
            f"{name}: no checkpoint here, and no shipped net of that name; the nearest names: {', '.join(near[:3])}"
        )
    folder = NETS / name
    for file, expected in _sums(folder / SUMS).items():
        _verify(folder / file, expected)
    return folder


def read_card(name: str) -> dict[str, Any]:
    """The content of a shipped net's ``card.json``: name, size, accuracy, speed, data, licence, and all measurements.

    Raises:
        CheckpointError: see ``shipped_net``.
    """
    card: dict[str, Any] = json.loads((shipped_net(name) / CARD).read_text(encoding="utf-8"))
    return card


def write_sums(folder: Path, files: list[str]) -> None:
    """Write ``SHA256SUMS`` of ``files`` of a folder, in the format of ``sha256sum``."""
    lines = [f"{hash_file(folder / name)}  {name}\n" for name in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def is_shipped(folder: Path) -> bool:
    """Whether a checkpoint folder is that of a shipped net."""
    return folder.parent == NETS


def shown_name(folder: Path) -> str:
    """A checkpoint folder as shown to a user: the name of a shipped net, or the path."""
    return folder.name if is_shipped(folder) else str(folder)


def results_folder(folder: Path) -> Path:
    """The folder for results of a shipped net: never inside the package."""
    return Path(_SAVED, folder.name)


def _sums(file: Path) -> dict[str, str]:
    """The checksums by file name."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    found = {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
    if not found or not all(found):
        raise CheckpointError(f"{file}: the checksums of a shipped net cannot be read; install fecnet again")
    return found


def _verify(file: Path, expected: str) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file, of a shipped net; install fecnet again")
    found = hash_file(file)
    if found != expected:
        raise CheckpointError(
            f"{file}: truncated or altered: {file.stat().st_size:,} bytes with sha256 {found}; shipped with "
            f"{expected}; install fecnet again"
        )
