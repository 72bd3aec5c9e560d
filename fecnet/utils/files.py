"""Files that are whole or not there: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write and flush to disk; not atomic by itself (used inside folders that are renamed as a whole).

    Raises:
        OSError: the disk is full or read-only.
    """
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_bytes(path: Path, data: bytes | memoryview) -> None:
    """Make ``path`` hold ``data``, atomically: a reader sees the old content or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write_bytes(partial, data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """``replace_bytes`` with text."""
    replace_bytes(path, text.encode())


def replace_json(path: Path, value: Any) -> None:
    """``replace_text`` with ``value`` as indented JSON."""
    replace_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def replace_arrays(path: Path, **arrays: np.ndarray) -> None:
    """``replace_bytes`` with an ``.npz`` of the arrays."""
    held = io.BytesIO()
    np.savez(held, **arrays)  # type: ignore[arg-type]
    replace_bytes(path, held.getbuffer())


def flush_folder(path: Path) -> None:
    """Make renames inside ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
