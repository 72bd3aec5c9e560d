"""The L1 gradient on scales counts once: on any number of ranks, with micro-batches, and behind a loss scale."""

import pytest
import torch

from fecnet.data.packed import PackedDataset
from fecnet.engine.stepper import Stepper
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.solver.gradient_rules import FiniteGuard, clip_norm, l1_on_scales
from fecnet.solver.schedules import Schedule, constant
from tests.distributed.ranks import run_ranks
from tests.distributed.test_one_equals_many import CPU, ConvNet, loader_of, settings, shared_augment

STRENGTH, RATE = 0.25, 0.5
SCALES = torch.tensor([1.0, -1.0, 0.5, -0.5, 0.0, 2.0, -2.0, 0.1])
CASES = [(accumulate, scaled) for accumulate in (1, 2) for scaled in (False, True)]


def one_update(path, strength, accumulate, scaled):
    """The scales after one update; ``scaled`` by a loss scale as in fp16, of which rules must see nothing."""
    model = ConvNet("frozen")
    model.norm.weight.data = SCALES.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    optimizer.param_groups[0]["base_lr"] = RATE
    step = Stepper(
        model,
        TripletCriterion((0.1, 0.2, 0.3)),
        optimizer,
        Schedule(constant()),
        rules=[clip_norm(0.05), *([l1_on_scales(strength, ["norm"])] if strength else [])],
        guard=FiniteGuard("cpu"),
        average=None,
        seed=0,
        precision=torch.float32,
        device=CPU,
    )
    if scaled:
        step._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    cfg = settings(path, "SOLVER.GRAD_ACCUM_STEPS", accumulate)
    for iteration, batches in loader_of(cfg, PackedDataset(path))(1, 1):
        step.step(batches, shared_augment(path), iteration)
    step.check_finite()
    return model.norm.weight.detach()


def all_cases(path):
    return [one_update(path, STRENGTH, *case) for case in CASES]


@pytest.mark.parametrize("world_size", [1, 2])
def test_sparsity_counts_once(tiny, world_size):
    ranks = run_ranks(world_size, all_cases, tiny)
    plain = one_update(tiny, 0, 1, False)  # one process, one micro-batch
    assert (plain - SCALES).abs().max() > 1e-5
    expected = plain - RATE * STRENGTH * SCALES.sign()
    for found in ranks:
        for scales, first in zip(found, ranks[0], strict=True):
            torch.testing.assert_close(scales, expected, rtol=1e-5, atol=1e-6)
            assert torch.equal(scales, first)
