#!/usr/bin/env bash
# safetensors 0.8.0 with numpy 2.4.6, seen on 2026-11-30.
#
# One would guess: `safetensors.numpy.save` of an array that is stored column by column (a transpose, `np.asfortranarray`,
#   what LAPACK returns) writes its numbers in row order, as 0.7.0 did, or refuses, as `safetensors.torch` does.
# What happens: the file holds the memory as it lies, under the shape of the array: the numbers come back in other
#   places, without an error, and the next reader cannot know.
# Why it matters here: weights and embeddings would be wrong but finite, of the right shape and norm. `np.save`,
#   `np.savez` and `safetensors.torch` are right; fecnet writes through these alone, which a test checks.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for version in 0.7.0 0.8.0; do
  "${PYTHON:-python3}" -m venv "$dir/$version"
  "$dir/$version/bin/python" -m pip install --quiet --disable-pip-version-check safetensors==$version numpy==2.4.6
  "$dir/$version/bin/python" -I - <<'PYTHON'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load, save

rows = np.arange(6, dtype=np.float32).reshape(2, 3)
ways = {"rows": rows, "columns": np.asfortranarray(rows), "transpose": np.ascontiguousarray(rows.T).T}
assert all(np.array_equal(array, rows) for array in ways.values())
kept = {name: np.array_equal(load(save({"x": array}))["x"], rows) for name, array in ways.items()}
found = load(save({"x": ways["columns"]}))["x"].tolist()
print(f"safetensors {safetensors.__version__}: {rows.tolist()} saved from columns comes back as {found}; kept: {kept}")
shuffles = safetensors.__version__ == "0.8.0"
if kept != {"rows": True, "columns": not shuffles, "transpose": not shuffles}:
    sys.exit("CHANGED: which orders are kept")
PYTHON
done
