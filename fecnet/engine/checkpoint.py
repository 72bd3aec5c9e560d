"""Checkpoints on disk: finds one, the run it belongs to, and reads its ``meta.json``; does not import torch.

``checkpoints/<iteration>/`` is complete or absent. It contains ``model.safetensors`` (the weights for inference),
``trainer.pt`` (the state that only training needs, plain dicts, read with ``weights_only=True``) and ``meta.json``
(``fecnet.engine.description``). ``checkpoints/last`` and ``checkpoints/best`` are text files with one line, the
iteration.
"""

from __future__ import annotations

from pathlib import Path

from fecnet.engine.description import INFO_FILE, CheckpointInfo, parse_info
from fecnet.nets.shipped import is_name, is_shipped, results_folder, shipped_net
from fecnet.utils.errors import CheckpointError
from fecnet.utils.shown import shown


def read_pointer(path: Path) -> int | None:
    """The iteration that ``last`` or ``best`` names, or None where there is no such file."""
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointError(f"{path}: expected an iteration, found {shown(path.read_text().strip())}") from error


def find_checkpoint(path: str | Path, checkpoint: str) -> Path:
    """The checkpoint folder that a run folder, a checkpoint folder or the name of a shipped net refers to.

    Args:
        path: ``result/<run>``, ``result/<run>/checkpoints/<iteration>`` or, where no such path exists, the name of a
            shipped net such as ``fecnet-base``.
        checkpoint: ``last`` or ``best`` (``last`` where there is no best), for a run folder.

    Raises:
        CheckpointError: there is no checkpoint, or a shipped net is damaged.
    """
    if is_name(path):
        return shipped_net(str(path))
    path = Path(path).resolve() if str(path) == "." else Path(path)
    if (path / INFO_FILE).is_file():
        return path
    folder = path / "checkpoints"
    number = read_pointer(folder / checkpoint)
    if number is None:
        number = read_pointer(folder / "last")
    if number is None:
        raise CheckpointError(f"{path}: no checkpoint here; expected a run folder or a folder with meta.json")
    return folder / str(number)


def run_of(checkpoint: Path) -> Path:
    """The run folder that a checkpoint belongs to.

    Raises:
        CheckpointError: the checkpoint is not inside a run folder.
    """
    if checkpoint.resolve().parent.name != "checkpoints":
        raise CheckpointError(f"{checkpoint}: not inside a run, as result/<run>/checkpoints/<iteration> is")
    return checkpoint.parent.parent if len(checkpoint.parts) > 2 else checkpoint.resolve().parents[1]


def containing_folder(checkpoint: Path) -> Path:
    """The run folder of a checkpoint, or the checkpoint folder itself where it is not inside a run.

    For a shipped net it is a folder among the runs, which may not exist: nothing is written into the package.
    """
    if is_shipped(checkpoint):
        return results_folder(checkpoint)
    return run_of(checkpoint) if checkpoint.resolve().parent.name == "checkpoints" else checkpoint


def load_info(checkpoint: Path) -> CheckpointInfo:
    """Reads ``meta.json`` of a checkpoint.

    Raises:
        CheckpointError: missing, not JSON, an unsupported format version, or a field that is absent, unknown or of a
            wrong type.
    """
    file = checkpoint / INFO_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{file}: not a checkpoint description: {error}") from error
    return parse_info(text, str(file))
