"""Training on single answers against loops, on 1, 2 and 3 ranks with uneven shares and micro-batches, and resumed."""

import copy

import pytest
import torch

from fecnet.engine.stepper import Stepper
from fecnet.layers.choice import DEFAULT_SCALE
from fecnet.modeling.criterion.rater_choice import RaterChoiceCriterion
from fecnet.solver.gradient_rules import FiniteGuard
from fecnet.solver.schedules import Schedule, constant
from fecnet.utils import comm
from tests.distributed.ranks import run_ranks
from tests.distributed.test_criteria import SHARES, EveryOutput, cut, global_batch
from tests.modeling.naive_raters import ANSWERS_R, RATE, STEPS, naive_training, with_answers


def parts(sizes, first):
    """Micro-batches of these numbers of images from ``first`` on."""
    batch, found = global_batch(), []
    for size in sizes:
        found.append(with_answers(cut(batch, first, size), first // 3, size // 3))
        first += size
    return found


def stepper_of(scale=0.0):
    model, criterion = EveryOutput(), RaterChoiceCriterion(ANSWERS_R, scale)
    optimizer = torch.optim.SGD([*model.parameters(), *criterion.parameters()], lr=RATE)
    optimizer.param_groups[0]["base_lr"] = RATE
    return criterion, Stepper(
        model,
        criterion,
        optimizer,
        Schedule(constant()),
        rules=[],
        guard=FiniteGuard("cpu"),
        average=None,
        seed=0,
        precision=torch.float32,
        device=torch.device("cpu"),
    )


def train(batches, *, scale=0.0, interrupted=False):
    """Losses, abilities, scale and weights after some updates; perhaps with a new stepper for each, from the state."""
    criterion, stepper = stepper_of(scale)
    losses = []
    for iteration in range(1, STEPS + 1):
        if interrupted and iteration > 1:
            model, state = stepper.model.state_dict(), copy.deepcopy(stepper.state_dict())
            criterion, stepper = stepper_of(scale)
            stepper.model.load_state_dict(model)
            stepper.load_state_dict(state)
        stepper.step(batches, lambda batch, _: batch, iteration)
        losses.append(stepper.read_terms()["rater_choice"])
    criterion.begin(STEPS + 1)
    return losses, criterion.ability_R, float(criterion.scale), list(stepper.model.parameters())


def of_ranks():
    shares, size = SHARES[comm.world_size()], comm.world_size()
    first = sum(shares[: comm.rank()])
    found = {
        "whole": train(parts([shares[comm.rank()]], first)),
        "fixed": train(parts([shares[comm.rank()]], first), scale=5.0),
    }
    found["resumed"] = train(parts([shares[comm.rank()]], first), interrupted=True)
    if size == 2:  # as many collectives on each rank
        found["micro"] = train(parts([[3, 3], [6, 9]][comm.rank()], first))
    if size == 1:
        found["micro"] = train(parts([9, 3, 9], 0))
    return {name: (*values[:3], [value.detach() for value in values[3]]) for name, values in found.items()}


@pytest.fixture(scope="module")
def by_world_size():
    return {world_size: run_ranks(world_size, of_ranks) for world_size in SHARES}


@pytest.mark.parametrize("world_size", SHARES)
def test_losses_abilities_and_weights_are_those_of_the_loops(by_world_size, world_size):
    for name, given in (("whole", DEFAULT_SCALE), ("micro", DEFAULT_SCALE), ("fixed", 5.0)):
        model = EveryOutput().double()
        losses, ability, scale = naive_training(model, global_batch(), given, learns=name != "fixed")
        assert max(ability) - min(ability) > 0.01 and losses[-1] < losses[0]
        for rank in by_world_size[world_size]:
            if name not in rank:
                continue
            assert rank[name][0] == pytest.approx(losses, rel=1e-5)
            assert rank[name][1].tolist() == pytest.approx(ability, rel=1e-5)
            assert rank[name][2] == pytest.approx(scale, rel=1e-5)
            for one, other in zip(rank[name][3], model.parameters(), strict=True):
                torch.testing.assert_close(one, other.detach().float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("world_size", SHARES)
def test_all_ranks_hold_the_same_and_a_resumed_run_goes_on_bit_for_bit(by_world_size, world_size):
    first = by_world_size[world_size][0]["whole"]
    for rank in by_world_size[world_size]:
        for name in ("whole", "resumed"):
            assert rank[name][0] == first[0] and rank[name][2] == first[2]
            assert torch.equal(rank[name][1], first[1])
            assert all(torch.equal(one, other) for one, other in zip(rank[name][3], first[3], strict=True))
