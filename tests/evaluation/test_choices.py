"""Log-likelihood, calibration and the best scale of choice probabilities, against loops and a grid."""

import math

import numpy as np
import pytest
import torch

from fecnet.evaluation.choices import CHANCE, choice_fit, fit_scale, format_choices
from fecnet.layers.choice import LAPSE_RATE, SCALE_LIMITS, choice_log_probabilities


def raters(num_triplets, scale, num_raters, seed=0):
    """Distances of triplets, and votes of raters who choose by a scale of their own; the odd face is the majority's."""
    rng = np.random.default_rng(seed)
    opposite = torch.from_numpy(rng.uniform(0, 3, (num_triplets, 3)))
    chance = choice_log_probabilities(opposite, scale).exp().numpy()
    votes = np.stack([rng.multinomial(num_raters, row) for row in chance]).astype(np.uint8)
    return opposite, votes.argmax(1), votes


def likelihood(opposite, odd, votes, scale):
    total = 0.0
    for distances, face, counts in zip(opposite.tolist(), odd.tolist(), votes.tolist(), strict=True):
        counts = counts if any(counts) else [float(k == face) for k in range(3)]
        powers = [math.exp(-scale * distance) for distance in distances]
        for count, power in zip(counts, powers, strict=True):
            total += count / sum(counts) * math.log((1 - LAPSE_RATE) * power / sum(powers) + LAPSE_RATE / 3)
    return total / len(odd)


def test_the_log_likelihood_is_that_of_the_loop_and_the_best_scale_that_of_a_grid():
    opposite, odd, votes = raters(80, 2.5, 6)
    votes[::9] = 0  # only the odd face is known
    found = choice_fit(opposite.float(), odd, votes, 1.25)
    assert found.log_likelihood == pytest.approx(likelihood(opposite, odd, votes, 1.25), rel=1e-6)
    grid = np.exp(np.linspace(*np.log(SCALE_LIMITS), 500))
    by_grid = [likelihood(opposite, odd, votes, scale) for scale in grid]
    assert found.best_scale == pytest.approx(grid[int(np.argmax(by_grid))], rel=0.015)
    assert found.best_log_likelihood >= max(by_grid) > found.log_likelihood
    assert (found.triplets, found.voted) == (80, 71)


def test_raters_who_choose_by_the_probabilities_are_calibrated_and_others_are_not():
    opposite, odd, votes = raters(4000, 2.5, 6)
    true, sure = (choice_fit(opposite, odd, votes, scale).calibration for scale in (2.5, 8.0))
    assert true.ece() < 2 < 10 < sure.ece()
    assert sure.confidence() > sure.accuracy() + 10
    assert true.count_B.sum() == 4000


def test_calibration_by_hand():
    # two triplets, face 2 of each called with p = 8/10, and guesses: 4 of 6 raters agree; the odd face is another one
    opposite = torch.tensor([[math.log(8), math.log(8), 0.0]]).expand(2, 3)
    found = choice_fit(opposite, np.array([2, 0]), np.array([[1, 1, 4], [0, 0, 0]], np.uint8), 1.0)
    chance = 0.95 * 0.8 + 0.05 / 3
    assert found.calibration.confidence() == pytest.approx(100 * chance)
    assert found.calibration.accuracy() == pytest.approx(100 * (4 / 6 + 0) / 2)
    assert found.calibration.ece() == pytest.approx(100 * chance - 100 / 3)
    assert "raters who agree 33.3: overconfident" in format_choices(found, "the default")


@pytest.mark.parametrize(("odd", "limit"), [(2, 1), (0, 0)])
def test_choices_without_doubt_or_against_the_net_fit_a_limit(odd, limit):
    share = torch.zeros(1, 3, dtype=torch.float64)
    share[0, odd] = 1
    opposite = torch.tensor([[1.0, 0.5, 0.1]], dtype=torch.float64)
    assert fit_scale(opposite, share) == pytest.approx(SCALE_LIMITS[limit])


def test_what_the_choices_are_compared_with_is_said():
    opposite, odd, votes = raters(20, 2.5, 6)
    assert "choices against the raters' vote shares: log-" in format_choices(choice_fit(opposite, odd, votes, 3.0), "")
    votes[:4] = 0
    text = format_choices(choice_fit(opposite, odd, votes, 3.0), "the net's")
    assert "vote shares, and the odd faces of 4 triplets without votes: log-likelihood -" in text
    assert f"(chance {CHANCE:.3f}) with the net's scale 3; best on this split: -" in text
    votes[:] = 0
    text = format_choices(choice_fit(opposite, odd, votes, 3.0), "the default")
    assert "choices against the odd faces, since there are no votes: " in text
    assert "accuracy" in text and "raters who agree" not in text


def test_no_triplet_has_no_likelihood():
    found = choice_fit(torch.zeros(0, 3), np.zeros(0, int), np.zeros((0, 3), np.uint8), 3.0)
    assert found.log_likelihood is None and found.best_scale is None
    assert format_choices(found, "") == "choice probabilities: no triplet"
    assert found.to_dict()["calibration"]["ece"] is None
