"""The criterion against hand arithmetic and a naive loop, with mixed odd faces, types and weights in one batch."""

import pytest
import torch

from fecnet.modeling.criterion.triplet import TripletCriterion, triplet_loss
from fecnet.structures import Batch, Triplets

MARGINS = (0.1, 0.2, 0.3)


def random_batch(num_triplets, num_faces, seed):
    generator = torch.Generator().manual_seed(seed)
    triplets = Triplets(
        face_B3=torch.stack([torch.randperm(num_faces, generator=generator)[:3] for _ in range(num_triplets)]),
        odd_B=torch.randint(0, 3, (num_triplets,), generator=generator),
        type_B=torch.randint(0, 3, (num_triplets,), generator=generator),
        weight_B=torch.rand(num_triplets, generator=generator) + 0.5,
        votes_B3=torch.randint(0, 5, (num_triplets, 3), generator=generator).byte(),
    )
    rows = torch.arange(num_faces)
    batch = Batch(torch.zeros(num_faces, 1, 4, 4), rows, rows, triplets)
    embedding = torch.nn.functional.normalize(torch.randn(num_faces, 16, generator=generator), dim=1)
    return batch, embedding


def naive_sum(embedding, triplets):
    total = 0.0
    for faces, odd, kind, weight in zip(
        triplets.face_B3.tolist(), triplets.odd_B.tolist(), triplets.type_B.tolist(), triplets.weight_B, strict=True
    ):
        n = embedding[faces[odd]]
        a, p = (embedding[faces[k]] for k in range(3) if k != odd)
        d_ap, d_an, d_pn = ((x - y).pow(2).sum() for x, y in ((a, p), (a, n), (p, n)))
        total = total + weight * (
            (d_ap - d_an + MARGINS[kind]).clamp(min=0) + (d_ap - d_pn + MARGINS[kind]).clamp(min=0)
        )
    return total


@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_equal_the_naive_loop(seed):
    batch, embedding = random_batch(50, 40, seed)  # faces stand in several triplets
    fast, slow = embedding.clone().requires_grad_(), embedding.clone().requires_grad_()
    criterion = TripletCriterion(MARGINS)
    found = criterion({"embedding": fast}, batch)["triplet"]
    expected = naive_sum(slow, batch.triplets)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    found.backward()
    expected.backward()
    torch.testing.assert_close(fast.grad, slow.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(criterion.count(batch)["triplet"], batch.triplets.weight_B.sum())


def test_hand_arithmetic():
    # On a line: 0, 1, 3. Pairs: d(1,2) = 4, d(0,2) = 9, d(0,1) = 1.
    line = torch.tensor([[0.0], [1.0], [3.0]])
    emb_B3D = line.expand(3, 3, 1)
    loss = triplet_loss(emb_B3D, torch.tensor([2, 0, 1]), torch.tensor([0.1, 0.2, 4.5]))
    # odd 2: a, p = 0, 1: [1 − 9 + .1]₊ + [1 − 4 + .1]₊ = 0
    # odd 0: a, p = 1, 2: [4 − 1 + .2]₊ + [4 − 9 + .2]₊ = 3.2
    # odd 1: a, p = 0, 2: [9 − 1 + 4.5]₊ + [9 − 4 + 4.5]₊ = 22
    torch.testing.assert_close(loss, torch.tensor([0.0, 3.2, 22.0]))


def test_gradcheck():
    emb = torch.randn(6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    odd, margin = torch.tensor([0, 1, 2, 0, 1, 2]), torch.full((6,), 0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: triplet_loss(x, odd, margin), emb)


@pytest.mark.parametrize(("emb", "odd", "margin"), [((4, 2, 8), 4, 4), ((4, 3, 8), 3, 3), ((4, 3, 8), 4, 1)])
def test_shapes_that_disagree_are_refused(emb, odd, margin):
    with pytest.raises(AssertionError):
        triplet_loss(torch.zeros(emb), torch.zeros(odd, dtype=torch.int64), torch.zeros(margin))
