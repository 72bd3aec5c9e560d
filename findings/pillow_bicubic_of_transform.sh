#!/usr/bin/env bash
# Pillow 13.0.0, seen on 2026-11-29.
#
# One would guess: Image.Resampling.BICUBIC is one kernel, and BICUBIC moves a picture by part of a pixel more truly
#   than BILINEAR does.
# What happens: resize() weighs with Keys' kernel of a = -0.5, which keeps straight ramps; transform() and rotate()
#   weigh with a = -1, which does not. A ramp asked to move by 0.25 pixel moves by 0.34. Of a soft picture (waves of
#   12 pixels) transform's BICUBIC is further from the truth than its own BILINEAR, and many times further than
#   resize's BICUBIC.
# Why it matters here: faces are aligned with transform() and cropped with resize(). The same name then sharpens the
#   one and not the other, landmarks shift by up to 0.1 pixel, and on soft photos the dearer filter is the worse one.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$dir/bin/python" -I - <<'PYTHON'
import sys

import numpy as np
import PIL
from PIL import Image

SIDE, SHIFT, AWAY = 64, 0.25, 8  # pixels; the shift; borders left out
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
print(f"Pillow {PIL.__version__}: pictures of {SIDE} pixels moved by {SHIFT} pixel")


def transformed(picture, method):
    return np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, SHIFT, 0, 1, 0), method))


def rotated(picture, method):
    return np.asarray(picture.rotate(0, method, translate=(-SHIFT, 0)))


def resized(picture, method):
    width = SIDE - AWAY  # as many pixels out as in: nothing is scaled
    return np.asarray(picture.resize((width, SIDE), method, box=(SHIFT, 0, SHIFT + width, SIDE)))


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


columns = np.arange(SIDE, dtype=np.float32)
point = Image.fromarray(np.tile((columns == 30).astype(np.float32), (SIDE, 1)))
ramp = Image.fromarray(np.tile(columns, (SIDE, 1)))
seen = {}
for name, move in (("transform", transformed), ("rotate", rotated), ("resize", resized)):
    weights = move(point, BICUBIC)[20, 28:32].round(4)
    seen[name] = float(move(ramp, BICUBIC)[20, 30] - columns[30])
    print(f"{name:>9} BICUBIC: a point spreads to {weights}, a ramp moves by {seen[name]:.4f}")
for name, moved in (("transform", 0.34375), ("rotate", 0.34375), ("resize", 0.25)):
    check(f"{name} moves a ramp by {moved}", abs(seen[name] - moved) < 1e-3)


def waves(x):
    return 128 + 100 * np.cos(2 * np.pi * x / 12)


photo = Image.fromarray(np.tile(waves(columns).round().astype(np.uint8), (SIDE, 1)))
true = waves(columns + SHIFT)
print("8-bit waves of 12 pixels:")
inside = slice(AWAY, SIDE - 2 * AWAY)
errors = {}
for name, move, method in (
    ("transform BICUBIC", transformed, BICUBIC),
    ("transform BILINEAR", transformed, BILINEAR),
    ("resize BICUBIC", resized, BICUBIC),
):
    errors[name] = float(np.sqrt(np.square(move(photo, method)[20, inside] - true[inside]).mean()))
    print(f"{name:>18}: {errors[name]:.2f} of 255 grey levels from the truth (root mean square)")
check("BICUBIC of transform is worse than BILINEAR", errors["transform BICUBIC"] > 1.3 * errors["transform BILINEAR"])
check("BICUBIC of transform is worse than of resize", errors["transform BICUBIC"] > 4 * errors["resize BICUBIC"])
print("as seen")
PYTHON
