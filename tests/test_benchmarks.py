"""Benchmarks that a machine without a GPU cannot measure say so and write nothing."""

import sys

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import gpu, record


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
