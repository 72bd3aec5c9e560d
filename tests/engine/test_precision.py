"""``auto`` takes what is fast here, says so, and keeps to it when a run goes on."""

import pytest
import torch

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.runs.training import train_run
from fecnet.utils import env
from fecnet.utils.env import bf16_speed, choose_precision
from tests.classes import write_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize(("speed", "chosen"), [(0.3, torch.float32), (1.1, torch.float32), (2.0, torch.bfloat16)])
def test_auto_takes_what_is_fast(monkeypatch, speed, chosen):
    monkeypatch.setattr(env, "bf16_speed", lambda: speed)
    assert choose_precision("auto", CPU) == chosen
    assert choose_precision("fp32", CPU) == torch.float32 and choose_precision("bf16", CPU) == torch.bfloat16


def test_it_is_measured_once_and_leaves_the_random_numbers_alone():
    bf16_speed.cache_clear()
    state = torch.get_rng_state()
    assert bf16_speed() == bf16_speed() > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_that_goes_on_keeps_its_precision(monkeypatch, tmp_path, capsys):
    recipe = write_recipe(tmp_path, "classifier")
    cfg = ["SOLVER.PRECISION", "auto", "SOLVER.SCHEDULE", "constant", "NAME", "run", "SOLVER.LENGTH"]
    monkeypatch.setattr(env, "bf16_speed", lambda: 5.0)
    assert train_run(load_config(recipe, [*cfg, "2"]), recipe="run") == 0
    assert "cpu, bfloat16 (here bf16 multiplies matrices" in capsys.readouterr().out
    monkeypatch.setattr(env, "bf16_speed", lambda: 0.5)
    run = tmp_path / "result" / "run"
    assert train_run(load_config(recipe, [*cfg, "4"]), recipe="run", resume=str(run)) == 0
    info = load_info(find_checkpoint(run, "last"))
    assert info.iteration == 4 and info.provenance.precision == "bfloat16"
