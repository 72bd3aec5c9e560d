"""Self-Cure Network: rank regularisation and relabelling. N images, G of all ranks, K classes, M relabelled images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fecnet.modeling.criterion.global_batch import count_once, own_rows, top_share
from fecnet.modeling.criterion.ranges import check_range
from fecnet.modeling.criterion.targets import target_of
from fecnet.structures import Batch, Outputs, Relabels
from fecnet.utils import comm


def rank_regularisation(importance_G: Tensor, high_G: Tensor, low_G: Tensor, margin: float) -> Tensor:
    """``max(0, δ1 − (mean importance of the high group − mean importance of the low group))``, shape ().

    Args:
        importance_G: importances, float, shape (G,).
        high_G: the high group, bool, shape (G,).
        low_G: the low group, bool, shape (G,); the loss is 0 where it is empty.
        margin: δ1.
    """
    mean_high, mean_low = ((importance_G * group_G).sum() / group_G.sum().clamp(min=1) for group_G in (high_G, low_G))
    return (margin - (mean_high - mean_low)).relu() * low_G.any()


class ScnCriterion(nn.Module):
    """Rank regularisation and relabelling of SCN (CVPR 2020, arXiv:2002.10392).

    Published together with the cross-entropy of ``logits = importance · linear(feature)``, both with weight 1. The
    global batch is ranked over all ranks; each of several micro-batches is ranked separately.

    An image is relabelled when it is in the low group and the largest probability exceeds that of its label by more
    than δ2. (The published code considers the whole batch.) Importances equal to the lowest of the high group are not
    in the low group: where all are equal, they do not distinguish wrong labels from correct ones.

    With relabelling on, ``begin`` must be called before every iteration and ``feedback`` after every epoch. Labels
    found in between are part of ``state_dict``, which is a collective.

    Args:
        beta: share of the images in the high group.
        margin_1: δ1, between the groups' mean importances; 0.15 for batches of 1024, 0.07 for 64.
        margin_2: δ2, between two probabilities.
        relabel_after: iterations before relabelling starts; None = never.

    Raises:
        UserError: a value is out of range.
    """

    empty_04: Tensor

    def __init__(
        self,
        *,
        beta: float = 0.7,
        margin_1: float = 0.07,
        margin_2: float = 0.2,
        relabel_after: int | None = None,
    ) -> None:
        super().__init__()
        check_range("SCN_BETA", beta, 0 < beta < 1, "above 0, below 1")
        for key, value in (("SCN_MARGIN_1", margin_1), ("SCN_MARGIN_2", margin_2)):
            check_range(key, value, 0 <= value <= 1, "0..1, since importances and probabilities are")
        self.beta = beta
        self.margin_1 = margin_1
        self.margin_2 = margin_2
        self.relabel_after = relabel_after
        self._iteration = 0
        # for each processed image: row, iteration, index in the global batch, new label (-1 = unchanged)
        self._seen: list[Tensor] = []
        self.register_buffer(
            "empty_04", torch.zeros(0, 4, dtype=torch.int64), persistent=False
        )  # follows the module's device

    def begin(self, iteration: int) -> None:
        """Set the next iteration, counted from 1."""
        self._iteration = iteration

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """The ranking counts once for all ranks."""
        return {"scn_rank": count_once(torch.ones((), device=batch.row_N.device))}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """This rank's part of the rank regularisation over the images with a label, of all ranks."""
        importance_N, label_N = out["importance"].float(), target_of(batch, "label", "scn")
        counts = comm.gather_counts(len(label_N))
        both_G2 = comm.gather_differentiable(torch.stack([importance_N, (label_N >= 0).float()], dim=1), counts)
        importance_G, present_G = both_G2[:, 0], both_G2[:, 1].detach() > 0
        high_G = top_share(importance_G, present_G, self.beta)
        low_G = present_G & ~high_G
        if self._is_searching():
            lowest_high = importance_G.detach().masked_fill(~high_G, torch.inf).min()
            self._search(out["logits"], batch, own_rows(low_G & (importance_G < lowest_high), counts))
        return {"scn_rank": count_once(rank_regularisation(importance_G, high_G, low_G, self.margin_1))}

    def feedback(self) -> Relabels:
        """The new labels since the last call, identical on all ranks; the latest for each image. A collective."""
        found_M4 = self._found_by_all().numpy()
        self._seen = []
        row_M, iteration_M, position_M, label_M = found_M4.T
        order_M = np.lexsort((position_M, iteration_M, row_M))
        is_last_M = np.append(np.diff(row_M[order_M]) != 0, True)[: len(order_M)]
        chosen = order_M[is_last_M]
        return Relabels(torch.from_numpy(row_M[chosen]), torch.from_numpy(label_M[chosen]))

    def get_extra_state(self) -> dict[str, Any]:
        """The new labels since the last ``feedback``, for resuming within an epoch; a collective."""
        return {"found": self._found_by_all()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore ``get_extra_state`` for any number of ranks: rank 0 keeps the new labels."""
        self._seen = [state["found"].to(self.empty_04.device)] if comm.is_main() else []

    def _is_searching(self) -> bool:
        if self.relabel_after is None or not self.training:
            return False
        assert self._iteration > 0, "begin(iteration) must be called before the forward pass"
        return self._iteration > self.relabel_after

    @torch.no_grad()
    def _search(self, logits_NK: Tensor, batch: Batch, low_N: Tensor) -> None:
        """Store the result for every image of the batch, since selecting the relabelled ones would synchronise."""
        label_N = batch.targets["label"]
        share_NK = logits_NK.float().softmax(dim=1)
        largest_N, predicted_N = share_NK.max(dim=1)
        given_N = share_NK.gather(1, label_N.clamp(min=0)[:, None])[:, 0]
        new_N = torch.where(low_N & (largest_N - given_N > self.margin_2), predicted_N, -1)
        iteration_N = torch.full_like(new_N, self._iteration)
        self._seen.append(torch.stack([batch.row_N, iteration_N, batch.position_N, new_N], dim=1))

    def _found_by_all(self) -> Tensor:
        seen_M4 = torch.cat([self.empty_04, *self._seen])
        found_M4 = seen_M4[seen_M4[:, 3] >= 0]
        counts = comm.gather_counts(len(found_M4))
        return torch.cat(comm.gather_rows(found_M4, counts)).cpu()
