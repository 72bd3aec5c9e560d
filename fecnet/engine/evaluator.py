"""Measures triplet splits: each face is embedded once, however many triplets and splits it stands in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fecnet.engine.predict import View, predict
from fecnet.evaluation.triplet_accuracy import TripletAccuracy, triplet_accuracy

TripletArrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # faces_T3, odd_T, type_T


class TripletEvaluator:
    """Embeds the faces of some splits and judges their triplets.

    Args:
        faces_NHWC: all faces, uint8.
        splits: the arrays of each split's triplets, by name.
        view: stored image to the net's input.
        batch_size: faces per forward pass.
        device: where the model is.
        progress: show a bar.

    Attributes:
        splits: names of the splits.
        rows: the faces that stand in any of them, int64, sorted.
    """

    def __init__(
        self,
        faces_NHWC: np.ndarray,
        splits: Mapping[str, TripletArrays],
        *,
        view: View,
        batch_size: int,
        device: torch.device,
        progress: bool = False,
    ) -> None:
        self._faces_NHWC = faces_NHWC
        self._splits = splits
        self._view = view
        self._batch_size = batch_size
        self._device = device
        self._progress = progress
        every = [faces_T3.reshape(-1) for faces_T3, _, _ in splits.values()]
        self.splits = list(splits)
        self.rows = np.unique(np.concatenate(every)).astype(np.int64)

    def embed(self, model: nn.Module) -> Tensor:
        """Embeddings of ``self.rows``, float32, shape (n, D), on the CPU, on all ranks."""
        outputs = predict(
            model,
            self._faces_NHWC,
            self.rows,
            view=self._view,
            batch_size=self._batch_size,
            device=self._device,
            progress="embedding faces" if self._progress else "",
        )
        return outputs["embedding"]

    def judge(self, embedding_ND: Tensor) -> dict[str, TripletAccuracy]:
        """The accuracy of each split, from embeddings of ``self.rows``.

        Raises:
            ValueError: an embedding is not finite.
        """
        return {
            split: triplet_accuracy(embedding_ND, np.searchsorted(self.rows, faces_T3), odd_T, type_T)
            for split, (faces_T3, odd_T, type_T) in self._splits.items()
        }

    def __call__(self, model: nn.Module) -> dict[str, TripletAccuracy]:
        """Embed, then judge."""
        return self.judge(self.embed(model))
