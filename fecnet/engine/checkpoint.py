"""Checkpoints: folders that are whole or absent, with all that is needed to use them or to go on.

``checkpoints/<iteration>/`` holds ``model.safetensors`` (the weights for inference), ``trainer.pt`` (what only
training needs, plain dicts, read with ``weights_only=True``) and ``meta.json``. ``checkpoints/last`` and
``checkpoints/best`` are one-line text files naming an iteration.
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from fecnet.utils.files import flush_folder, replace_text, write_bytes

CHECKPOINT_FORMAT = 1


class Checkpointer:
    """Writes the checkpoints of one run; only rank 0 holds one.

    Args:
        folder: the run's ``checkpoints`` folder.
        keep: how many of the latest stay besides the best; 0 = all.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self._keep = keep
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob(".*.partial"):  # of a process that was killed while saving
            shutil.rmtree(partial, ignore_errors=True)

    def save(
        self,
        iteration: int,
        *,
        weights: Mapping[str, Tensor],
        trainer: Mapping[str, Any],
        meta: Mapping[str, Any],
        best: bool,
    ) -> None:
        """Write one checkpoint and point ``last`` (and ``best``) at it.

        Raises:
            ValueError: the disk is full or read-only; the checkpoints before it are as they were.
        """
        target = self.folder / str(iteration)
        partial = self.folder / f".{iteration}.partial"
        try:
            partial.mkdir()
            contiguous = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
            write_bytes(partial / "model.safetensors", safetensors.torch.save(contiguous))
            held = io.BytesIO()
            torch.save(dict(trainer), held)
            write_bytes(partial / "trainer.pt", held.getbuffer())
            described = {"format": CHECKPOINT_FORMAT, "iteration": iteration, **meta}
            write_bytes(partial / "meta.json", json.dumps(described, indent=2).encode())
            flush_folder(partial)
            if target.exists():  # saved at this iteration before, by a run that was resumed from an earlier one
                shutil.rmtree(target)
            partial.rename(target)
            replace_text(self.folder / "last", f"{iteration}\n")
            if best:
                replace_text(self.folder / "best", f"{iteration}\n")
            flush_folder(self.folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise ValueError(f"{target}: not saved: {error.strerror}; earlier checkpoints are intact") from error
        self._retire()

    def rewind(self, iteration: int, best: int | None) -> None:
        """Go on from ``iteration``: the pointers name nothing later, so what is saved anew may replace it."""
        replace_text(self.folder / "last", f"{iteration}\n")
        if best is None:
            (self.folder / "best").unlink(missing_ok=True)
        else:
            replace_text(self.folder / "best", f"{best}\n")

    def _retire(self) -> None:
        """Remove all but the latest ``keep`` and the best."""
        if not self._keep:
            return
        numbers = sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        best = read_pointer(self.folder / "best")
        for number in numbers[: -self._keep]:
            if number != best:
                shutil.rmtree(self.folder / str(number), ignore_errors=True)


def read_pointer(path: Path) -> int | None:
    """The iteration that ``last`` or ``best`` names, or None where there is no such file."""
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}: expected an iteration, found {path.read_text()!r}") from error


def find_checkpoint(path: str | Path, which: str) -> Path:
    """The checkpoint folder meant by a run folder or a checkpoint folder.

    Args:
        path: ``result/<run>`` or ``result/<run>/checkpoints/<iteration>``.
        which: ``last`` or ``best`` (``last`` where there is no best), for a run folder.

    Raises:
        ValueError: nothing there.
    """
    path = Path(path)
    if (path / "meta.json").is_file():
        return path
    folder = path / "checkpoints"
    number = read_pointer(folder / which)
    if number is None:
        number = read_pointer(folder / "last")
    if number is None:
        raise ValueError(f"{path}: no checkpoint here; expected a run folder or a folder with meta.json")
    return folder / str(number)


def load_meta(checkpoint: Path) -> dict[str, Any]:
    """``meta.json`` of a checkpoint.

    Raises:
        ValueError: missing, not JSON, or another format version.
    """
    file = checkpoint / "meta.json"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
        version = meta["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a checkpoint description: {error}") from error
    if version != CHECKPOINT_FORMAT:
        raise ValueError(f"{file}: checkpoint format {version!r}; this version reads {CHECKPOINT_FORMAT}")
    return meta


def load_weights(checkpoint: Path, model: torch.nn.Module) -> None:
    """Load ``model.safetensors`` into ``model``; every name and shape must fit.

    Raises:
        ValueError: truncated, not safetensors (such as a pickle), or of another architecture.
    """
    file = checkpoint / "model.safetensors"
    try:
        state = safetensors.torch.load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file}: unreadable, truncated or not safetensors: {error}") from error
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    other = [name for name in own if name in state and own[name].shape != state[name].shape]
    for kind, names in (("lacks", missing), ("has unknown", unknown), ("has other shapes for", other)):
        if names:
            raise ValueError(f"{file}: of another architecture: {kind} {', '.join(names[:3])} ({len(names)} in all)")
    model.load_state_dict(state)


def load_trainer(checkpoint: Path) -> dict[str, Any]:
    """``trainer.pt`` of a checkpoint, plain dicts.

    Raises:
        ValueError: missing, truncated or unsafe.
    """
    file = checkpoint / "trainer.pt"
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{file}: unreadable, truncated or unsafe: {reason}") from error
