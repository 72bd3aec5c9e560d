"""The choice probabilities and their criterion against hand arithmetic, and the limits of the scale."""

import math

import pytest
import torch

from fecnet.layers.choice import SCALE_LIMITS, choice_log_probabilities, vote_shares
from fecnet.modeling.criterion.choice import ChoiceCriterion, find_choice
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.modeling.criterion.weighted import WeightedCriteria
from fecnet.structures import Batch, Triplets, opposite_distances
from fecnet.utils.errors import ConfigError


def test_probabilities_by_hand():
    # faces on a line: 0, 1, 3; opposite distances 4, 9, 1
    opposite_B3 = opposite_distances(torch.tensor([[[0.0], [1.0], [3.0]]]))
    powers = [math.exp(-0.5 * distance) for distance in (4, 9, 1)]
    for lapse_rate in (0.0, 0.2):
        mixed = [(1 - lapse_rate) * power / sum(powers) + lapse_rate / 3 for power in powers]
        found_B3 = choice_log_probabilities(opposite_B3, 0.5, lapse_rate=lapse_rate)
        torch.testing.assert_close(found_B3, torch.tensor([mixed]).log())
    assert torch.equal(
        choice_log_probabilities(opposite_B3), choice_log_probabilities(opposite_B3, 4.0, lapse_rate=0.05)
    )
    # no overflow at the largest distances and scale
    assert choice_log_probabilities(torch.tensor([[0.0, 4.0, 4.0]]), SCALE_LIMITS[1]).isfinite().all()


def test_shares_are_of_the_votes_else_of_the_odd_face():
    votes_B3 = torch.tensor([[1, 2, 3], [0, 0, 0], [0, 255, 0]], dtype=torch.uint8)
    found = vote_shares(votes_B3, torch.tensor([2, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[1 / 6, 2 / 6, 3 / 6], [1.0, 0, 0], [0, 1.0, 0]]))


def test_gradcheck():
    emb = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, s: choice_log_probabilities(opposite_distances(x), s), (emb, scale))


def batch_of(opposite, votes, odd):
    """One triplet of faces with these distances of the pairs (1, 2), (0, 2) and (0, 1), on a line."""
    rows = torch.arange(3)
    votes_B3 = torch.tensor([votes], dtype=torch.uint8)
    triplets = Triplets(rows[None], torch.tensor([odd]), torch.tensor([0]), torch.tensor([2.0]), votes_B3)
    return {"embedding": torch.tensor(opposite)[:, None]}, Batch(torch.zeros(3, 1, 4, 4), rows, rows, triplets)


@pytest.mark.parametrize(("votes", "odd"), [((0, 0, 0), 1), ((3, 1, 4), 2)])
def test_the_loss_by_hand(votes, odd):
    out, batch = batch_of([0.0, 1.0, 3.0], votes, odd)
    powers = [math.exp(-0.25 * distance) for distance in (4, 9, 1)]
    shares = [number / 8 for number in votes] if any(votes) else [0, 1, 0]
    chances = [0.95 * power / sum(powers) + 0.05 / 3 for power in powers]
    loss = -sum(share * math.log(chance) for share, chance in zip(shares, chances, strict=True))
    criterion = ChoiceCriterion(scale=0.25)
    assert criterion(out, batch)["choice"].item() == pytest.approx(2 * loss, rel=1e-6)
    assert criterion.count(batch)["choice"].item() == 2
    assert not list(criterion.parameters())


@pytest.mark.parametrize(("odd", "limit"), [(2, 1), (1, 0)])
def test_a_scale_that_runs_away_is_held_at_its_limit(odd, limit):
    # the closest pair is opposite face 2: all raters agree with the net, or none does
    out, batch = batch_of([0.0, 1.0, 3.0], (0, 0, 0), odd)
    criterion = ChoiceCriterion()
    optimizer = torch.optim.SGD(criterion.parameters(), lr=50.0)
    with torch.no_grad():
        criterion.log_scale.fill_(math.log(SCALE_LIMITS[limit]))
    for iteration in range(1, 4):
        criterion.begin(iteration)
        optimizer.zero_grad()
        criterion({"embedding": 0.1 * out["embedding"]}, batch)["choice"].backward()
        optimizer.step()
        assert SCALE_LIMITS[0] <= criterion.scale.item() <= SCALE_LIMITS[1]
    criterion.begin(4)
    assert criterion.log_scale.exp().item() == pytest.approx(SCALE_LIMITS[limit])


@pytest.mark.parametrize("scale", [-1.0, 0.01, 1000.0, math.nan])
def test_a_fixed_scale_outside_the_limits_is_refused(scale):
    with pytest.raises(ConfigError, match=r"^LOSS.CHOICE_SCALE: .*; allowed: 0.1..100, or 0 = learned$"):
        ChoiceCriterion(scale=scale)


def test_the_choice_criterion_is_found_among_others():
    choice = ChoiceCriterion()
    assert find_choice(choice) is choice
    assert find_choice(WeightedCriteria([(TripletCriterion((0.1, 0.2, 0.3)), 1.0), (choice, 2.0)])) is choice
    assert find_choice(TripletCriterion((0.1, 0.2, 0.3))) is None
