#!/usr/bin/env bash
# crowd-kit 1.4.2, seen on 2026-11-30.
#
# One would guess: where three raters of three agree on the odd one of three faces, Dawid and Skene's model calls that
#   face the odd one; raters of whom only one answer is known, as anonymous visitors of a page are, count about equally,
#   so that the model gives what the majority says.
# What happens: each rater gets a table of confusions estimated from the single answer. Of 300 triplets whose 900 answers
#   are of 900 raters, the commonest class takes all: every triplet is called 1, also those on which three of three said
#   2 or 3; one iteration is enough. With the same answers given by six raters in turn, the result is the majority's.
# Why it matters here: open links and crowds bring many raters of a few answers each, and a number for each visitor looks
#   like an identity. Use a model with one number a rater that leans on the mean of all, or count such answers as one
#   unknown rater.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check \
  crowd-kit==1.4.2 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1
"$dir/bin/python" -I - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene, MajorityVote

TRIPLETS = 300
print(f"crowd-kit {version('crowd-kit')}: {TRIPLETS} triplets, three answers each; on every other one all three agree")


def check(told, right):
    if not right:
        sys.exit(f"CHANGED: {told}")


rng = np.random.default_rng(0)
odd = 1 + rng.choice(3, TRIPLETS, p=[0.6, 0.2, 0.2])
answers = np.repeat(odd[:, None], 3, axis=1)
answers[1::2, 2] = answers[1::2, 2] % 3 + 1  # the third rater says another face
table = pd.DataFrame({"task": np.repeat(np.arange(TRIPLETS), 3), "label": answers.ravel()})
unanimous = np.arange(TRIPLETS) % 2 == 0


def called(workers, iterations):
    return DawidSkene(n_iter=iterations).fit_predict(table.assign(worker=workers)).sort_index().to_numpy()


majority = MajorityVote().fit_predict(table.assign(worker=np.arange(3 * TRIPLETS))).sort_index().to_numpy()
check("the majority is another one", (majority == odd).all())
RATERS = {"900 raters of one answer": np.arange(3 * TRIPLETS), "6 raters of 150 answers": np.arange(3 * TRIPLETS) % 6}
for name, workers in RATERS.items():
    for iterations in (1, 100):
        found = called(workers, iterations)
        overturned = int((found != odd)[unanimous].sum())
        counts = np.bincount(found, minlength=4)[1:].tolist()
        print(f"  {name}, n_iter {iterations:3}: called 1, 2, 3: {counts}; unanimous and overturned: {overturned} of 150")
        if len(set(workers)) == 6:
            check("known raters overturn agreements", overturned == 0 and (found == odd).mean() > 0.95)
        else:
            check("agreements of unknown raters are kept", overturned > 50 and counts == [TRIPLETS, 0, 0])
PYTHON
