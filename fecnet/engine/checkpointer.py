"""Writes checkpoints atomically and loads their tensors."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from fecnet.engine.checkpoint import read_pointer
from fecnet.engine.description import INFO_FILE, CheckpointInfo
from fecnet.modeling.pretrained import weight_problem
from fecnet.modeling.weight_names import is_counter
from fecnet.utils.errors import CheckpointError, UserError
from fecnet.utils.files import check_file, replace_text, write_bytes
from fecnet.utils.in_place import discard, flush_folder, make_folders, put_in_place, sweep
from fecnet.utils.shown import cut

_TRAINER_KEYS = ("progress", "labels", "optimizer", "schedule", "scaler", "sums", "raw", "criterion")


def make_folder(folder: Path) -> None:
    """Create a run's ``checkpoints`` folder and remove partial checkpoints of a process that was killed while saving.

    Raises:
        CheckpointError: it cannot be written.
    """
    try:
        make_folders(folder)
        replace_text(folder / ".writable", "")
        (folder / ".writable").unlink()
    except OSError as error:
        raise CheckpointError(f"{folder}: checkpoints cannot be written here: {error.strerror}") from error
    for left in [*folder.glob(".*.partial"), *folder.glob(".*.replaced")]:
        sweep(folder / left.stem[1:])


class Checkpointer:
    """Writes the checkpoints of one run in a background thread while training continues; exists on rank 0 only.

    Args:
        folder: the run's ``checkpoints`` folder, created by ``make_folder``.
        keep: number of latest checkpoints to keep besides the best; 0 = all.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self._keep = keep
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self,
        info: CheckpointInfo,
        *,
        weights: Mapping[str, Tensor],
        trainer: Mapping[str, Any],
        best: bool,
    ) -> None:
        """Copy everything to the CPU now and write it in the background; then point ``last`` (and ``best``) to it.

        Waits for the previous save first.

        Raises:
            CheckpointError: the previous save failed (full or read-only disk), or a weight or batch-norm statistic is
                not finite; earlier checkpoints are intact.
        """
        self.finish()
        bad = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
        if bad:
            raise CheckpointError(
                f"{self.folder / str(info.iteration)}: not saved: {bad[0]} is not finite; "
                "earlier checkpoints are intact"
            )
        self._pending = self._writer.submit(self._write, info, _snapshot(weights), _snapshot(trainer), best)

    def finish(self) -> None:
        """Wait until the pending save is on disk.

        Raises:
            CheckpointError: it could not be written; earlier checkpoints are intact.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the background thread and shut it down; does not raise."""
        self._writer.shutdown(wait=True)

    def _write(self, info: CheckpointInfo, weights: Mapping[str, Tensor], trainer: dict[str, Any], best: bool) -> None:
        iteration = info.iteration
        target = self.folder / str(iteration)
        partial = self.folder / f".{iteration}.partial"
        try:
            partial.mkdir()
            contiguous = {name: value.contiguous() for name, value in weights.items()}
            write_bytes(partial / "model.safetensors", safetensors.torch.save(contiguous))
            buffer = io.BytesIO()
            torch.save(trainer, buffer)
            write_bytes(partial / "trainer.pt", buffer.getbuffer())
            write_bytes(partial / INFO_FILE, json.dumps(info.to_dict(), indent=2).encode())
            put_in_place(partial, target)  # the target may exist, if the run was resumed from an earlier checkpoint
            replace_text(self.folder / "last", f"{iteration}\n")
            if best:
                replace_text(self.folder / "best", f"{iteration}\n")
            flush_folder(self.folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(f"{target}: not saved: {error.strerror}; earlier checkpoints are intact") from error
        self._retire(iteration)

    def rewind(self, iteration: int, best: int | None) -> None:
        """Prepare to resume from ``iteration``: ``last`` and ``best`` are reset so that they point to nothing later."""
        replace_text(self.folder / "last", f"{iteration}\n")
        if best is None or not (self.folder / str(best)).is_dir():  # removed after a better one was saved
            (self.folder / "best").unlink(missing_ok=True)
        else:
            replace_text(self.folder / "best", f"{best}\n")

    def _retire(self, iteration: int) -> None:
        """Remove all checkpoints up to ``iteration`` except the best and the latest ``keep``.

        Later ones may remain from before a resume. They do not count towards ``keep``; otherwise the checkpoint that
        ``last`` points to could be removed.
        """
        if not self._keep:
            return
        every = (int(path.name) for path in self.folder.iterdir() if path.name.isdigit())
        numbers = sorted(number for number in every if number <= iteration)
        best = read_pointer(self.folder / "best")
        for number in numbers[: -self._keep]:
            if number != best:
                discard(self.folder / str(number))


def _snapshot(value: Any) -> Any:
    """A deep copy on the CPU, since the next update modifies the given tensors in place."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _snapshot(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_snapshot(item) for item in value)
    return value


def load_weights(checkpoint: Path, model: torch.nn.Module) -> None:
    """Load ``model.safetensors`` into ``model``; every name and shape must fit, and every value be finite.

    Raises:
        CheckpointError: truncated, not safetensors (such as a pickle), another architecture, or a tensor that is
            quantised or not finite.
    """
    file = checkpoint / "model.safetensors"
    check_file(file)
    try:
        state = safetensors.torch.load_file(file)
    except (OSError, RuntimeError, SafetensorError) as error:  # RuntimeError: torch cannot map the file
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
    for name, value in state.items():
        if not is_counter(name) and (problem := weight_problem(value)):
            raise CheckpointError(f"{file}: {name} {problem}")
    model.load_state_dict(state)


def load_trainer(checkpoint: Path) -> dict[str, Any]:
    """``trainer.pt`` of a checkpoint, plain dicts.

    Raises:
        CheckpointError: missing, truncated or unsafe.
    """
    file = checkpoint / "trainer.pt"
    check_file(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below reports the problem in one line
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file}: holds more than tensors and plain values; not loaded, since it may be unsafe"
        ) from error
    except Exception as error:  # a damaged file can raise many different exceptions
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{file}: unreadable or truncated: {reason}") from error
    if not isinstance(state, dict) or any(key not in state for key in _TRAINER_KEYS):
        raise CheckpointError(f"{file}: not a trainer's state; expected {', '.join(_TRAINER_KEYS)}")
    for key in ("optimizer", "raw"):
        if not _is_finite(state[key]):
            raise CheckpointError(f"{file}: '{key}' has values that are not finite: the file is damaged")
    return state


def restore_trainer(checkpoint: Path, load: Callable[[dict[str, Any]], None], iteration: int) -> None:
    """Restore the state of a trainer from ``trainer.pt``.

    Args:
        checkpoint: the folder.
        load: the trainer's ``load_state_dict``.
        iteration: iteration of the checkpoint.

    Raises:
        CheckpointError: see ``load_trainer``; or a part of the state belongs to another net, run or iteration.
    """
    state = load_trainer(checkpoint)
    try:
        load(state)
        there = state["progress"]["iteration"]
    except UserError as error:
        raise CheckpointError(f"{checkpoint / 'trainer.pt'}: {error}") from error
    except Exception as error:  # torch's and our own loaders raise many classes for a state that does not fit
        reason = cut(str(error).strip() or type(error).__name__)
        raise CheckpointError(f"{checkpoint / 'trainer.pt'}: does not fit this run: {reason}") from error
    if there != iteration:
        raise CheckpointError(f"{checkpoint / 'trainer.pt'}: of iteration {there}; {INFO_FILE} is of {iteration}")


def _is_finite(value: Any) -> bool:
    """Whether all numbers of all tensors in a state are finite."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_is_finite, value))
