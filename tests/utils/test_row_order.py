"""Arrays that are stored column by column are written as they are meant, not as they lie in memory."""

import ast

import numpy as np
import pytest
import safetensors.torch
import torch

from fecnet.embed.embedding_files import write_rows
from fecnet.embed.shards import Rows
from fecnet.engine.checkpointer import Checkpointer, make_folder
from fecnet.utils.files import read_arrays, replace_arrays
from tests.checkpoints import describe
from tests.conftest import ROOT

BY_ROW = np.arange(6, dtype=np.float32).reshape(2, 3)
BY_COLUMN = np.asfortranarray(BY_ROW)


def test_arrays_and_vectors_by_column(tmp_path):
    replace_arrays(tmp_path / "a.npz", x=BY_COLUMN)
    assert np.array_equal(read_arrays(tmp_path / "a.npz", ("x",), kind="file")["x"], BY_ROW)
    words = np.array(["ok", "ok"])
    nowhere = (np.full((2, 4), np.nan), np.full(2, np.nan), np.arange(2))
    rows = Rows(BY_COLUMN, words, np.array(["a", "b"]), words, np.zeros(2, np.int64), np.zeros(2), *nowhere)
    write_rows(tmp_path / "e.npy", "npy", iter([rows]), 2, 3)
    assert np.array_equal(np.load(tmp_path / "e.npy"), BY_ROW)


def test_weights_by_column(tmp_path):
    """torch's side of safetensors refuses them, so the checkpoint lays them out by row."""
    weight = torch.from_numpy(BY_COLUMN)
    with pytest.raises(ValueError, match="non contiguous"):
        safetensors.torch.save({"w": weight})
    make_folder(tmp_path)
    checkpointer = Checkpointer(tmp_path, keep=0)
    trainer = {"optimizer": {}}
    checkpointer.save(describe(iteration=1), weights={"w": weight}, trainer=trainer, best=False)
    checkpointer.close()
    assert np.array_equal(safetensors.torch.load_file(tmp_path / "1" / "model.safetensors")["w"].numpy(), BY_ROW)


@pytest.mark.slow
def test_nothing_writes_by_the_side_of_safetensors_that_shuffles_columns():
    """``safetensors.numpy`` 0.8.0 writes memory as it lies: findings/safetensors_column_order.sh."""
    for file in [*(ROOT / "fecnet").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            module = getattr(node, "module", None) or ""
            imported = {module, *names, *(f"{module}.{name}" for name in names)}
            assert "safetensors.numpy" not in imported, f"{file}: write tensors by safetensors.torch"
