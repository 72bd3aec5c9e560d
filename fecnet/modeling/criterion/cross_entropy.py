"""Cross-entropy with label smoothing, class weights and OHEM. N images, G images of all ranks, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fecnet.modeling.criterion.global_batch import own_rows, top_share
from fecnet.modeling.criterion.ranges import check_range
from fecnet.modeling.criterion.targets import target_parts
from fecnet.structures import Batch, Outputs, of_label_set
from fecnet.utils import comm

_TINY = torch.finfo(torch.float32).tiny


class CrossEntropyCriterion(nn.Module):
    """Weighted mean of the cross-entropy over the images with a label (label -1 = absent).

    An image has the weight of its class, also with label smoothing. With ``hardest`` below 1 only that share of the
    global batch, the images with the largest weighted losses over all ranks, is averaged (online hard example mining,
    OHEM, arXiv:1604.03540). With several micro-batches, each is ranked separately.

    Args:
        label_smoothing: share of the target distributed evenly over all classes (arXiv:1512.00567).
        class_weights: K weights, or None for 1.
        hardest: share of images kept by OHEM, above 0, at most 1.
        label_set: label set whose labels and logits are read; empty for ``DATA.LABELS``.

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
        """Sum of the images' weights; a mixed image counts by the shares of both labels."""
        return {self._term: torch.stack(self._weights(target_parts(batch, self._label, self._term))).sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of weight × cross-entropy over the images with a label."""
        logits_NK, parts = out[self._logits].float(), target_parts(batch, self._label, self._term)
        assert self.class_weight_K is None or len(self.class_weight_K) == logits_NK.shape[1], logits_NK.shape
        weights = self._weights(parts)
        losses = [self._losses(logits_NK, label_N) for label_N, _ in parts]
        if len(parts) == 1:
            loss_N, weight_N = losses[0], weights[0]
        else:  # the mean over the labels of each image
            weight_N = weights[0] + weights[1]
            loss_N = (losses[0] * weights[0] + losses[1] * weights[1]) / weight_N.clamp(min=_TINY)
        if self.hardest < 1:
            weight_N = self._weight_of_hardest(loss_N.detach(), weight_N)
        return {self._term: (loss_N * weight_N).sum()}

    def _losses(self, logits_NK: Tensor, label_N: Tensor) -> Tensor:
        return F.cross_entropy(logits_NK, label_N.clamp(min=0), reduction="none", label_smoothing=self.label_smoothing)

    def _weights(self, parts: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """The weights of the labels of the images, by part."""
        weights = [(label_N >= 0) * share_N for label_N, share_N in parts]
        if self.class_weight_K is None:
            return weights
        labels = (label_N.clamp(min=0) for label_N, _ in parts)
        return [self.class_weight_K[label_N] * weight_N for label_N, weight_N in zip(labels, weights, strict=True)]

    def _weight_of_hardest(self, loss_N: Tensor, weight_N: Tensor) -> Tensor:
        """The total weight of the global batch distributed over the hardest images, so that ``count`` is unchanged."""
        counts = comm.gather_counts(len(loss_N))
        both_G2 = torch.cat(comm.gather_rows(torch.stack([loss_N, weight_N], dim=1), counts))
        weight_G = both_G2[:, 1]
        kept_G = weight_G * top_share(both_G2.prod(dim=1), weight_G > 0, self.hardest)
        factor = weight_G.sum() / kept_G.sum().clamp(min=_TINY)
        return own_rows(kept_G, counts) * factor
