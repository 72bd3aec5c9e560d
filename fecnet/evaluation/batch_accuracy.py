"""Accuracy on training batches, counted on the device without synchronisation."""

from __future__ import annotations

import torch
from torch import Tensor

from fecnet.structures import Batch, Outputs


def count_correct(out: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
    """Number of faces whose predicted class equals the training label, and number of labelled faces; float32 scalars.

    Predictions are those of the training step: of augmented faces, with dropout, while the weights change. A mixed face
    counts for both of its labels by their shares.

    Args:
        out: has ``logits``, shape (N, K).
        batch: has the target ``label``, shape (N,); -1 = absent.
    """
    predicted_N, label_N = out["logits"].detach().argmax(1), batch.targets["label"]
    if batch.mix is None:
        return ((predicted_N == label_N) & (label_N >= 0)).sum().float(), (label_N >= 0).sum().float()
    label_2N = torch.stack([label_N, batch.mix.targets["label"]])
    share_2N = torch.stack([batch.mix.share_N, 1 - batch.mix.share_N]) * (label_2N >= 0)
    return (share_2N * (predicted_N == label_2N)).sum(), share_2N.sum()
