"""No order comes from a set: everything is the same under another hash seed of Python."""

import os
import re
import subprocess
import sys

from tests.conftest import ROOT


def written(folder, seed):
    folder.mkdir()
    command = [sys.executable, "-m", "tests.hash_seeds", str(folder)]
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return re.sub(r"done in \d+ s", "done", done.stdout.replace(str(folder), "FOLDER")).splitlines()


def test_everything_is_the_same_under_another_hash_seed(tmp_path):
    first, second = written(tmp_path / "one", 1), written(tmp_path / "two", 2)
    assert first == second
    assert [line for line in first if line[:2] in ("1 ", "2 ")] == []
    assert sum(line.endswith(".npz") for line in first) > 6
