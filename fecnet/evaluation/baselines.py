"""Baseline embeddings without a net: the pixels themselves, and a linear map of them.

Shape suffixes: N faces, T triplets, P principal components, D embedding dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fecnet.structures import opposite_distances

MAX_LINEAR_TRIPLETS = 150_000  # more do not improve a linear map, and its faces are kept in memory
_SIDE = 48  # minimum side in pixels after averaging; a finer resolution does not improve the baselines
_MARGIN = 0.2  # squared L2 between unit vectors, as for the net
_BATCH = 512  # triplets


def small_faces(faces_NHWC: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The given faces, averaged over square blocks to 48..95 pixels per side; in chunks, so that memory stays bounded.

    Args:
        faces_NHWC: all faces, uint8.
        rows: rows of the given faces, shape (n,).

    Returns:
        uint8, shape (n, h, w, C).
    """
    _, height, width, channels = faces_NHWC.shape
    k = max(1, min(height, width) // _SIDE)
    height, width = height // k, width // k
    small_NHWC = np.empty((len(rows), height, width, channels), np.uint8)
    for first in range(0, len(rows), 1024):
        part = faces_NHWC[rows[first : first + 1024], : height * k, : width * k]
        blocks = part.reshape(len(part), height, k, width, k, channels)
        small_NHWC[first : first + 1024] = blocks.mean(axis=(2, 4)) if k > 1 else part
    return small_NHWC


def pixel_embedding(image_NHWC: np.ndarray) -> np.ndarray:
    """The pixels as an embedding: the distance of two faces is their pixel distance.

    Args:
        image_NHWC: uint8, shape (N, H, W, C).

    Returns:
        Float32 in 0..1, shape (N, H·W·C).
    """
    return image_NHWC.reshape(len(image_NHWC), -1).astype(np.float32) / 255


def linear_embedding(
    train_NHWC: np.ndarray,
    faces_T3: np.ndarray,
    odd_T: np.ndarray,
    test_NHWC: np.ndarray,
    *,
    dim: int = 16,
    components: int = 256,
    epochs: int = 30,
    seed: int = 0,
) -> np.ndarray:
    """A linear map of the pixels to unit vectors, trained on triplets with the net's double hinge loss.

    Pixels are first standardised and whitened on the training faces. The map stays as expressive, except for the
    components left out, and Adam converges faster.

    Args:
        train_NHWC: training faces, uint8, shape (N, H, W, C).
        faces_T3: rows of ``train_NHWC``, shape (T, 3).
        odd_T: index 0..2 of the odd face, shape (T,).
        test_NHWC: faces to embed, uint8, shape (test faces, H, W, C).
        dim: D.
        components: P, capped at N and H·W·C.
        epochs: passes over the triplets.
        seed: for the initial map and the order of the triplets.

    Returns:
        Unit vectors of the test faces, float32, shape (number of test faces, D).
    """
    train_NP, test_NP = _whiten(pixel_embedding(train_NHWC), pixel_embedding(test_NHWC), components)
    generator = torch.Generator().manual_seed(seed)
    map_PD = (torch.randn(train_NP.shape[1], dim, generator=generator) / train_NP.shape[1] ** 0.5).requires_grad_()
    optimizer = torch.optim.AdamW([map_PD], lr=3e-3, weight_decay=0.1)
    face_T3, odd = torch.from_numpy(faces_T3.astype(np.int64)), torch.from_numpy(odd_T.astype(np.int64))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(odd) // _BATCH))
    for _ in range(epochs):
        for rows in torch.randperm(len(odd), generator=generator).split(_BATCH):
            embedding = functional.normalize(train_NP[face_T3[rows].flatten()] @ map_PD)
            loss = _double_hinge(embedding.unflatten(0, (-1, 3)), odd[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return functional.normalize(test_NP @ map_PD).numpy()


def _double_hinge(emb_B3D: Tensor, odd_B: Tensor) -> Tensor:
    distance_B3 = opposite_distances(emb_B3D)
    close_B = distance_B3.gather(1, odd_B[:, None])
    hinge_B3 = torch.relu(close_B - distance_B3 + _MARGIN)
    return (hinge_B3.sum(1) - _MARGIN).mean()  # the closest pair compared with itself adds one margin


def _whiten(train_NK: np.ndarray, test_NK: np.ndarray, components: int) -> tuple[Tensor, Tensor]:
    """Standardise each pixel, then project on the principal components of the training faces with unit variance."""
    train, test = torch.from_numpy(train_NK), torch.from_numpy(test_NK)
    mean, std = train.mean(0), train.std(0).clamp_min(1e-3)
    train, test = (train - mean) / std, (test - mean) / std
    components = min(components, *train.shape)
    # svd_lowrank uses torch's global generator: seed it here, without changing the caller's state.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, strength_P, basis_KP = torch.svd_lowrank(train, q=components, niter=2)
    basis_KP = basis_KP * (len(train) ** 0.5 / strength_P.clamp_min(1e-6))
    # A constant feature: without it, faces along one direction would differ only by their sign after normalisation.
    return functional.pad(train @ basis_KP, (0, 1), value=1.0), functional.pad(test @ basis_KP, (0, 1), value=1.0)
