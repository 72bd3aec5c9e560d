"""How many faces of a training batch are classed right: counted on the device, so that training never waits for it."""

from __future__ import annotations

from torch import Tensor

from fecnet.structures import Batch, Outputs


def count_right(out: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
    """Faces whose likeliest class is the label they are trained on, and faces that have one; float32, no shape.

    What the net said while it learnt: of augmented faces, with dropout, by weights that moved meanwhile.

    Args:
        out: has ``logits``, shape (N, K).
        batch: has the target ``label``, shape (N,); -1 = absent.
    """
    label_N = batch.targets["label"]
    right_N = (out["logits"].detach().argmax(1) == label_N) & (label_N >= 0)
    return right_N.sum().float(), (label_N >= 0).sum().float()
