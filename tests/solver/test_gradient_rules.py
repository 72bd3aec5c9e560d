import copy
import math

import pytest
import torch
from torch import nn

from fecnet.solver.gradient_rules import FiniteGuard, clip_norm, clip_value, l1_on_scales

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.01, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True),
    "adam-foreach": lambda p: torch.optim.Adam(p, lr=0.1, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, foreach=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.1, foreach=True),
}


def model_with_gradients(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    set_gradients(model, seed)
    return model


def set_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bad_gradient_changes_no_bit_from_then_on(name, bad):
    model, guard = model_with_gradients(), FiniteGuard("cpu")
    optimizer = OPTIMIZERS[name](model.parameters())
    for iteration in (1, 2):
        set_gradients(model, iteration)
        guard.update(model.parameters(), iteration)
        before = copy.deepcopy(model.state_dict())
        guard.step(optimizer)
        assert not equal(before, model.state_dict())
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    for iteration in (3, 4, 5):
        set_gradients(model, iteration)
        if iteration != 4:  # sticky: the good gradient of iteration 4 is blocked too
            model[2].bias.grad[1] = bad
        guard.update(model.parameters(), iteration)
        guard.step(optimizer)
    assert equal(weights, model.state_dict())
    assert equal(state, optimizer.state_dict())
    assert guard.first_bad() == 3


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_guard_does_not_change_good_updates(name):
    guarded, plain, guard = model_with_gradients(), model_with_gradients(), FiniteGuard("cpu")
    one, other = OPTIMIZERS[name](guarded.parameters()), OPTIMIZERS[name](plain.parameters())
    for iteration in (1, 2, 3):
        set_gradients(guarded, iteration)
        set_gradients(plain, iteration)
        guard.update(guarded.parameters(), iteration)
        guard.step(one)
        other.step()
    assert equal(guarded.state_dict(), plain.state_dict())
    assert equal(one.state_dict(), other.state_dict())
    assert guard.first_bad() == 0


@pytest.mark.parametrize(("magnitude", "first_bad"), [(1e18, 0), (1e30, 1)])
def test_magnitudes_whose_squares_overflow_count_as_not_finite(magnitude: float, first_bad: int) -> None:
    model, guard = model_with_gradients(), FiniteGuard("cpu")
    for parameter in model.parameters():
        parameter.grad.fill_(magnitude)
    guard.update(model.parameters(), 1)
    assert guard.first_bad() == first_bad


def test_the_guard_takes_a_norm_and_parameters_without_gradient():
    guard = FiniteGuard("cpu")
    guard.update([nn.Parameter(torch.zeros(2))], 1)
    guard.update(torch.tensor(3.0), 2)
    assert guard.first_bad() == 0 and guard.found_inf.item() == 0
    guard.update(torch.tensor(math.inf), 3)
    guard.update(torch.tensor(math.nan), 4)
    assert guard.first_bad() == 3 and guard.found_inf.item() == 1


def test_guard_reads_nothing_back():
    # the meta device has no values: any read-back raises
    model = nn.Linear(3, 2, device="meta")
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    guard = FiniteGuard("meta")
    guard.update(model.parameters(), 1)


def test_clip_norm_by_hand():
    model = nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[2.0, 1.0]]), torch.tensor([2.0])
    clip_norm(1.5)(model)  # the norm was 3
    assert torch.allclose(model.weight.grad, torch.tensor([[1.0, 0.5]]), atol=1e-5)
    assert torch.allclose(model.bias.grad, torch.tensor([1.0]), atol=1e-5)
    clip_norm(10.0)(model)
    assert torch.allclose(model.bias.grad, torch.tensor([1.0]), atol=1e-5)


def test_clip_value_by_hand():
    model = nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[2.0, -3.0]]), torch.tensor([0.5])
    clip_value(1.0)(model)
    assert model.weight.grad.tolist() == [[1.0, -1.0]] and model.bias.grad.tolist() == [0.5]


def test_l1_on_scales_is_the_gradient_of_the_penalty():
    ruled, penalised = (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)) for _ in range(2))
    for norm in (ruled[1], ruled[2]):
        norm.weight.data = torch.tensor([-0.5, 0.0, 2.0, -1e-8])
    penalised.load_state_dict(ruled.state_dict())
    x_N5 = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    ruled(x_N5).square().sum().backward()
    l1_on_scales(0.3, ["1"])(ruled)
    (penalised(x_N5).square().sum() + 0.3 * penalised[1].weight.abs().sum()).backward()
    for one, other in zip(ruled.parameters(), penalised.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_l1_leaves_scales_without_gradient_alone():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    model[1].weight.grad = torch.zeros(2)
    l1_on_scales(0.5, ["0", "1"])(model)
    assert model[0].weight.grad is None and model[1].weight.grad.tolist() == [0.5, 0.5]
