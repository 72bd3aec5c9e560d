import copy

import pytest
import torch
from easydict import EasyDict
from torch import nn

from fecnet.solver.build import (
    build_ema,
    build_gradient_rules,
    build_optimizer,
    build_schedule,
    length_in_iterations,
)
from fecnet.solver.gradient_rules import FiniteGuard

NAMES = ["adam", "adamw", "sgd", "rmsprop", "nadam"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)  # before the backbone: membership, not order, decides
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4))


def settings(**changes):
    solver = dict(
        OPTIMIZER="adam",
        BASE_LR=0.1,
        WEIGHT_DECAY=0.01,
        MOMENTUM=0.9,
        DECAY_BIAS_NORM=False,
        BACKBONE_LR_FACTOR=0.1,
        SCHEDULE="multistep",
        UNIT="iteration",
        LENGTH=100.0,
        MILESTONES=[40.0, 80.0],
        BN_L1=0.0,
        STEP_SIZE=10.0,
        GAMMA=0.1,
        WARMUP=0.0,
        WARMUP_FACTOR=0.1,
        PLATEAU_PATIENCE=2,
        EMA_DECAY=0.0,
        CLIP_NORM=0.0,
        CLIP_VALUE=0.0,
    )
    return EasyDict(SOLVER=solver | changes)


def group_of(optimizer, parameter):
    return next(group for group in optimizer.param_groups if any(parameter is p for p in group["params"]))


@pytest.mark.parametrize("name", NAMES)
def test_groups_hold_their_rates_and_decays(name):
    net = Net()
    optimizer = build_optimizer(settings(OPTIMIZER=name), net)
    conv, norm = net.backbone
    for parameter, lr, decay in [
        (net.head.weight, 0.1, 0.01),
        (net.head.bias, 0.1, 0.0),
        (conv.weight, 0.01, 0.01),
        (norm.weight, 0.01, 0.0),
        (norm.bias, 0.01, 0.0),
    ]:
        group = group_of(optimizer, parameter)
        assert group["lr"] == group["base_lr"] == pytest.approx(lr)
        assert group["weight_decay"] == decay
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 5
    assert type(optimizer).__name__.lower() == name
    assert bool(optimizer.defaults.get("fused")) == (name in ("adam", "adamw", "sgd"))


def test_decay_on_everything_and_one_rate_make_one_decay():
    optimizer = build_optimizer(settings(DECAY_BIAS_NORM=True, BACKBONE_LR_FACTOR=1.0), Net())
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(0.1, 0.01)}


def test_frozen_parameters_are_left_out():
    net = Net()
    net.backbone.requires_grad_(False)
    optimizer = build_optimizer(settings(), net)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in net.head.parameters()}
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter"):
        build_optimizer(settings(), net)


def train(net, optimizer, num):
    torch.manual_seed(0)
    for _ in range(num):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()


def test_sgd_is_torchs_sgd():
    net = Net()
    twin = copy.deepcopy(net)
    ours = build_optimizer(settings(OPTIMIZER="sgd", DECAY_BIAS_NORM=True, BACKBONE_LR_FACTOR=1.0), net)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    train(net, ours, 3)
    train(twin, theirs, 3)
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_first_gradient_leaves_no_trace(name):
    # a checkpoint written after it must not hold NaN or uninitialised numbers
    net, guard = Net(), FiniteGuard("cpu")
    optimizer = build_optimizer(settings(OPTIMIZER=name), net)
    before = copy.deepcopy(net.state_dict())
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    guard.update(net.parameters(), 1)
    guard.step(optimizer)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())
    for state in optimizer.state_dict()["state"].values():
        assert all(not value.any() for value in state.values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("name", NAMES)
def test_optimizer_state_resumes_exactly(name):
    net = Net()
    optimizer = build_optimizer(settings(OPTIMIZER=name), net)
    train(net, optimizer, 2)
    twin = copy.deepcopy(net)
    resumed = build_optimizer(settings(OPTIMIZER=name), twin)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # as read from a file: no tensor in common
    train(net, optimizer, 2)
    train(twin, resumed, 2)
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(7.0, "iteration", 7), (0, "iteration", 0), (2, "epoch", 60), (0.1, "epoch", 3), (0.11, "epoch", 4)],
)
def test_lengths_by_hand(value, unit, expected):
    assert length_in_iterations(value, unit, 30) == expected


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        (1.5, "iteration", "KEY: 1.5; allowed: whole"),
        (-1.0, "epoch", "KEY: -1.0; allowed"),
        (float("nan"), "epoch", "KEY: nan"),
        (float("inf"), "iteration", "KEY: inf"),
        (1, "week", "SOLVER.UNIT: unknown name 'week'; allowed: .*epoch"),
    ],
)
def test_impossible_lengths_are_named(value, unit, message):
    with pytest.raises(ValueError, match=message):
        length_in_iterations(value, unit, 30, key="KEY")


