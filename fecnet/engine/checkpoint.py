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
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from fecnet.utils.errors import CheckpointError
from fecnet.utils.files import flush_folder, replace_text, write_bytes

CHECKPOINT_FORMAT = 1
_META_KEYS = ("iteration", "kind", "preprocessing", "data", "coverage", "config")
_TRAINER_KEYS = ("progress", "optimizer", "schedule", "scaler", "sums", "raw")


def make_folder(folder: Path) -> None:
    """Make a run's ``checkpoints`` folder and remove what a process killed while saving has left there.

    Raises:
        CheckpointError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(folder / ".writable", "")
        (folder / ".writable").unlink()
    except OSError as error:
        raise CheckpointError(f"{folder}: checkpoints cannot be written here: {error.strerror}") from error
    for partial in folder.glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


class Checkpointer:
    """Writes the checkpoints of one run, in a thread, so that training goes on; only rank 0 holds one.

    Args:
        folder: the run's ``checkpoints`` folder, which ``make_folder`` has made.
        keep: how many of the latest stay besides the best; 0 = all.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self._keep = keep
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self,
        iteration: int,
        *,
        weights: Mapping[str, Tensor],
        trainer: Mapping[str, Any],
        meta: Mapping[str, Any],
        best: bool,
    ) -> None:
        """Copy everything now and write it meanwhile: one checkpoint, then ``last`` (and ``best``) pointed at it.

        Waits for the save before this one.

        Raises:
            CheckpointError: the save before this one met a full or read-only disk, or a weight or batch-norm statistic
                is not finite; checkpoints before it are as they were.
        """
        self.finish()
        bad = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
        if bad:
            raise CheckpointError(
                f"{self.folder / str(iteration)}: not saved: {bad[0]} is not finite; earlier ones are good"
            )
        self._pending = self._writer.submit(
            self._write, iteration, _snapshot(weights), _snapshot(trainer), dict(meta), best
        )

    def finish(self) -> None:
        """Wait until what was saved is on disk.

        Raises:
            CheckpointError: it could not be written; earlier checkpoints are as they were.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the thread and end it; does not raise."""
        self._writer.shutdown(wait=True)

    def _write(
        self, iteration: int, weights: Mapping[str, Tensor], trainer: dict[str, Any], meta: dict[str, Any], best: bool
    ) -> None:
        target = self.folder / str(iteration)
        partial = self.folder / f".{iteration}.partial"
        try:
            partial.mkdir()
            contiguous = {name: value.contiguous() for name, value in weights.items()}
            write_bytes(partial / "model.safetensors", safetensors.torch.save(contiguous))
            held = io.BytesIO()
            torch.save(trainer, held)
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
            raise CheckpointError(f"{target}: not saved: {error.strerror}; earlier checkpoints are intact") from error
        self._retire(iteration)

    def rewind(self, iteration: int, best: int | None) -> None:
        """Go on from ``iteration``: the pointers name nothing later, so what is saved anew may replace it."""
        replace_text(self.folder / "last", f"{iteration}\n")
        if best is None or not (self.folder / str(best)).is_dir():  # retired since, for a better one
            (self.folder / "best").unlink(missing_ok=True)
        else:
            replace_text(self.folder / "best", f"{best}\n")

    def _retire(self, iteration: int) -> None:
        """Remove all but the best and the latest ``keep`` up to ``iteration``.

        Later ones are left by a run that was resumed from an earlier checkpoint; counted in, they would push out
        what ``last`` names.
        """
        if not self._keep:
            return
        every = (int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        numbers = sorted(number for number in every if number <= iteration)
        best = read_pointer(self.folder / "best")
        for number in numbers[: -self._keep]:
            if number != best:
                shutil.rmtree(self.folder / str(number), ignore_errors=True)


def _snapshot(value: Any) -> Any:
    """A copy on the CPU, all the way down: the next update writes into the very tensors that are given."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _snapshot(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_snapshot(item) for item in value)
    return value


def read_pointer(path: Path) -> int | None:
    """The iteration that ``last`` or ``best`` names, or None where there is no such file."""
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointError(f"{path}: expected an iteration, found {path.read_text()!r}") from error


def find_checkpoint(path: str | Path, checkpoint: str) -> Path:
    """The checkpoint folder meant by a run folder or a checkpoint folder.

    Args:
        path: ``result/<run>`` or ``result/<run>/checkpoints/<iteration>``.
        checkpoint: ``last`` or ``best`` (``last`` where there is no best), for a run folder.

    Raises:
        CheckpointError: nothing there.
    """
    path = Path(path).resolve() if str(path) == "." else Path(path)
    if (path / "meta.json").is_file():
        return path
    folder = path / "checkpoints"
    number = read_pointer(folder / checkpoint)
    if number is None:
        number = read_pointer(folder / "last")
    if number is None:
        raise CheckpointError(f"{path}: no checkpoint here; expected a run folder or a folder with meta.json")
    return folder / str(number)


def run_of(checkpoint: Path) -> Path:
    """The run folder that holds a checkpoint.

    Raises:
        CheckpointError: the checkpoint does not lie in a run.
    """
    if checkpoint.resolve().parent.name != "checkpoints":
        raise CheckpointError(f"{checkpoint}: not inside a run, as result/<run>/checkpoints/<iteration> is")
    return checkpoint.parent.parent if len(checkpoint.parts) > 2 else checkpoint.resolve().parents[1]


def home_of(checkpoint: Path) -> Path:
    """The run folder that holds a checkpoint; the checkpoint's own where it lies alone."""
    return run_of(checkpoint) if checkpoint.resolve().parent.name == "checkpoints" else checkpoint


def selected_by(meta: Mapping[str, Any]) -> tuple[str, str] | None:
    """The split and the figure that selected the best checkpoint of a run, or None where nothing did.

    Args:
        meta: ``meta.json`` of one of its checkpoints. The first ones of 0.1.0 do not say it: the first split did.
    """
    accuracy = meta.get("accuracy")
    if not accuracy:  # saved before the first evaluation
        return None
    first = {"split": meta["config"]["DATA"]["EVAL_SPLITS"][0], "figure": "ALL"}
    selection = accuracy.get("selection", first)
    return (selection["split"], selection["figure"]) if selection else None


def load_meta(checkpoint: Path) -> dict[str, Any]:
    """``meta.json`` of a checkpoint.

    Raises:
        CheckpointError: missing, not JSON, incomplete, or another format version.
    """
    file = checkpoint / "meta.json"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: not a checkpoint description: {error}") from error
    return read_meta(text, str(file))


def read_meta(text: str, name: str) -> dict[str, Any]:
    """What a checkpoint, or a file that was exported from one, says of itself.

    Args:
        text: JSON.
        name: where it stands, for errors.

    Raises:
        CheckpointError: not JSON, incomplete, or another format version.
    """
    try:
        meta = json.loads(text)
        version = meta["format"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name}: not a checkpoint description: {error}") from error
    if version != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{name}: checkpoint format {version!r}; this version reads {CHECKPOINT_FORMAT}")
    lacking = [key for key in _META_KEYS if key not in meta]
    if lacking:
        raise CheckpointError(f"{name}: not a checkpoint description: lacks {', '.join(lacking)}")
    return dict(meta)


def load_weights(checkpoint: Path, model: torch.nn.Module) -> None:
    """Load ``model.safetensors`` into ``model``; every name and shape must fit.

    Raises:
        CheckpointError: truncated, not safetensors (such as a pickle), or of another architecture.
    """
    file = checkpoint / "model.safetensors"
    try:
        state = safetensors.torch.load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: unreadable, truncated or not safetensors: {error}") from error
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    other = [name for name in own if name in state and own[name].shape != state[name].shape]
    for kind, names in (("lacks", missing), ("has unknown", unknown), ("has other shapes for", other)):
        if names:
            raise CheckpointError(
                f"{file}: of another architecture: {kind} {', '.join(names[:3])} ({len(names)} in all)"
            )
    model.load_state_dict(state)


def load_trainer(checkpoint: Path) -> dict[str, Any]:
    """``trainer.pt`` of a checkpoint, plain dicts.

    Raises:
        CheckpointError: missing, truncated or unsafe.
    """
    file = checkpoint / "trainer.pt"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is told below, in one line
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file}: holds more than tensors and plain values; not loaded, since it may be unsafe"
        ) from error
    except Exception as error:  # a damaged file fails in any of a dozen ways
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{file}: unreadable or truncated: {reason}") from error
    if not isinstance(state, dict) or any(key not in state for key in _TRAINER_KEYS):
        raise CheckpointError(f"{file}: not a trainer's state; expected {', '.join(_TRAINER_KEYS)}")
    return state
