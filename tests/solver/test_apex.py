"""Optimizers of NVIDIA apex: taken where they are, refused with torch's equivalent where they are not.

The packages are stand-ins with the signatures of NVIDIA's: ``zero_grad()`` takes no argument, the constructor raises
RuntimeError where the GPU part was not built.
"""

import math
import sys

import pytest
import torch
from torch import nn

from fecnet.solver.build import build_optimizer
from fecnet.solver.gradient_rules import FiniteGuard
from tests.solver.test_solver_build import Net, settings

NVIDIA = """
import torch

class FusedAdam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, adam_w_mode=True, weight_decay=0.0,
                 set_grad_none=True):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))
        self.adam_w_mode = adam_w_mode

    def zero_grad(self):
        super().zero_grad()

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter -= group["lr"] * parameter.grad

class FusedLAMB(FusedAdam):
    def __init__(self, params, lr=1e-3, eps=1e-6, adam_w_mode=True, weight_decay=0.01, max_grad_norm=1.0):
        super().__init__(params, lr=lr, eps=eps, adam_w_mode=adam_w_mode, weight_decay=weight_decay)
        self.defaults["max_grad_norm"] = max_grad_norm
"""
WITHOUT_GPU_PART = """
class FusedAdam:
    def __init__(self, *args, **options):
        raise RuntimeError("apex.optimizers.FusedAdam requires cuda extensions")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a package ``apex`` importable."""

    def write(**modules):
        (tmp_path / "apex").mkdir()
        for name, text in {"__init__": "", **modules}.items():
            (tmp_path / "apex" / f"{name}.py").write_text(text)

    for name in ("apex", "apex.optimizers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in ("apex", "apex.optimizers"):
        sys.modules.pop(name, None)


class OnGPU(nn.Parameter):
    """A parameter that passes for one on a GPU."""

    is_cuda = True


def net_on_gpu():
    net = Net()
    net.head.weight = OnGPU(net.head.weight.detach())  # the first parameter, which is the one looked at
    return net


def test_fused_adam_is_adam_with_the_groups_of_the_settings(install):
    install(optimizers=NVIDIA)
    optimizer = build_optimizer(settings(OPTIMIZER="fused_adam"), net_on_gpu())
    assert type(optimizer).__module__ == "apex.optimizers"
    assert optimizer.adam_w_mode is False  # weight decay as adam has it
    assert sorted(group["base_lr"] for group in optimizer.param_groups) == pytest.approx([0.01, 0.01, 0.1, 0.1])


def test_fused_lamb_clips_nothing_by_itself(install):
    install(optimizers=NVIDIA)
    optimizer = build_optimizer(settings(OPTIMIZER="fused_lamb"), net_on_gpu())
    assert type(optimizer).__name__ == "FusedLAMB"
    assert optimizer.defaults["max_grad_norm"] == math.inf


@pytest.mark.parametrize("name", ["fused_adam", "fused_lamb"])
def test_the_finite_guard_blocks_them(install, name):
    install(optimizers=NVIDIA)
    net, guard = net_on_gpu(), FiniteGuard("cpu")
    optimizer = build_optimizer(settings(OPTIMIZER=name), net)

    def update(value, iteration):
        optimizer.zero_grad()
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, value)
        guard.update(net.parameters(), iteration)
        guard.step(optimizer)
        return [parameter.detach().clone() for parameter in net.parameters()]

    before = [parameter.detach().clone() for parameter in net.parameters()]
    good = update(1.0, 1)
    assert not any(torch.equal(one, other) for one, other in zip(before, good, strict=True))
    for value, iteration in ((math.nan, 2), (1.0, 3)):
        assert all(torch.equal(one, other) for one, other in zip(good, update(value, iteration), strict=True))
    assert guard.first_bad() == 2


INSTEAD = {"fused_adam": "use 'adam', which torch fuses itself", "fused_lamb": "torch has no LAMB; use 'adamw'"}


@pytest.mark.parametrize("name", list(INSTEAD))
@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({}, "installed here is another one"),  # the web toolkit: no module optimizers
        ({"optimizers": "class SGD: pass"}, "installed here is another one"),
        ({"optimizers": NVIDIA}, "runs on GPUs only, and the net is on 'cpu'"),
    ],
)
def test_refused_with_what_torch_offers(install, name, modules, said):
    install(**modules)
    with pytest.raises(ValueError, match=rf"^SOLVER\.OPTIMIZER: Fused.* {said}.*; {INSTEAD[name]}"):
        build_optimizer(settings(OPTIMIZER=name), Net())


@pytest.mark.parametrize("name", list(INSTEAD))
def test_refused_where_there_is_no_apex(monkeypatch, name):
    monkeypatch.setattr("fecnet.solver.apex.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"NVIDIA apex, which is not installed here .*; {INSTEAD[name]}"):
        build_optimizer(settings(OPTIMIZER=name), Net())


def test_refused_where_the_gpu_part_was_not_built(install):
    install(optimizers=WITHOUT_GPU_PART)
    with pytest.raises(ValueError, match=r"built without its GPU part here .*requires cuda extensions"):
        build_optimizer(settings(OPTIMIZER="fused_adam"), net_on_gpu())
