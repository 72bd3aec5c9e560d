"""Between two log points nothing is read back from the device: a GPU is never waited for."""

from contextlib import nullcontext

import pytest
import torch

from fecnet.config.node import load_config
from fecnet.runs.tasks import find_task
from fecnet.runs.training import build_trainer, open_dataset
from fecnet.solver.gradient_rules import FiniteGuard
from tests.classes import KINDS, write_recipe

META = torch.device("meta")  # its tensors have shapes but no values: whoever looks at one fails
SETTINGS = ("SOLVER.GRAD_ACCUM_STEPS", "2", "SOLVER.EMA_DECAY", "0.9", "SOLVER.BN_L1", "1e-4")
OF_KIND = {
    "classifier": ("LOSS.OHEM_RATIO", "0.7"),
    "deviation": ("SOLVER.BN_L1", "0.0"),  # its channels cannot be pruned
    "scn": ("LOSS.SCN_RELABEL_AFTER", "1"),
    "ran": ("LOSS.SCN_RELABEL_AFTER", "1"),
    "wasserstein": ("LOSS.WASSERSTEIN_COST", "learned"),
}


def trainer_of(folder, kind, device, *overrides):
    cfg = load_config(write_recipe(folder, kind), [*SETTINGS, *OF_KIND.get(kind, ()), *overrides])
    dataset = open_dataset(cfg)
    return build_trainer(cfg, dataset, find_task(cfg, dataset), device, None)


@pytest.mark.parametrize("kind", KINDS)
def test_updates_need_no_value_from_the_device(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta
    # fused optimizers, which a GPU has and meta has not, are told of a bad gradient on the device
    monkeypatch.setattr(FiniteGuard, "step", lambda self, optimizer: optimizer.step())
    trainer = trainer_of(tmp_path, kind, META)
    assert list(trainer.updates(1, 3)) == [1, 2, 3]
    with pytest.raises(NotImplementedError, match="meta"):  # as a log point does: the device is indeed one
        trainer.stepper.read_terms()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("resident", ["always", "never"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_is_not_waited_for(tmp_path, kind, resident):
    trainer = trainer_of(tmp_path, kind, torch.device("cuda", 0), "DATA.CACHE_ON_DEVICE", resident)
    updates = trainer.updates(1, 6)
    assert [next(updates), next(updates)] == [1, 2]  # the first ones ask for memory
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert list(updates) == [3, 4, 5, 6]
    finally:
        torch.cuda.set_sync_debug_mode("default")
