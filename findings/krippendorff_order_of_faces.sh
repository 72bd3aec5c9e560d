#!/usr/bin/env bash
# krippendorff 0.9.0, seen on 2026-11-30.
#
# One would guess: Krippendorff's alpha of raters who say which of three faces is the odd one (answers 1, 2, 3, nominal)
#   is about the raters, so that it stays the same when the faces of a triplet are listed in another order.
# What happens: agreement by chance is computed from how often 1, 2 and 3 are chosen over all triplets. The same answers
#   of the same raters give 0.38 where the faces stand in random order, and 0.00 where the face that most chose stands
#   first in each triplet: as if they guessed. Raters who agree on every triplet get 1.00, or there NaN with a warning.
# Why it matters here: tables of triplets are often written with the odd face in a fixed column (anchor, positive,
#   negative), and answers as its number. Count each triplet in its three rotations: chance is then that of three equal
#   choices, and alpha is the same for every order.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check krippendorff==0.9.0 numpy==2.4.6
"$dir/bin/python" -I - <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import krippendorff
import numpy as np

TRIPLETS, RATERS = 400, 6
print(f"krippendorff {version('krippendorff')}: {TRIPLETS} triplets, {RATERS} raters who find the odd face in 75 %")


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


def alpha(votes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(krippendorff.alpha(value_counts=votes, level_of_measurement="nominal"))


rng = np.random.default_rng(0)
first = rng.multinomial(RATERS, [0.75, 0.125, 0.125], TRIPLETS)  # the odd face is listed first in each triplet
anywhere = rng.permuted(first, axis=1)  # the same votes for the same faces, listed in another order
agreed = np.eye(3, dtype=int)[np.zeros(TRIPLETS, int)] * RATERS
found = {
    "faces in random order": alpha(anywhere),
    "the odd face first": alpha(first),
    "unanimous, random order": alpha(rng.permuted(agreed, axis=1)),
    "unanimous, the odd face first": alpha(agreed),
}
turned = [alpha(np.concatenate([np.roll(votes, turn, 1) for turn in range(3)])) for votes in (anywhere, first)]
for name, value in found.items():
    print(f"  {name:30} alpha {value:6.2f}")
print(f"  in three rotations             alpha {turned[0]:6.2f} and {turned[1]:.2f}")
random, odd_first, unanimous, constant = found.values()
check("alpha does not change with the order of the faces", 0.35 < random < 0.41 and abs(odd_first) < 0.03)
check("unanimous raters have an alpha in any order", unanimous == 1 and np.isnan(constant))
check("rotations do not help", abs(turned[0] - turned[1]) < 1e-9)
PYTHON
