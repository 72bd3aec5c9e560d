import copy

import torch
from torch import nn

from fecnet.solver.ema import EMA


def test_average_by_hand():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 8.0)
    ema = EMA(model, 0.75)
    for value, expected in ((0.0, 6.0), (4.0, 5.5), (5.5, 5.5)):
        nn.init.constant_(model.weight, value)
        ema.update(model, 100)
        assert ema.model.weight.item() == expected
        assert model.weight.item() == value


def test_the_first_updates_forget_the_initial_weights():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 8.0)
    ema = EMA(model, 0.5)
    for iteration, value, expected in ((1, 0.0, 0.8), (2, 1.1, 0.8 * 2 / 11 + 1.1 * 9 / 11), (9, 0.0, None)):
        nn.init.constant_(model.weight, value)
        before = ema.model.weight.item()
        ema.update(model, iteration)
        assert abs(ema.model.weight.item() - (before / 2 if expected is None else expected)) < 1e-6


def test_statistics_are_averaged_and_counters_copied():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, 0.5)
    for _ in range(3):
        model(torch.randn(4, 2) + 10)
    ema.update(model, 100)
    assert torch.allclose(ema.model.running_mean, model.running_mean / 2)
    assert ema.model.num_batches_tracked.item() == 3 and ema.model.num_batches_tracked.dtype == torch.int64


def test_state_has_the_models_names_and_resumes_exactly():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = EMA(model, 0.9)
    states = []
    for _ in range(4):
        nn.init.normal_(model[0].weight)
        states.append(copy.deepcopy(model.state_dict()))
    resumed = EMA(model, 0.9)
    for i, state in enumerate(states):
        model.load_state_dict(state)
        ema.update(model, i + 1)
        if i == 1:
            resumed.model.load_state_dict(ema.model.state_dict())
        if i > 1:
            resumed.update(model, i + 1)
    assert list(ema.model.state_dict()) == list(model.state_dict())
    for name, value in ema.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


def test_average_takes_no_gradient_and_stays_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).train()
    ema = EMA(model, 0.9)
    ema.update(model, 1)
    assert not ema.model.training and model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
