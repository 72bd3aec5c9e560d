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
    """A trained net, ready for pictures: ``fecnet.load("result/run").embed(["a.jpg", "b.jpg"])``.

    Args:
        path: the name of a shipped net such as ``fecnet-base``, see ``fecnet models``; a run folder, ``result/<run>``,
            a checkpoint folder in it, or a bundle or ``.onnx`` file of ``fecnet export``.
        checkpoint: ``best`` or ``last`` checkpoint of a run folder.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or one GPU such as ``cuda:1``.
        batch_size: faces per forward pass; 0 = as the run evaluated.
        detector_model: YuNet's ``.onnx`` file, for nets whose training faces were found with it.
        detector_device: where MTCNN runs: ``cpu``, ``cuda`` or one GPU. Data sets are prepared on CPUs; a GPU is fast,
            but other rounding may move a pixel of an aligned face by a grey level.
        try_turns: where the detector finds no face, look at the picture turned by 90, 270 and 180 degrees too.

    Raises:
        UserError: no checkpoint, no such name, a damaged one, one of another format version, a file of another kind, or
            a device that is not there.
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
