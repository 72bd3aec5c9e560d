"""Cross-entropy with label smoothing, class weights and OHEM. N images, G images of all ranks, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fecnet.modeling.criterion.global_batch import own_rows, top_share
from fecnet.modeling.criterion.ranges import check_range
from fecnet.modeling.criterion.targets import target_of
from fecnet.structures import Batch, Outputs, of_label_set
from fecnet.utils import comm


class CrossEntropyCriterion(nn.Module):
    """Weighted mean of the cross-entropy over the images with a label (label -1 = absent).

    An image has the weight of its class, with label smoothing too. With ``hardest`` below 1 only the images with the
    largest weighted losses are averaged (online hard example mining, OHEM, arXiv:1604.03540): that share of the global
    batch over all ranks; each of several micro-batches is ranked separately.

    Args:
        label_smoothing: share of the target distributed evenly over all classes (arXiv:1512.00567).
        class_weights: K weights, or None for 1.
        hardest: share of images kept by OHEM, above 0, at most 1.
        label_set: whose labels and logits are read; empty for ``DATA.LABELS``.

    Raises:
        UserError: a value is out of range.
    """

    class_weight_K: Tensor | None

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        hardest: float = 1.0,
        label_set: str = "",
    ) -> None:
        super().__init__()
        check_range("LABEL_SMOOTHING", label_smoothing, 0 <= label_smoothing < 1, "0 or more, below 1")
        check_range("OHEM_RATIO", hardest, 0 < hardest <= 1, "above 0, at most 1")
        if class_weights is not None:
            fits = min(class_weights) >= 0 and max(class_weights) > 0
            check_range("CLASS_WEIGHTS", list(class_weights), fits, "0 or more for each class, one of them above 0")
        self.label_smoothing = label_smoothing
        self.hardest = hardest
        self._term, self._label, self._logits = (
            of_label_set(name, label_set) for name in ("cross_entropy", "label", "logits")
        )
        weight = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.float32)
        self.register_buffer("class_weight_K", weight, persistent=False)

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of the images' weights."""
        return {self._term: self._weight(target_of(batch, self._label, self._term)).sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of weight × cross-entropy over the images with a label."""
        logits_NK, label_N = out[self._logits].float(), target_of(batch, self._label, self._term)
        assert self.class_weight_K is None or len(self.class_weight_K) == logits_NK.shape[1], logits_NK.shape
        weight_N = self._weight(label_N)
        loss_N = F.cross_entropy(
            logits_NK, label_N.clamp(min=0), reduction="none", label_smoothing=self.label_smoothing
        )
        if self.hardest < 1:
            weight_N = self._weight_of_hardest(loss_N.detach(), weight_N)
        return {self._term: (loss_N * weight_N).sum()}

    def _weight(self, label_N: Tensor) -> Tensor:
        present_N = (label_N >= 0).float()
        if self.class_weight_K is None:
            return present_N
        return self.class_weight_K[label_N.clamp(min=0)] * present_N

    def _weight_of_hardest(self, loss_N: Tensor, weight_N: Tensor) -> Tensor:
        """The total weight of the global batch distributed over the hardest images, so that ``count`` is unchanged."""
        counts = comm.gather_counts(len(loss_N))
        both_G2 = torch.cat(comm.gather_rows(torch.stack([loss_N, weight_N], dim=1), counts))
        weight_G = both_G2[:, 1]
        kept_G = weight_G * top_share(both_G2.prod(dim=1), weight_G > 0, self.hardest)
        factor = weight_G.sum() / kept_G.sum().clamp(min=torch.finfo(torch.float32).tiny)
        return own_rows(kept_G, counts) * factor
