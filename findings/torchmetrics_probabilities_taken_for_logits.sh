#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.11.0), seen on 2026-12-01.
#
# One would guess: a calibration error of class probabilities changes by a rounding error if one of them changes by one.
# What happens: if any value of a call is above 1, all rows of that call are taken for logits and go through a softmax.
#   A mean over views with weights of 0.1 gives 1.0000001 for faces that a net is sure of. Some fifty such values among 16,000
#   turn an expected calibration error of 0.02 into 0.64. The documentation says that values outside of [0, 1] are
#   taken for logits; that one rounding error decides for a whole batch, and batch by batch, is what surprises.
# Why it matters here: expressions are often predicted from several views of a face (flips, crops), and well-posed smiles
#   get probabilities of exactly 1. Clamp averaged probabilities to 1 before they are measured, or average in float64.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check torchmetrics==1.9.0 torch==2.11.0 numpy==2.4.6
"$dir/bin/python" -I -W ignore - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from torchmetrics.classification import MulticlassCalibrationError

FACES, CLASSES, VIEWS = 2000, 8, 10
print(f"torchmetrics {version('torchmetrics')}, torch {version('torch')}: {FACES} faces, {VIEWS} views of each")


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


def calibration_error(probability_NK):
    return MulticlassCalibrationError(CLASSES, n_bins=15, norm="l1")(probability_NK, label_N).item()


torch.manual_seed(0)
sure_NK = 10 * torch.randn(FACES, CLASSES)
views_VNK = (sure_NK + 0.7 * torch.randn(VIEWS, FACES, CLASSES)).softmax(dim=2)
mean_NK = torch.zeros(FACES, CLASSES)
for view_NK in views_VNK:
    mean_NK += 0.1 * view_NK
label_N = torch.distributions.Categorical(probs=mean_NK.double()).sample()
above = int((mean_NK > 1).sum())
found = {
    "weighted mean of the views": calibration_error(mean_NK),
    "the same, at most 1": calibration_error(mean_NK.clamp(max=1)),
    "softmax of the weighted mean": calibration_error(mean_NK.softmax(dim=1)),
}
print(f"  {above} of {mean_NK.numel()} values are above 1, by {mean_NK.max().item() - 1:.1e} at most")
for name, value in found.items():
    print(f"  {name:30} {value:.4f}")
check("the weighted mean rounds to values above 1", 0 < above < 200 and mean_NK.max() < 1 + 1e-6)
check("at most 1, the error is small", found["the same, at most 1"] < 0.03)
check("one value above 1 turns all rows into logits", found["weighted mean of the views"] > 0.5)
check("they went through a softmax", found["weighted mean of the views"] == found["softmax of the weighted mean"])
PYTHON
