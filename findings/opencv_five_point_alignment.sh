#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, seen on 2026-11-29.
#
# One would guess: cv2.estimateAffinePartial2D of five landmarks and a template gives the similarity that fits all
#   five best (least squares), whatever the size of the template and the order of the points.
# What happens: it draws pairs and drops every point further than 3 pixels *of the output* from where a pair puts it.
#   On a face turned by 25 degrees a template of 112 pixels keeps four points, one of 224 keeps two, and the face's
#   tilt changes with the size alone. Turned by 35 degrees, two points are left, and which two depends on the order in
#   which the five are listed: the same face comes out tilted by anything from -24 to +24 degrees.
# Why it matters here: five-point alignment comes before most expression nets. Turned faces, which carry expression
#   too, get a tilt that the photo does not have, and nets for other input sizes or detectors that list the points in
#   another order see other faces. The least-squares similarity (Umeyama) moves by a fraction of a degree.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
"$dir/bin/python" -I - <<'PYTHON'
import itertools
import sys

import cv2
import numpy as np

# Eyes, nose tip, mouth corners: where they go in a face of 112 pixels, and a head in millimetres (right, down, near).
TEMPLATE = np.array([[36, 46], [76, 46], [56, 68], [41, 90], [71, 90]], float)
HEAD = np.array([[-32, -32, 0], [32, -32, 0], [0, 2, 26], [-24, 36, 2], [24, 36, 2]], float)
print(f"OpenCV {cv2.__version__}: five exact points of an upright head turned about its vertical axis")


def seen_turned(degrees):
    """The points in a photo of 3 pixels a millimetre, no perspective, to a tenth of a pixel."""
    turn = np.radians(degrees)
    across = HEAD[:, 0] * np.cos(turn) + HEAD[:, 2] * np.sin(turn)
    return (np.column_stack([across, HEAD[:, 1]]) * 3 + (300, 250)).round(1)


def least_squares_tilt(points, template):
    one, other = ((p - p.mean(0)) @ (1, 1j) for p in (points, template))
    return float(np.degrees(np.angle((one.conj() * other).sum())))


def opencv_tilt(points, template):
    matrix, kept = cv2.estimateAffinePartial2D(points, template)
    return float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))), int(kept.sum())


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


orders = [list(order) for order in itertools.permutations(range(5))]
for degrees in (0, 25, 35):
    points = seen_turned(degrees)
    print(f"turned by {degrees} degrees: least squares tilts by {least_squares_tilt(points, TEMPLATE):.2f}")
    by_size = {112 * k: opencv_tilt(points, TEMPLATE * k) for k in (1, 2)}
    for size, (tilt, kept) in by_size.items():
        print(f"  OpenCV, {size} pixels: tilts by {tilt:.2f}, keeps {kept} of 5 points")
    tilts = [opencv_tilt(points[order], TEMPLATE[order])[0] for order in orders]
    print(f"  OpenCV, 112 pixels, all {len(orders)} orders: tilts by {min(tilts):.2f} to {max(tilts):.2f}")
    plain = [least_squares_tilt(points[order], TEMPLATE[order]) for order in orders]
    check("least squares is the same in any order", np.ptp(plain) < 1e-9 and abs(plain[0]) < 1)
    if degrees == 0:
        check("all agree on a frontal face", np.ptp(tilts) < 0.1 and by_size[112][1] == by_size[224][1] == 5)
    if degrees == 25:
        check("the size changes which points count", (by_size[112][1], by_size[224][1]) == (4, 2))
        check("the size changes the tilt", abs(by_size[112][0] - by_size[224][0]) > 1)
    if degrees == 35:
        check("the order changes the tilt", min(tilts) < -20 and max(tilts) > 20)
print("as seen")
PYTHON
