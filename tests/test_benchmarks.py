"""Benchmarks that a machine without a GPU cannot measure say so and write nothing."""

import sys

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import ckplus, gpu, record


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_no_gpu_no_numbers(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    command.main()
    assert capsys.readouterr().out == "== gpu\nno GPU here: not measured\n"
    assert not list(tmp_path.iterdir())


def test_the_bare_step_of_the_gpu_benchmark_runs_here(tmp_path):
    gpu.write_random_faces(tmp_path / "random", size=32, num_faces=20, num_triplets=30)
    plan = gpu._quick_plan(gpus=0)
    common = ["DATA.PATH", str(tmp_path / "random"), "DEVICE", "cpu", "MODEL.PRETRAINED", "", *plan.options]
    found = gpu.bare_step(plan, common, 32, "fp32", compiled=False)
    assert found["images_per_s"] > 0 and found["peak_memory_mb"] is None


def test_the_gap_of_ckplus_protocols_by_hand(capsys, monkeypatch, tmp_path):
    """Without the data set a quick run passes over it, a measurement stops; the gap is one mean minus the other."""
    monkeypatch.setattr(ckplus, "ROOT", tmp_path)
    assert ckplus.run(quick=True) == {}
    assert capsys.readouterr().out == "datasets/ckplus is absent: not measured\n"
    with pytest.raises(SystemExit, match="datasets/ckplus is absent: fecnet prepare ckplus"):
        ckplus.run(quick=False)
    leaking = {"mean": {"accuracy": 96.0, "mean_class_accuracy": 92.5, "macro_f1": 93.0}}
    honest = {"mean": {"accuracy": 91.5, "mean_class_accuracy": 93.0, "macro_f1": 93.0}}
    assert ckplus.gap_to(leaking, honest) == {"accuracy": 4.5, "mean_class_accuracy": -0.5, "macro_f1": 0.0}
