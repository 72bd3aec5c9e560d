"""Abilities from answers: by hand, few answers lean on the others, and settings that cannot be."""

import numpy as np
import pytest
import torch
from torch import nn

from fecnet.config.node import load_config
from fecnet.modeling.criterion.build import build_criterion, criteria_read
from fecnet.modeling.criterion.rater_choice import RaterChoiceCriterion
from fecnet.structures import Answers, Batch, Triplets, odd_faces, opposite_distances


def batch_of(answers, num=1, weight=1.0):
    """Triplets on three faces each with these answers (triplet, rater, choice)."""
    rows = torch.arange(3 * num)
    triplets = Triplets(
        rows.view(-1, 3),
        torch.zeros(num, dtype=torch.int64),
        torch.zeros(num, dtype=torch.int64),
        torch.full((num,), weight),
        torch.zeros(num, 3, dtype=torch.uint8),
        Answers(*torch.tensor(answers, dtype=torch.int64).reshape(-1, 3).T),
    )
    return Batch(torch.zeros(3 * num, 1, 1, 1), rows, rows, triplets)


SIDES = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])  # squared distances 3.2 (1, 2), 4 (0, 2), 0.8 (0, 1)


def test_one_step_by_hand():
    criterion = RaterChoiceCriterion([4, 1], scale=0.5)
    share = np.exp([-1.6, -2.0, -0.4]) / np.exp([-1.6, -2.0, -0.4]).sum()
    chance = [0.7 * share[2] + 0.1, 0.7 * share[1] + 0.1]
    batch = batch_of([(0, 0, 2), (0, 1, 1)], weight=2.0)
    assert criterion.count(batch)["rater_choice"] == 4
    total = criterion({"embedding": SIDES}, batch)["rater_choice"]
    assert float(total) == pytest.approx(-2 * np.log(chance).sum(), rel=1e-5)
    criterion.begin(2)
    # rater 0 has a quarter of his answers here, rater 1 all
    first, second = 0.7 + (0.7 * share[2] / chance[0] - 0.7) / 4, 0.7 * share[1] / chance[1]
    mean = (4 * first + second) / 5
    assert criterion.ability_R.tolist() == pytest.approx([(4 * first + 10 * mean) / 14, (second + 10 * mean) / 11])
    before = criterion.ability_R.clone()
    criterion.begin(3)  # nothing was seen
    assert torch.equal(criterion.ability_R, before)


def test_a_net_that_knows_nothing_tells_no_rater_from_another():
    criterion = RaterChoiceCriterion([1, 2])
    criterion({"embedding": torch.ones(6, 2) / 2**0.5}, batch_of([(0, 0, 0), (0, 1, 2), (1, 1, 1)], num=2))
    criterion.begin(2)
    assert criterion.ability_R.tolist() == pytest.approx([0.7, 0.7])


def test_abilities_rank_raters_as_their_errors_and_outvote_a_majority_of_guesses():
    """Points on a circle, true odd faces: a net's embedding learned from answers of which most are guesses."""
    rng = np.random.default_rng(0)
    num, faces = 600, 30
    angle = rng.uniform(0, 2 * np.pi, faces)
    truth_ND = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    face_T3 = np.array([rng.permutation(faces)[:3] for _ in range(num)])
    place = truth_ND[face_T3]
    odd_T = ((np.roll(place, -1, 1) - np.roll(place, -2, 1)) ** 2).sum(2).argmin(1)
    error_R = np.array([0.05, 0.15, 0.3, 0.55, 0.6, 0.66])
    answers = [
        (t, r, int((odd_T[t] + (rng.random() < error_R[r]) * rng.integers(1, 3)) % 3))
        for t in range(num)
        for r in rng.permutation(6)[:3]
    ]
    counts_R = np.bincount([r for _, r, _ in answers])
    torch.manual_seed(0)
    points, criterion = nn.Parameter(torch.randn(faces, 4)), RaterChoiceCriterion(counts_R.tolist())
    optimizer = torch.optim.Adam([points, *criterion.parameters()], lr=0.05)
    batch = batch_of(answers, num)
    for iteration in range(1, 151):
        criterion.begin(iteration)
        out = {"embedding": nn.functional.normalize(points, dim=1)[torch.from_numpy(face_T3.reshape(-1))]}
        loss = criterion(out, batch)["rater_choice"] / len(answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ability_R = criterion.ability_R.numpy()
    assert (np.argsort(-ability_R)[:3] == [0, 1, 2]).all() and ability_R[2] > ability_R[3:].max() + 0.1
    votes_T3 = np.zeros((num, 3))
    np.add.at(votes_T3, tuple(np.array(answers).T[[0, 2]]), 1)
    found_T = odd_faces(opposite_distances(out["embedding"].detach().view(num, 3, 4))).numpy()
    assert (found_T == odd_T).mean() > (votes_T3.argmax(axis=1) == odd_T).mean() + 0.1


def test_settings_that_cannot_be():
    cfg = load_config(None, ["LOSS.CRITERIA", "[rater_choice]"])
    assert criteria_read(cfg) == ("triplets", "answers")
    assert isinstance(build_criterion(cfg, answers=[3, 4]), RaterChoiceCriterion)
    with pytest.raises(ValueError, match=r"^LOSS\.CHOICE_SCALE: 200\.0; allowed"):
        build_criterion(load_config(None, ["LOSS.CRITERIA", "[rater_choice]", "LOSS.CHOICE_SCALE", "200"]), answers=[3])
    both = load_config(None, ["LOSS.CRITERIA", "[choice, rater_choice]", "LOSS.WEIGHTS", "[1, 1]"])
    with pytest.raises(ValueError, match=r"choice and rater_choice read the same answers; allowed: one of them$"):
        build_criterion(both, answers=[3, 4])
