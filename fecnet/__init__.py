"""fecnet: facial-expression embeddings learned from human similarity judgements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.utils.package import VERSION as __version__

if TYPE_CHECKING:
    from fecnet.encoder.encoder import Encoder

__all__ = ["__version__", "load"]


def load(
    path: str | Path,
    *,
    checkpoint: str = "best",
    device: str = "auto",
    batch_size: int = 0,
    detector_model: str | Path = "",
    detector_device: str = "cpu",
    try_turns: bool = False,
) -> Encoder:
    """Load a trained net and its preprocessing: ``fecnet.load("result/run").embed(["a.jpg", "b.jpg"])``.

    Args:
        path: the name of a shipped net such as ``fecnet-base``, see ``fecnet models``; a run folder, ``result/<run>``,
            a checkpoint folder in it, or a bundle or ``.onnx`` file of ``fecnet export``.
        checkpoint: ``best`` or ``last`` checkpoint of a run folder.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or one GPU such as ``cuda:1``.
        batch_size: faces per forward pass; 0 = the size that the run was evaluated with.
        detector_model: YuNet's ``.onnx`` file, for nets whose training faces were found with it.
        detector_device: where MTCNN runs: ``cpu``, ``cuda`` or one GPU. Data sets are prepared on CPUs. A GPU is
            faster, but rounds differently: a pixel of an aligned face may differ by one grey level.
        try_turns: where the detector finds no face, try the picture rotated by 90, 270 and 180 degrees too.

    Raises:
        UserError: no such checkpoint or name, a damaged checkpoint, an unsupported format version or kind of file, or a
            device that does not exist.
    """
    from fecnet.encoder.build import load_encoder  # here, so that `import fecnet` does not import torch

    return load_encoder(
        path,
        checkpoint=checkpoint,
        device=device,
        batch_size=batch_size,
        detector_model=detector_model,
        detector_device=detector_device,
        try_turns=try_turns,
    )
