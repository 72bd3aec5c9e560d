"""Mixup and CutMix of labelled faces: partners, shares and boxes as functions of (seed, iteration, global position).

Shape suffixes: L mixed faces of a micro-batch, C channels, S side of the net's input, pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fecnet.data.randomness import uniforms
from fecnet.structures import Mix
from fecnet.utils.errors import ConfigError

OTHER_SEED = 2**32  # added to SEED, which is smaller, for the order of the partners
_OTHER = 2**31  # added to SEED and to a position, for random numbers independent of the augmentation
_MAX_ALPHA = 100.0
_GRID = 4096  # points at which the distribution of the shares is tabulated


class Pairs(NamedTuple):
    """The partners of some faces, and how they are mixed.

    Attributes:
        row_L: rows of the partners in ``faces.npy``, int64, shape (L,).
        key_L: random keys of their augmentation, int64, shape (L,).
        blend_L2: weight of the face itself inside and outside the box, float32, shape (L, 2).
        box_L4: first and last column, first and last row of the box, pixels, the last ones exclusive, int64, shape
            (L, 4).
        share_L: weight of the targets of the face itself, float32, shape (L,).
    """

    row_L: Tensor
    key_L: Tensor
    blend_L2: Tensor
    box_L4: Tensor
    share_L: Tensor


class Mixer:
    """Pairs each labelled face of a global batch with another training face.

    Mixup (arXiv:1710.09412) averages the two images with weights λ and 1 − λ, λ ~ Beta(α, α); CutMix (arXiv:1905.04899)
    pastes a box of the partner, 1 − λ of the area, at a uniformly sampled centre. The targets are mixed with the same
    weights, in CutMix by the area of the box inside the image. With both on, each is used for half of the faces.
    Partners are sampled from all training faces and not from the batch, so that a rank needs no faces of other ranks.

    Args:
        partners: rows of ``faces.npy`` of the partners of a global batch's labelled faces, by iteration.
        mixup: α of mixup, 0 = off.
        cutmix: α of CutMix, 0 = off.
        input_size: S.
        seed: the run's seed.

    Raises:
        ConfigError: an α is out of range.
    """

    def __init__(
        self, partners: Callable[[int], np.ndarray], *, mixup: float, cutmix: float, input_size: int, seed: int
    ) -> None:
        for name, alpha in (("MIXUP", mixup), ("CUTMIX", cutmix)):
            if not 0 <= alpha <= _MAX_ALPHA:
                raise ConfigError(f"AUGMENT.{name}: {alpha}; allowed: 0..{_MAX_ALPHA:g}")
        self._partners = partners
        self._input_size = input_size
        self._seed = seed + _OTHER
        self._share_of_mixup, self._share_of_cutmix = (_beta(alpha) if alpha else None for alpha in (mixup, cutmix))

    def pairs(self, iteration: int, part: slice, position_L: Tensor) -> Pairs:
        """The partners of the labelled faces of a micro-batch.

        Args:
            iteration: 1-based.
            part: which of the global batch's labelled faces are in the micro-batch.
            position_L: their positions in the global batch, int64, shape (L,).
        """
        choice_L, quantile_L, x_L, y_L = uniforms(self._seed, iteration, position_L, 4).double().numpy()
        cuts_L = np.full(len(choice_L), self._share_of_mixup is None)
        if self._share_of_mixup and self._share_of_cutmix:
            cuts_L = choice_L < 0.5
        share_L = np.empty(len(choice_L))
        for chosen_L, share_of in ((~cuts_L, self._share_of_mixup), (cuts_L, self._share_of_cutmix)):
            if share_of is not None:
                share_L[chosen_L] = share_of(quantile_L[chosen_L])
        box_L4 = self._boxes(np.where(cuts_L, share_L, 1.0), x_L, y_L)
        area_L = (box_L4[:, 1] - box_L4[:, 0]) * (box_L4[:, 3] - box_L4[:, 2])
        share_L = np.where(cuts_L, 1 - area_L / self._input_size**2, share_L).astype(np.float32)
        blend_L2 = np.stack([np.where(cuts_L, 0, share_L), np.where(cuts_L, 1, share_L)], axis=1)
        return Pairs(
            torch.from_numpy(self._partners(iteration)[part].astype(np.int64)),
            position_L + _OTHER,
            torch.from_numpy(blend_L2.astype(np.float32)),
            torch.from_numpy(box_L4),
            torch.from_numpy(share_L),
        )

    def _boxes(self, share_L: np.ndarray, x_L: np.ndarray, y_L: np.ndarray) -> np.ndarray:
        """``Pairs.box_L4``: boxes with 1 − share of the area, clipped at the border of the image."""
        side, half_L = self._input_size, (self._input_size * np.sqrt(1 - share_L)).astype(np.int64) / 2
        edges = []
        for uniform_L in (x_L, y_L):
            centre_L = np.floor(uniform_L * side)
            edges += [np.floor(centre_L - half_L), np.floor(centre_L + half_L)]
        return np.stack(edges, axis=1).clip(0, side).astype(np.int64)


def mix_images(image_VCSS: Tensor, mix: Mix) -> Tensor:
    """Mix the last L images into the L before them; returns the images without the last L.

    Args:
        image_VCSS: float, augmented, modified in place; V images, the partners last.
        mix: see ``Batch.mix``.
    """
    end, num = len(image_VCSS) - len(mix.key_L), len(mix.key_L)
    own_LCSS, partner_LCSS = image_VCSS[end - num : end], image_VCSS[end:]
    pixel_S = torch.arange(image_VCSS.shape[-1], device=image_VCSS.device)
    left_L1, right_L1, top_L1, bottom_L1 = mix.box_L4[:, :, None].unbind(1)
    inside_x_LS = (pixel_S >= left_L1) & (pixel_S < right_L1)
    inside_y_LS = (pixel_S >= top_L1) & (pixel_S < bottom_L1)
    inside_LSS = inside_y_LS[:, :, None] & inside_x_LS[:, None, :]
    weight_LSS = torch.where(inside_LSS, mix.blend_L2[:, 0, None, None], mix.blend_L2[:, 1, None, None])
    own_LCSS.copy_(torch.lerp(partner_LCSS, own_LCSS, weight_LSS[:, None]))  # exact for weights 0 and 1
    return image_VCSS[:end]


def _beta(alpha: float) -> Callable[[np.ndarray], np.ndarray]:
    """The quantile function of Beta(α, α): no generator of random numbers, whose state would have to be saved.

    The density is integrated up to the median over t = x^min(α, 1), in which it has no pole; the rest is symmetric.
    """
    power = min(alpha, 1.0)
    t = np.linspace(0, 0.5**power, _GRID)
    density = t ** ((alpha - power) / power) * (1 - t ** (1 / power)) ** (alpha - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    below *= 0.5 / below[-1]

    def quantile(uniform: np.ndarray) -> np.ndarray:
        lower = np.interp(np.minimum(uniform, 1 - uniform), below, t) ** (1 / power)
        return np.where(uniform < 0.5, lower, 1 - lower)

    return quantile
