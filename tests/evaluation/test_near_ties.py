"""Near ties: no movement within the bound changes another decision, and the bound is hardly wider than needed."""

import numpy as np
import pytest
import torch

from fecnet.evaluation.near_ties import LEAST_MOVE, class_ties, largest_move, near_triplets, triplet_ties
from fecnet.evaluation.triplet_accuracy import is_correct, triplet_accuracy
from fecnet.structures import opposite_distances


def unit(*shape, seed=0):
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(made, dim=-1)


def right(emb_T3D, odd_T):
    return is_correct(opposite_distances(emb_T3D), torch.from_numpy(odd_T)).numpy()


def worst(emb_T3D, odd_T, move):
    """Each face moved by ``move`` to where the lead of its triplet falls, and to where it rises, most."""
    emb_T3D = emb_T3D.double().requires_grad_()
    opposite_T3 = opposite_distances(emb_T3D)
    own_T1 = torch.from_numpy(odd_T)[:, None]
    others_T3 = opposite_T3.scatter(1, own_T1, torch.inf)
    lead_T = others_T3.amin(1) - opposite_T3.gather(1, own_T1)[:, 0]
    (slope_T3D,) = torch.autograd.grad(lead_T.sum(), emb_T3D)
    step_T3D = move * torch.nn.functional.normalize(slope_T3D, dim=2)
    return emb_T3D.detach() - step_T3D, emb_T3D.detach() + step_T3D


@pytest.mark.parametrize("move", [LEAST_MOVE, 1e-3, 1e-2])
def test_no_movement_changes_another_decision_and_most_near_ones_can_be_changed(move):
    rng = np.random.default_rng(0)
    emb_T3D, odd_T = unit(4000, 3, 4), rng.integers(0, 3, 4000)
    first_TD, second_TD, third_TD = emb_T3D[::2].unbind(1)  # of these the third is as far from the first as the second
    along_T1 = (first_TD * second_TD).sum(1, keepdim=True)
    beside_TD = torch.nn.functional.normalize(third_TD - (first_TD * third_TD).sum(1, keepdim=True) * first_TD, dim=1)
    emb_T3D[::2, 2] = along_T1 * first_TD + (1 - along_T1**2).sqrt() * beside_TD + 4 * move * unit(2000, 4, seed=2)
    near_T, _ = near_triplets(opposite_distances(emb_T3D), odd_T, 4, move)
    before_T = right(emb_T3D, odd_T)
    moved = [*worst(emb_T3D, odd_T, move), emb_T3D + move * unit(4000, 3, 4, seed=1)]
    changed_T = np.any([right(each, odd_T) != before_T for each in moved], axis=0)
    assert not (changed_T & ~near_T).any()
    assert 0.7 * near_T.sum() < changed_T.sum()
    assert 500 < near_T.sum() < 2500


def test_ties_by_hand_and_by_type():
    # on a line: 0, 1, 2 (the middle as near to both), 0.5 beside 1, and 9
    line = torch.tensor([[0.0], [1.0], [2.0], [0.5], [9.0]])
    faces = np.array([[0, 1, 2], [0, 1, 2], [3, 1, 4], [0, 1, 2]])
    odd, kind = np.array([2, 1, 2, 0]), np.array([0, 1, 1, 2])
    found = triplet_ties(opposite_distances(line[torch.from_numpy(faces)]), odd, kind, 1, 0.01)
    # in the second the annotators' pair is the farthest one: nothing of rounding makes it right
    assert found.to_dict() == {"near": 2, "exact": 2, "total": 4, "move": 0.01, "ONE": 1, "TWO": 0, "THREE": 1}
    assert found.text().startswith(
        "near ties: 2 of 4 triplets (ONE 1, TWO 0, THREE 1, exact 2): the counts may differ by up to"
    )
    assert triplet_accuracy(line, faces, odd, kind).right == (0, 1, 0)
    line[2] += 0.001  # right now, and less sure than 0.01 of movement
    found = triplet_ties(opposite_distances(line[torch.from_numpy(faces)]), odd, kind, 1, 0.01)
    assert (found.near, found.exact) == (2, 0)
    found = triplet_ties(opposite_distances(line[torch.from_numpy(faces)]), odd, kind, 1, 1e-5)
    assert found.text() == (
        "near ties: none of 4 triplets, so the counts are the same with other batch sizes, threads, processes or "
        "machines"
    )
    none = triplet_ties(torch.empty(0, 3), np.zeros(0, int), np.zeros(0, int), 16, 0.01)
    assert (none.near, none.total) == (0, 0)


@pytest.mark.parametrize("move", [LEAST_MOVE, 1e-3])
def test_no_movement_changes_the_class_of_another_face(move):
    logits_NK = 20 * unit(5000, 7)
    first_N2 = logits_NK.topk(2, dim=1).indices
    gap_N1 = 4 * move * 20 * torch.rand(5000, 1, generator=torch.Generator().manual_seed(1))
    logits_NK.scatter_(1, first_N2[:, 1:], logits_NK.gather(1, first_N2[:, :1]) - gap_N1)
    label_N = np.zeros(5000, int)
    label_N[::5] = -1
    away = torch.zeros_like(logits_NK).scatter(1, first_N2, torch.tensor([[-1.0, 1.0]]).expand(5000, 2)) / 2**0.5
    moved = logits_NK.double() + 0.999 * move * logits_NK.double().norm(dim=1, keepdim=True) * away
    changed = int((moved.argmax(1) != logits_NK.argmax(1))[label_N >= 0].sum())
    found = class_ties(logits_NK, label_N, move)
    assert 0.9 * found.near <= changed <= found.near < found.total == 4000
    assert found.by_type is None and f"{found.near:,} of 4,000 faces (exact " in found.text()


def test_what_rounding_may_move_is_measured_relative_to_the_length():
    one = torch.tensor([[3.0, 4.0], [0.0, 0.0], [100.0, 0.0]])
    assert largest_move(one, one) == LEAST_MOVE
    assert largest_move(one, one + torch.tensor([[0.0, 0.05], [0, 0], [0.5, 0]])) == pytest.approx(8 * 0.01, rel=1e-5)
