"""The triplet loss of the compact expression embedding. B triplets, D embedding dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fecnet.structures import Batch, Outputs, opposite_distances


def triplet_loss(emb_B3D: Tensor, odd_B: Tensor, margin_B: Tensor) -> Tensor:
    """Double hinge of each triplet: ``[d(a,p) − d(a,n) + m]₊ + [d(a,p) − d(p,n) + m]₊``, arXiv:1811.11283.

    Args:
        emb_B3D: unit-norm embeddings, float, shape (B, 3, D).
        odd_B: index 0..2 of the odd face n, int64, shape (B,); the two others are a and p.
        margin_B: margins m in squared L2, shape (B,).

    Returns:
        Shape (B,).
    """
    assert emb_B3D.shape[:2] == (len(odd_B), 3), (emb_B3D.shape, odd_B.shape)
    assert odd_B.shape == margin_B.shape, (odd_B.shape, margin_B.shape)
    opposite_B3 = opposite_distances(emb_B3D)
    # The pair opposite the odd face is (a, p); the pairs opposite a and p contain the odd face. The third column
    # compares (a, p) with itself and equals the margin, which is subtracted: cheaper than a mask.
    hinge_B3 = (opposite_B3.gather(1, odd_B[:, None]) - opposite_B3 + margin_B[:, None]).relu()
    return hinge_B3.sum(1) - margin_B


class TripletCriterion(nn.Module):
    """Weighted sum of the triplet loss over a batch, with a margin per triplet type.

    Args:
        margins: margins in squared L2 of one-, two- and three-class triplets.
    """

    margin_3: Tensor

    def __init__(self, margins: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("margin_3", torch.tensor(list(margins), dtype=torch.float32), persistent=False)

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of the triplets' weights."""
        assert batch.triplets is not None
        return {"triplet": batch.triplets.weight_B.sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of weight × loss over the batch's triplets."""
        assert batch.triplets is not None
        triplets = batch.triplets
        # index_select, since its backward pass is deterministic on the CPU.
        face = triplets.face_B3.flatten()
        emb_B3D = out["embedding"].float().index_select(0, face).unflatten(0, (-1, 3))
        loss_B = triplet_loss(emb_B3D, triplets.odd_B, self.margin_3[triplets.type_B])
        return {"triplet": (loss_B * triplets.weight_B).sum()}
