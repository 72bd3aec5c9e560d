"""The measurement by mutated inputs: a few of each target, what it calls a find, and how a find is repeated."""

import json

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_mutations import Choices, mutate, mutate_file
from benchmarks.fuzz_target import Target, told_wrong
from benchmarks.fuzz_targets import TARGETS
from fecnet.utils.errors import DataError


def test_quick_runs_find_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "FOUND", tmp_path)
    found = fuzz.run(quick=True)
    assert found["all"]["finds"] == 0, [file.read_text() for file in tmp_path.rglob("find.txt")]
    assert {*found["targets"]} == {target.name for target in TARGETS}
    assert found["all"]["accepted"] > 0 < found["all"]["refused"]
