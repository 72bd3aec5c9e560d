"""Accuracy on training batches, counted on the device without synchronisation."""

from __future__ import annotations

from torch import Tensor

from fecnet.structures import Batch, Outputs


def count_correct(out: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
    """Number of faces whose predicted class equals the training label, and number of labelled faces; float32 scalars.

    Predictions are those of the training step: of augmented faces, with dropout, while the weights change.

    Args:
        out: has ``logits``, shape (N, K).
        batch: has the target ``label``, shape (N,); -1 = absent.
    """
    label_N = batch.targets["label"]
    right_N = (out["logits"].detach().argmax(1) == label_N) & (label_N >= 0)
    return right_N.sum().float(), (label_N >= 0).sum().float()
