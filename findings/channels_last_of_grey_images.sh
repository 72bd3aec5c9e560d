#!/usr/bin/env bash
# torch 2.11.0 (and 2.15.0), seen on 2026-11-30.
#
# One would guess: images in channels_last memory make the first convolution of a net compute in channels_last, whatever
#   their number of channels; .contiguous(memory_format=torch.channels_last) and .to(memory_format=…) are the same.
# What happens: an image of one channel is contiguous in both formats. .contiguous() therefore keeps its strides, .to()
#   sets those of channels_last, and is_contiguous(memory_format=torch.channels_last) is True of both. But convolutions
#   read the format off the strides: after .contiguous() a grey image gives an NCHW map, a colour image does not. On a
#   CPU the max pooling behind it takes some ten times as long; the values are the same.
# Why it matters here: nets for grey faces ran in NCHW up to their second convolution; fecnet/layers/inference.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.11.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import time

import torch

torch.manual_seed(0)
torch.set_num_threads(1)
last = torch.channels_last
pool = torch.nn.MaxPool2d(3, stride=2, padding=1)


def milliseconds(map_NCHW):
    taken = []
    for _ in range(7):
        begun = time.perf_counter()
        pool(map_NCHW)
        taken.append(time.perf_counter() - begun)
    return 1000 * min(taken)


seen, maps = [], []
with torch.inference_mode():
    for channels in (3, 1):
        image = torch.rand(64, channels, 64, 64)
        conv = torch.nn.Conv2d(channels, 32, 7, stride=2, padding=3).eval()
        for name, same in (
            ("contiguous", image.contiguous(memory_format=last)),
            ("to", image.to(memory_format=last)),
        ):
            maps.append(conv(same))
            is_last = maps[-1].is_contiguous(memory_format=last)
            seen.append((same.is_contiguous(memory_format=last), is_last))
            taken = milliseconds(maps[-1])
            print(f"{channels} channels, {name}: image channels_last {seen[-1][0]}, map {is_last}, pooling {taken:.1f} ms")
    slower = milliseconds(maps[2]) / milliseconds(maps[3])
print(f"pooling after contiguous takes {slower:.1f} times as long")
alike = torch.allclose(maps[2], maps[3], atol=1e-5)
if seen != [(True, True), (True, True), (True, False), (True, True)] or slower < 2 or not alike:
    raise SystemExit("CHANGED: the format of grey maps")
PY
