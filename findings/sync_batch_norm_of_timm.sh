#!/usr/bin/env bash
# timm 1.0.31 with torch 2.11.0 (and 2.15.0), seen on 2026-11-30.
#
# One would guess: torch.nn.SyncBatchNorm.convert_sync_batchnorm changes how the batch norms of a timm net take their
#   statistics in training, and nothing else; in evaluation mode the outputs stay the same.
# What happens: timm's BatchNormAct2d is a BatchNorm2d that applies its activation itself. torch puts a SyncBatchNorm in
#   its place, which does not: the activation stays a child, so the printed net looks right, but is never called. Of
#   efficientnet_lite0's 49 batch norms, 33 lose theirs. timm's own converter keeps them.
# Why it matters here: SOLVER.SYNC_BN of a timm backbone goes through timm's converter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 timm==1.0.31
"$folder/venv/bin/python" - <<'PY'
import copy

import timm
import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm

torch.manual_seed(0)
net = timm.create_model("efficientnet_lite0", pretrained=False).eval()
image = torch.rand(1, 3, 64, 64)
acting = [layer for layer in net.modules() if isinstance(layer, BatchNormAct2d)]
acting = [layer for layer in acting if not isinstance(layer.act, torch.nn.Identity)]
theirs = torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net)).eval()
own = convert_sync_batchnorm(copy.deepcopy(net)).eval()
with torch.inference_mode():
    before, torchs, timms = (model.forward_features(image) for model in (net, theirs, own))
listed = sum(type(layer).__name__ == "ReLU6" for layer in theirs.modules())
print(f"batch norms that apply an activation: {len(acting)}; listed after torch's conversion: {listed}")
print("torch's conversion changes the output:", not torch.allclose(before, torchs, atol=1e-4))
print("timm's conversion changes the output:", not torch.allclose(before, timms, atol=1e-4))
changed = [not torch.allclose(before, after, atol=1e-4) for after in (torchs, timms)]
if (len(acting), listed, *changed) != (33, 33, True, False):
    raise SystemExit("CHANGED: what is kept")
PY
