"""Finds the training triplets that the net gets wrong, so that they can be sampled more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fecnet.data.hard_sampler import HardTripletSampler
from fecnet.data.packed import TripletTable
from fecnet.engine.evaluator import TripletMetric
from fecnet.engine.predict import View, predict
from fecnet.utils import comm


class HardTriplets:
    """Embeds all training faces in evaluation mode, and tells the sampler which triplets are wrong.

    This takes one forward pass per face: a small part of an epoch where a face is in many triplets, a third at most.
    The losses of the training batches would cost nothing, but they are up to an epoch old, come from augmented faces
    and dropout, and would have to be gathered from all ranks.

    Args:
        sampler: sampler of the training.
        split: name of the split trained on.
        table: the triplets trained on, those of the sampler.
        faces_NHWC: all faces, uint8, shape (N, H, W, C).
        views: each turns stored images into the net's input; the embeddings are averaged over the views.
        batch_size: faces per forward pass.
        device: device of the model.
    """

    def __init__(
        self,
        sampler: HardTripletSampler,
        split: str,
        table: TripletTable,
        faces_NHWC: np.ndarray,
        *,
        views: Sequence[View],
        batch_size: int,
        device: torch.device,
    ) -> None:
        self._sampler = sampler
        self._split, self._metric = split, TripletMetric({split: table})
        self._faces_NHWC = faces_NHWC
        self._views, self._batch_size, self._device = views, batch_size, device

    def find(self, model: nn.Module) -> dict[str, float]:
        """Favour the triplets that the model gets wrong in all batches from the next one on; a collective.

        Returns:
            ``wrong_triplets``, % of all triplets, and ``hard_draws``, % of all draws that favoured triplets get.

        Raises:
            UserError: an embedding is not finite.
        """
        embedding_ND = predict(
            model,
            self._faces_NHWC,
            self._metric.rows,
            views=self._views,
            batch_size=self._batch_size,
            device=self._device,
        )["embedding"]
        # on one rank, since another machine may round the distances of a near-tie differently
        wrong_T = comm.from_main(lambda: ~self._metric.is_right(embedding_ND, self._split))
        self._sampler.favour(wrong_T)
        return {"wrong_triplets": _percent(wrong_T.mean()), "hard_draws": _percent(self._sampler.share)}

    def state_dict(self) -> dict[str, Tensor]:
        """The triplets found last."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a ``state_dict``."""
        self._sampler.load_state_dict(state)


def _percent(share: float) -> float:
    return round(100 * float(share), 4)
