"""Which triplets the net gets wrong, against a loop."""

import numpy as np
import pytest
import torch
from torch import nn

from fecnet.data.hard_sampler import HardTripletSampler
from fecnet.data.packed import TripletTable
from fecnet.data.views import center
from fecnet.engine.hard_triplets import HardTriplets


class Mean(nn.Module):
    """The mean of each image; in training mode it is noise."""

    def forward(self, image_NCHW):
        mean_N1 = (255 * image_NCHW).round().mean((1, 2, 3))[:, None]  # whole numbers, so that ties are ties
        return {"embedding": torch.rand_like(mean_N1) if self.training else mean_N1}


def find(level_N, table):
    sampler = HardTripletSampler(table, share=0.2, ceiling=3.0, batch_size=6, seed=0, balance=False)
    faces_NHWC = np.broadcast_to(level_N[:, None, None, None], (len(level_N), 8, 8, 1))
    options = {"views": center(8, 1.0), "batch_size": 7, "device": torch.device("cpu")}
    hard = HardTriplets(sampler, "train", table, faces_NHWC, **options)
    return hard.find(Mean().train()), hard


def test_wrong_triplets_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    level_N = rng.integers(0, 6, 30).astype(np.uint8) * 40  # with ties
    faces_T3 = np.stack([rng.permutation(np.arange(3, 27))[:3] for _ in range(50)]).astype(np.int32)
    odd_T, type_T = rng.integers(0, 3, 50).astype(np.int8), np.zeros(50, np.int8)
    table = TripletTable(faces_T3, odd_T, type_T, np.zeros((50, 3), np.uint8))
    wrong = []
    for faces, odd in zip(faces_T3.tolist(), odd_T.tolist(), strict=True):
        a, p, n = *(int(level_N[face]) for k, face in enumerate(faces) if k != odd), int(level_N[faces[odd]])
        wrong.append(not (abs(a - p) < abs(a - n) and abs(a - p) < abs(p - n)))
    found, hard = find(level_N, table)
    assert hard.state_dict()["favoured_T"].tolist() == wrong and 10 < sum(wrong) < 50
    assert found["wrong_triplets"] == pytest.approx(2 * sum(wrong))
    assert found["hard_draws"] == pytest.approx(20)
