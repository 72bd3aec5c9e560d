#!/usr/bin/env bash
# cblearn 0.4.0 (scikit-learn 1.9.1, numpy 1.26.4), seen on 2026-11-30.
#
# One would guess: the accuracy of an embedding on triplets (query_accuracy: is the second object nearer to the first
#   than the third is?) depends on the points and the answers. An embedding that has collapsed, with all points equal,
#   answers no triplet; it gets 0, or by chance a half.
# What happens: where two distances are equal, the object with the higher number is taken as the nearer one. So a
#   collapsed embedding gets 0.49 on random triplets, 1.00 where the nearer object has the higher number in each
#   triplet, and 0.00 where it has the lower one: numbering the same objects another way decides.
#   And where there are as many objects as triplets, the embedding is taken for a list of triplets and refused.
# Why it matters here: item numbers are seldom random (photos are numbered by person or class, and triplets are written
#   with anchor and positive from neighbouring rows), and collapse is the usual failure of triplet training. Count a tie
#   as a wrong answer, and say how many there are.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check cblearn==0.4.0 scikit-learn==1.9.1 numpy==1.26.4
"$dir/bin/python" -I -W ignore - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from cblearn.datasets import make_random_triplets
from cblearn.metrics import query_accuracy

OBJECTS = 30
print(f"cblearn {version('cblearn')}: {OBJECTS} objects in a plane, 400 triplets answered by their true distances")


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


true = np.random.default_rng(0).standard_normal((OBJECTS, 2))
collapsed = np.zeros_like(true)
drawn = make_random_triplets(true, result_format="list-order", size=400, random_state=0)
higher_is_nearer = drawn[drawn[:, 1] > drawn[:, 2]]
renumbered = OBJECTS - 1 - higher_is_nearer  # the same triplets, objects numbered from the other end
found = {
    "true points": query_accuracy(drawn, true),
    "all points equal": query_accuracy(drawn, collapsed),
    "all points equal, the nearer object has the higher number": query_accuracy(higher_is_nearer, collapsed),
    "the same, objects numbered from the other end": query_accuracy(renumbered, collapsed),
}
for name, value in found.items():
    print(f"  {name:60} {value:.2f}")
check("true points are right", found["true points"] == 1)
check("a collapsed embedding is right about half of the time", 0.4 < found["all points equal"] < 0.6)
check("ties go to the higher number", list(found.values())[2:] == [1.0, 0.0])
few = make_random_triplets(true, result_format="list-order", size=OBJECTS, random_state=0)
try:
    query_accuracy(few, true)
except ValueError as error:
    print(f"  as many triplets as objects: ValueError: {error}")
else:
    check("as many triplets as objects are refused", False)
PYTHON
