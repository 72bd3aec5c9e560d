"""Prediction sharded over ranks: all outputs of a net on stored faces are computed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from fecnet.modeling.fast_inference import for_inference
from fecnet.structures import Outputs
from fecnet.utils import comm
from fecnet.utils.env import exact_float32

View = Callable[[Tensor], Tensor]
Net = Callable[[Tensor], Outputs]  # a model in evaluation mode, or an exported one


@torch.inference_mode()
def predict_batch(model: Net, faces_NHWC: np.ndarray, *, views: Sequence[View], device: torch.device) -> Outputs:
    """Outputs of a model in evaluation mode for one batch, in fp32; local to this process and thread-safe.

    Args:
        model: maps images to outputs.
        faces_NHWC: uint8, shape (n, H, W, C).
        views: each turns stored images, uint8 (n, C, H, W), into the net's input; see ``average_views``.
        device: device of the model.

    Returns:
        Each output, shape (n, …), on the CPU.
    """
    # stored faces are mapped read-only, about which torch would warn
    image_NCHW = torch.from_numpy(np.require(faces_NHWC, requirements="W")).permute(0, 3, 1, 2).to(device)
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
    """Outputs of the model for the given faces, in fp32.

    The batches do not depend on the number of processes, and whole batches are distributed over the ranks. A face's
    output therefore does not depend on the rank that computes it.

    Args:
        model: maps images to outputs; put into evaluation mode for the call. On a CPU, a copy rewritten for inference
            is used; see ``for_inference``.
        faces_NHWC: all faces, uint8, shape (N, H, W, C).
        rows: rows of the faces to predict, int64, shape (n,).
        views: each turns stored images, uint8 (b, C, H, W), into the net's input; see ``average_views``.
        batch_size: faces per forward pass.
        device: device of the model.
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
        net = for_inference(model)
        for part in tqdm(mine, desc=progress, unit="batch", disable=not progress or not comm.is_main()):
            found.append(predict_batch(net, np.asarray(faces_NHWC[rows[part]]), views=views, device=device))
    finally:
        model.train(training)
    return _in_order(found, parts, device)


def average_views(model: Net, image_NCHW: Tensor, views: Sequence[View]) -> Outputs:
    """Outputs on the CPU, averaged over the views; the mean embedding is normalised to unit length.

    Logits are averaged, not probabilities, as in the published FER2013 systems. Each view is one forward pass, so
    memory does not grow with the number of views.

    Args:
        model: maps images to outputs.
        image_NCHW: stored images, uint8, shape (N, C, H, W).
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
    """Gather the batches of all ranks and restore the order of the rows."""
    ranks = comm.world_size()
    if ranks == 1:
        return {name: torch.cat([batch[name] for batch in found]) for name in (found[0] if found else {})}
    sizes = [[part.stop - part.start for part in parts[rank::ranks]] for rank in range(ranks)]
    shapes = comm.broadcast_object({name: value.shape[1:] for name, value in found[0].items()} if found else {})
    outputs = {}
    for name, shape in shapes.items():
        share = torch.cat([batch[name] for batch in found]) if found else torch.empty((0, *shape))
        gathered = comm.gather_rows(share.to(device), [sum(size) for size in sizes])
        by_rank = [iter(rows.cpu().split(size)) for rows, size in zip(gathered, sizes, strict=True)]
        outputs[name] = torch.cat([next(by_rank[k % ranks]) for k in range(len(parts))])
    return outputs
