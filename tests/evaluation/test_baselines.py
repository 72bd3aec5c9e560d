"""What is scored beside a net: block averages, pixels, and a linear map that learns what is linear."""

import numpy as np
import pytest
import torch

from fecnet.evaluation.baselines import linear_embedding, pixel_embedding, small_faces
from fecnet.evaluation.triplet_accuracy import triplet_accuracy


@pytest.mark.parametrize("side", [48, 95, 100, 160])
def test_small_faces_are_block_means(side):
    faces = np.random.default_rng(0).integers(0, 256, (3, side, side, 1), np.uint8)
    small = small_faces(faces, np.array([2, 0]))
    k = max(1, side // 48)
    assert small.shape == (2, side // k, side // k, 1)
    assert small[0, 1, 2, 0] == int(faces[2, k : 2 * k, 2 * k : 3 * k, 0].mean())


def linear_world(num, num_triplets, seed):
    """Faces whose brightness in one corner is what raters look at, under strong noise elsewhere."""
    rng = np.random.default_rng(seed)
    faces = rng.integers(0, 200, (num, 12, 12, 1)).astype(np.uint8)
    truth = rng.uniform(0, 1, num)
    faces[:, :3, :3, 0] = (255 * truth)[:, None, None]
    triplets = np.stack([rng.permutation(num)[:3] for _ in range(num_triplets)])
    values = truth[triplets]
    opposite = np.abs(
        np.stack([values[:, 1] - values[:, 2], values[:, 0] - values[:, 2], values[:, 0] - values[:, 1]], 1)
    )
    return faces, triplets, opposite.argmin(1)


@pytest.mark.slow
def test_linear_map_learns_what_is_linear():
    train, test = linear_world(1500, 20_000, 0), linear_world(200, 2000, 1)
    types = np.zeros(len(test[2]), int)
    linear = linear_embedding(train[0], train[1], train[2], test[0], dim=4, components=144)
    pixels = pixel_embedding(test[0])
    learned = triplet_accuracy(torch.from_numpy(linear), test[1], test[2], types).percent()
    blind = triplet_accuracy(torch.from_numpy(pixels), test[1], test[2], types).percent()
    assert learned > 75
    assert learned > blind + 10
