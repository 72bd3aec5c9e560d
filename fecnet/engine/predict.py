"""Sharded prediction: every embedding anywhere is computed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from fecnet.structures import Outputs
from fecnet.utils import comm
from fecnet.utils.env import exact_float32

View = Callable[[Tensor], Tensor]
Net = Callable[[Tensor], Outputs]  # a model in evaluation mode, or an exported one


@torch.inference_mode()
def predict_batch(model: Net, faces_NHWC: np.ndarray, *, views: Sequence[View], device: torch.device) -> Outputs:
    """Outputs of a model in evaluation mode for one batch, in fp32; of this process alone, in any number of threads.

    Args:
        model: maps images to outputs.
        faces_NHWC: uint8, shape (n, H, W, C).
        views: each makes the net's input of stored images, uint8 (n, C, H, W); see ``average_views``.
        device: where the model is.

    Returns:
        Each output, shape (n, …), on the CPU.
    """
    image_NCHW = torch.from_numpy(faces_NHWC).permute(0, 3, 1, 2).to(device)
    with exact_float32():
        return average_views(model, image_NCHW, views)


def predict(
    model: nn.Module,
    faces_NHWC: np.ndarray,
    rows: np.ndarray,
    *,
    views: Sequence[View],
    batch_size: int,
    device: torch.device,
    progress: str = "",
) -> Outputs:
    """Outputs of the model for some faces, in fp32.

    The rows are cut into the same batches whatever the number of processes, and whole batches are dealt to the ranks;
    so a face's output does not depend on who computes it.

    Args:
        model: maps images to outputs; put into evaluation mode for the call.
        faces_NHWC: all faces, uint8.
        rows: which of them, int64, shape (n,).
        views: each makes the net's input of stored images, uint8 (b, C, H, W); see ``average_views``.
        batch_size: faces per forward pass.
        device: where the model is.
        progress: label of the progress bar; empty = none.

    Returns:
        Each output in the order of ``rows``, shape (n, …), on the CPU, on all ranks.
    """
    parts = [slice(first, min(first + batch_size, len(rows))) for first in range(0, len(rows), batch_size)]
    ranks = comm.world_size()
    mine = parts[comm.rank() :: ranks]
    training = model.training
    model.eval()
    found: list[Outputs] = []
    try:
        for part in tqdm(mine, desc=progress, unit="batch", disable=not progress or not comm.is_main()):
            found.append(predict_batch(model, np.asarray(faces_NHWC[rows[part]]), views=views, device=device))
    finally:
        model.train(training)
    return _in_order(found, parts, device)


def average_views(model: Net, image_NCHW: Tensor, views: Sequence[View]) -> Outputs:
    """Outputs on the CPU, of several views their mean; the embedding is brought back to unit length.

    So logits are averaged, not probabilities, as by the published systems of FER2013. One forward pass per view: what
    is held does not grow with their number.

    Args:
        model: maps images to outputs.
        image_NCHW: stored images, uint8.
        views: one or more.
    """
    total = dict(model(views[0](image_NCHW)))
    for view in views[1:]:
        for name, value in model(view(image_NCHW)).items():
            total[name] = total[name] + value
    if len(views) > 1:
        total = {name: value / len(views) for name, value in total.items()}
        if "embedding" in total:
            total["embedding"] = F.normalize(total["embedding"], dim=1)
    return {name: value.cpu() for name, value in total.items()}


def _in_order(found: list[Outputs], parts: list[slice], device: torch.device) -> Outputs:
    """Bring the batches of all ranks together and undo the dealing."""
    ranks = comm.world_size()
    if ranks == 1:
        return {name: torch.cat([batch[name] for batch in found]) for name in (found[0] if found else {})}
    sizes = [[part.stop - part.start for part in parts[rank::ranks]] for rank in range(ranks)]
    shapes = comm.broadcast_object({name: value.shape[1:] for name, value in found[0].items()} if found else {})
    outputs = {}
    for name, shape in shapes.items():
        share = torch.cat([batch[name] for batch in found]) if found else torch.empty((0, *shape))
        gathered = comm.gather_rows(share.to(device), [sum(size) for size in sizes])
        dealt = [iter(rows.cpu().split(size)) for rows, size in zip(gathered, sizes, strict=True)]
        outputs[name] = torch.cat([next(dealt[k % ranks]) for k in range(len(parts))])
    return outputs