@pytest.mark.parametrize(
    ("name", "iteration", "factor"),
    [
        ("constant", 1000, 1.0),
        ("multistep", 41, 0.1),
        ("multistep", 81, 0.01),
        ("step", 31, 1e-3),
        ("exponential", 6, 0.1**0.5),
        ("cosine", 51, 0.5),
        ("plateau", 99, 1.0),
    ],
)
def test_every_schedule_builds(name, iteration, factor):
    assert build_schedule(settings(SCHEDULE=name), 30).factor(iteration) == pytest.approx(factor)


def test_epochs_become_iterations_in_schedules():
    cfg = settings(UNIT="epoch", MILESTONES=[1.0, 1.5], WARMUP=0.1, WARMUP_FACTOR=0.4)
    schedule = build_schedule(cfg, 30)
    factors = [schedule.factor(i) for i in (1, 2, 3, 4, 30, 31, 45, 46)]
    assert factors == pytest.approx([0.4, 0.6, 0.8, 1, 1, 0.1, 0.1, 0.01])


def test_gradient_rules_come_in_a_fixed_order():
    assert build_gradient_rules(settings()) == []
    net = nn.Linear(2, 1, bias=False)
    net.weight.grad = torch.tensor([[30.0, 4.0]])
    for rule in build_gradient_rules(settings(CLIP_NORM=1.0, CLIP_VALUE=3.0)):
        rule(net)
    # value first: (3, 3), then norm; the other way round gives (0.99, 0.13)
    assert torch.allclose(net.weight.grad, torch.full((1, 2), 0.5**0.5), atol=1e-5)


def test_sparsity_comes_after_the_clipping():
    net = nn.Sequential(nn.BatchNorm1d(2))
    net[0].weight.grad, net[0].bias.grad = torch.tensor([30.0, 4.0]), torch.zeros(2)
    for rule in build_gradient_rules(settings(CLIP_NORM=1.0, CLIP_VALUE=3.0, BN_L1=2.0), ["0"]):
        rule(net)
    assert torch.allclose(net[0].weight.grad, torch.full((2,), 2 + 0.5**0.5), atol=1e-5)


def test_sparsity_needs_scales():
    with pytest.raises(ValueError, match=r"^SOLVER\.BN_L1: 0\.1; allowed: 0, since no batch norm"):
        build_gradient_rules(settings(BN_L1=0.1))


def test_ema_is_built_only_when_on():
    assert build_ema(settings(), Net()) is None
    assert build_ema(settings(EMA_DECAY=0.9), Net()) is not None


def build_all(cfg):
    build_optimizer(cfg, Net())
    build_schedule(cfg, 30)
    build_gradient_rules(cfg)
    build_ema(cfg, Net())


@pytest.mark.parametrize(
    ("key", "value", "changes"),
    [
        ("OPTIMIZER", "sdg", {}),
        ("SCHEDULE", "linear", {}),
        ("BASE_LR", -0.1, {}),
        ("BASE_LR", float("nan"), {}),
        ("WEIGHT_DECAY", -0.1, {}),
        ("MOMENTUM", 1.0, {}),
        ("BACKBONE_LR_FACTOR", -1.0, {}),
        ("MILESTONES", [80.0, 40.0], {}),
        ("MILESTONES", [40.0, 40.0], {}),
        ("MILESTONES", [0.0], {}),
        ("STEP_SIZE", 0.0, {"SCHEDULE": "step"}),
        ("STEP_SIZE", -1.0, {"SCHEDULE": "exponential"}),
        ("LENGTH", 0.0, {"SCHEDULE": "cosine"}),
        ("GAMMA", 0.0, {}),
        ("WARMUP", -1.0, {}),
        ("WARMUP_FACTOR", 2.0, {}),
        ("PLATEAU_PATIENCE", -1, {}),
        ("CLIP_NORM", -1.0, {}),
        ("CLIP_VALUE", -1.0, {}),
        ("BN_L1", -1.0, {}),
        ("BN_L1", float("inf"), {}),
        ("EMA_DECAY", 1.0, {}),
    ],
)
def test_impossible_settings_are_named(key, value, changes):
    build_all(settings(**changes))
    with pytest.raises(ValueError, match=rf"SOLVER\.{key}: .*allowed") as error:
        build_all(settings(**changes | {key: value}))
    assert str(value) in str(error.value)


def test_a_backbone_rate_needs_a_backbone():
    with pytest.raises(ValueError, match=r"SOLVER\.BACKBONE_LR_FACTOR: 0\.1"):
        build_optimizer(settings(), nn.Linear(2, 2))
    build_optimizer(settings(BACKBONE_LR_FACTOR=1.0), nn.Linear(2, 2))
