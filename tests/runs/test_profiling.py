"""A profile: each phase counted where it happens, and what is printed follows from what was measured."""

import json
import re
import time

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from fecnet.cli.main import main
from fecnet.config.node import load_config
from fecnet.engine.stepper import PHASES
from fecnet.modeling.build import build_model
from fecnet.modeling.cost import count_activations
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.runs.profiling import phase_times
from tests.conftest import ROOT

SMALL = ("SOLVER.BATCH_SIZE", "6", "MODEL.WIDTH_MULT", "0.125", "DEVICE", "cpu", "SOLVER.PRECISION", "fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "faces"
    prepare_synthetic(path, num_train_identities=12, num_train_triplets=60, progress=False)
    return path


def test_phases_are_those_that_were_marked():
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(2):
            with record_function("forward"):
                time.sleep(0.02)
            with record_function("backward"):
                time.sleep(0.01)
                torch.ones(3).sum()
            with record_function("something else"):
                time.sleep(0.005)
    spent = phase_times(recorded.events(), total_ms=90.0, iterations=2)
    assert list(spent) == [*PHASES, "rest"]
    assert 20 <= spent["forward"] < 40 and 10 <= spent["backward"] < 30  # per iteration
    assert spent["data"] == spent["step"] == 0
    assert sum(spent.values()) == pytest.approx(45.0)


def test_a_recipe_is_profiled_and_nothing_of_it_is_kept(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trace, figures = tmp_path / "trace.json", tmp_path / "figures.json"
    command = ["profile", str(ROOT / "config" / "demo.yaml"), "DATA.PATH", str(data), *SMALL]
    assert main([*command, "--iterations", "2", "--trace", str(trace), "--json", str(figures)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json", "figures.json"}
    found, told = json.loads(figures.read_text()), capsys.readouterr().out
    assert 12 < found["faces"] <= 18 and found["iterations"] == 2
    phases = found["phases_ms"]
    assert min(phases[name] for name in PHASES if name != "reduce") > 0
    assert phases["rest"] > 0
    assert 0 < found["mfu"] < 1.5 and found["mfu"] == found["flops_per_s"] / found["ceiling_flops_per_s"]
    assert found["mbu"] == found["bytes_per_s"] / found["ceiling_bytes_per_s"] > 0
    cfg = load_config(ROOT / "config" / "demo.yaml", [*SMALL])
    numbers = count_activations(build_model(cfg, 3), torch.zeros(1, 3, cfg.DATA.INPUT_SIZE, cfg.DATA.INPUT_SIZE))
    assert found["bytes"] == pytest.approx(4 * 3 * numbers * found["faces"])  # float32; thrice the forward pass
    assert found["bytes_per_s"] == pytest.approx(1000 * found["bytes"] / found["iteration_ms"])
    assert found["flops_per_s"] == pytest.approx(1000 * found["flops"] / found["iteration_ms"])
    assert any("convolution" in op["name"] for op in found["operations"]) and "convolution" in told
    events = json.loads(trace.read_text())["traceEvents"]
    assert {event.get("name") for event in events} >= set(PHASES)
    assert sum(event.get("name") == "backward" for event in events) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--iterations", "0"], "--iterations 0; allowed: 1 or more"),
        (["--trace", "gone/trace.json", "--iterations", "1"], "--trace gone/trace.json: no folder gone"),
    ],
)
def test_mistakes_are_one_line(data, tmp_path, monkeypatch, capsys, more, said):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", str(ROOT / "config" / "demo.yaml"), "DATA.PATH", str(data), *SMALL, *more]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_the_commands_of_the_page_run(data, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "speed.md").read_text()
    commands = re.search(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1].splitlines()
    monkeypatch.chdir(tmp_path)
    for command in commands:
        words = command.replace(" SOLVER.COMPILE true", "").split()  # compiling takes half a minute
        words[2:3] = [str(ROOT / words[2]), "DATA.PATH", str(data), *SMALL]
        assert main([*words[1:], "--iterations", "1"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json.gz", "profile.json"}
