"""Wasserstein loss between predicted classes and label. N images, K classes, P = K(K − 1)/2 pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fecnet.modeling.criterion.targets import target_of
from fecnet.structures import Batch, Outputs
from fecnet.utils import comm
from fecnet.utils.class_words import class_word
from fecnet.utils.errors import ConfigError, UserError

CENTROIDS = {  # of the classes in the valence-arousal plane, as in the published loss
    "neutral": (-0.0196, -0.0627),
    "happiness": (0.0703, 0.6643),
    "sadness": (-0.2570, -0.6370),
    "surprise": (0.6893, 0.1804),
    "fear": (0.7662, -0.1257),
    "disgust": (0.4573, -0.6937),
    "anger": (0.5668, -0.4527),
    "contempt": (0.5828, -0.5146),
}


def normalised_distances(distance_KK: Tensor) -> Tensor:
    """Symmetric, zero on the diagonal, Frobenius norm 1.

    Args:
        distance_KK: 0 or more, not all zero off the diagonal, shape (K, K).
    """
    symmetric_KK = (distance_KK + distance_KK.T) / 2
    symmetric_KK = symmetric_KK - symmetric_KK.diagonal().diag()
    return symmetric_KK / symmetric_KK.norm()


def centroid_distances(classes: Sequence[str]) -> Tensor:
    """Distances of the classes' centroids in the valence-arousal plane, normalised, shape (K, K).

    Args:
        classes: K names in label order, at least two.

    Raises:
        UserError: a class has no known centroid.
    """
    names = [class_word(name) for name in classes]
    unknown = [given for given, name in zip(classes, names, strict=True) if name not in CENTROIDS]
    if unknown:
        allowed = ", ".join(CENTROIDS)
        raise ConfigError(
            f"LOSS.WASSERSTEIN_COST: class '{unknown[0]}' has no centroid; known are {allowed}, in any form"
        )
    centroid_K2 = torch.tensor([CENTROIDS[name] for name in names])
    return normalised_distances((centroid_K2[:, None] - centroid_K2[None]).norm(dim=2))


def confusion_distances(confusion_KK: np.ndarray) -> Tensor:
    """1 − the rate at which two classes are confused, normalised, shape (K, K): confused classes are close.

    The matrix must be measured on the *training* set: one of the test set would leak test labels into training.

    Args:
        confusion_KK: counts by label (row) and prediction (column).

    Raises:
        UserError: not square, negative or not finite, a class without images, or two classes always confused.
    """
    confusion_KK = np.asarray(confusion_KK, np.float64)
    if confusion_KK.ndim != 2 or len(confusion_KK) < 2 or confusion_KK.shape[0] != confusion_KK.shape[1]:
        raise UserError(f"confusion matrix: shape {confusion_KK.shape}; expected (classes, classes)")
    if not (np.isfinite(confusion_KK).all() and (confusion_KK >= 0).all()):
        raise UserError("confusion matrix: every number must be finite, 0 or more")
    images_K = confusion_KK.sum(axis=1)
    if not images_K.all():
        raise UserError(f"confusion matrix: row {int(images_K.argmin())} is empty; every class needs images")
    rate_KK = confusion_KK / images_K[:, None]
    distance_KK = 1 - torch.from_numpy(rate_KK + rate_KK.T) / 2
    if not distance_KK.fill_diagonal_(0.0).any():
        raise UserError("confusion matrix: every image is predicted as another class; no distance is left")
    return normalised_distances(distance_KK).float()


class LearnedDistances(nn.Module):
    """Learnable distances, parametrised to be positive, symmetric and normalised.

    Args:
        num_classes: K.
    """

    pair_2P: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        pair_2P = torch.triu_indices(num_classes, num_classes, offset=1)
        self.register_buffer("pair_2P", pair_2P, persistent=False)
        self.raw_P = nn.Parameter(torch.zeros(pair_2P.shape[1]))  # all classes equidistant

    def forward(self) -> Tensor:
        """Distances, shape (K, K)."""
        # the criterion is not part of the distributed model, so its gradients are averaged here
        raw_P = comm.average_gradient(self.raw_P)
        distance_KK = raw_P.new_zeros(self.num_classes, self.num_classes)
        first_P, second_P = self.pair_2P
        return normalised_distances(distance_KK.index_put((first_P, second_P), nn.functional.softplus(raw_P)))


class WassersteinCriterion(nn.Module):
    """Mean of ``Σ_c W[y, c] p_c`` over the images with a label.

    For a single label y this is the Wasserstein distance between p and y under the ground distance W. Published
    together with the cross-entropy, with weight 0.0125.

    Args:
        distances: W, fixed, shape (K, K), or learned.
    """

    distance_KK: Tensor | None

    def __init__(self, distances: Tensor | LearnedDistances) -> None:
        super().__init__()
        self.free = distances if isinstance(distances, LearnedDistances) else None
        fixed = None if isinstance(distances, LearnedDistances) else distances
        self.register_buffer("distance_KK", fixed)  # saved: the file it was read from may change before resuming

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Number of images with a label."""
        return {"wasserstein": (target_of(batch, "label", "wasserstein") >= 0).float().sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of the distance over the images with a label."""
        label_N = target_of(batch, "label", "wasserstein")
        share_NK = out["logits"].float().softmax(dim=1)
        distance_KK = self.free() if self.free is not None else self.distance_KK
        assert distance_KK is not None
        assert len(distance_KK) == share_NK.shape[1], (distance_KK.shape, share_NK.shape)
        distance_N = (distance_KK.index_select(0, label_N.clamp(min=0)) * share_NK).sum(dim=1)
        return {"wasserstein": (distance_N * (label_N >= 0)).sum()}
