"""Finds the triplets of the training that the net gets wrong, which are drawn more often then."""

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
    """Asks the net in evaluation mode for all faces of the training, and tells the sampler which triplets are wrong.

    One forward pass per face: a small part of an epoch where a face stands in many triplets, a third at most. Losses of
    the training batches would cost nothing, but are up to an epoch old, of augmented faces and with dropout, and would
    have to be gathered from all ranks.

    Args:
        sampler: of the training.
        split: name of the split trained on.
        table: the triplets trained on, those of the sampler.
        faces_NHWC: all faces, uint8.
        views: turn stored images into the net's input.
        batch_size: faces per forward pass.
        device: of the model.
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
            ``wrong_triplets``, % of all, and ``hard_draws``, % of the draws that the favoured ones of them get.

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
        # on one rank, since another machine may round the distances of a near-tie otherwise
        wrong_T = comm.from_main(lambda: ~self._metric.is_right(embedding_ND, self._split))
        self._sampler.favour(wrong_T)
        return {"wrong_triplets": _percent(wrong_T.mean()), "hard_draws": _percent(self._sampler.share)}

    def state_dict(self) -> dict[str, Tensor]:
        """What was found last."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over ``state_dict``."""
        self._sampler.load_state_dict(state)


def _percent(share: float) -> float:
    return round(100 * float(share), 4)
