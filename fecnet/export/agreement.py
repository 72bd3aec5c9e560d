"""How closely the outputs of an exported net agree with those of the original.

Shape suffixes: N faces, T triplets, D embedding dimensions, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fecnet.encoder.encoder import Encoder
from fecnet.structures import odd_faces, opposite_distances
from fecnet.utils.errors import UserError

Arrays = Mapping[str, np.ndarray]


def timed_outputs(encoder: Encoder, faces_NHWC: np.ndarray, rows_N: np.ndarray, label: str) -> tuple[Arrays, float]:
    """All outputs for some stored faces, by name, and faces per second.

    Args:
        encoder: the net.
        faces_NHWC: stored faces, uint8.
        rows_N: rows of the faces to use, int64, shape (N,).
        label: label of the progress bar; empty = no bar.
    """
    parts = []
    begun = time.perf_counter()
    with tqdm(desc=label, total=len(rows_N), unit="face", disable=not label) as bar:
        for part in encoder.stream(faces_NHWC[row] for row in rows_N):
            parts.append(part.outputs)
            bar.update(len(part.status))
    rate = len(rows_N) / (time.perf_counter() - begun)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, rate


def largest_differences(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    """The largest difference of each output, relative to its largest value where that is above 1.

    For embeddings, which are unit vectors, it is absolute. NaN anywhere counts as infinite.

    Raises:
        UserError: the outputs or their shapes differ.
    """
    shapes = [{name: value.shape for name, value in sorted(each.items())} for each in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise UserError(f"outputs {shapes[1]}; the net has {shapes[0]}")
    found = {}
    for name, value in ours.items():
        difference = float(np.abs(value - theirs[name]).max() / max(1.0, np.abs(value).max()))
        found[name] = difference if np.isfinite(difference) else float("inf")
    return found


@dataclass(frozen=True)
class SamePredictions:
    """How often two nets give the same prediction.

    Attributes:
        same: triplets with the same odd face, or faces with the same predicted class.
        total: number of triplets or faces.
    """

    same: int
    total: int

    @property
    def percent(self) -> float:
        """Share with the same prediction, %."""
        return 100 * self.same / self.total


def prediction_agreement(ours: Arrays, theirs: Arrays, faces_T3: np.ndarray) -> dict[str, SamePredictions]:
    """Agreement on triplets and classes, for the outputs that the nets have.

    Args:
        ours: outputs of one net.
        theirs: outputs of the other.
        faces_T3: triplets, as indices into the N faces, shape (T, 3).
    """
    found = {}
    if "embedding" in ours:
        odd_T, other_T = (_odd(each["embedding"], faces_T3) for each in (ours, theirs))
        found["triplets"] = SamePredictions(int((odd_T == other_T).sum()), len(faces_T3))
    for output in ours:
        if output.startswith("logits"):
            class_N, other_N = (each[output].argmax(1) for each in (ours, theirs))
            name = f"classes{output.removeprefix('logits')}"
            found[name] = SamePredictions(int((class_N == other_N).sum()), len(class_N))
    return found


def _odd(emb_ND: np.ndarray, faces_T3: np.ndarray) -> np.ndarray:
    """The face outside the closest pair of each triplet, 0..2, -1 where two pairs are equally close, shape (T,)."""
    return odd_faces(opposite_distances(torch.from_numpy(emb_ND[faces_T3]))).numpy()


@dataclass(frozen=True)
class Agreement:
    """The comparison of an exported net with the original.

    Attributes:
        faces: the compared faces, in words.
        differences: see ``largest_differences``.
        same: see ``prediction_agreement``.
        percent: each metric before and after, on the same faces; empty without ground truth.
        faces_per_s: before and after, measured once on this machine: approximate.
        threads: CPU threads.
    """

    faces: str
    differences: dict[str, float]
    same: dict[str, SamePredictions]
    percent: dict[str, tuple[float, float]]
    faces_per_s: tuple[float, float]
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "faces": self.faces,
            "largest_difference": self.differences,
            "percent_alike": {name: round(each.percent, 4) for name, each in self.same.items()},
            "percent": {name: list(pair) for name, pair in self.percent.items()},
            "faces_per_s": [round(rate, 1) for rate in self.faces_per_s],
            "threads": self.threads,
            "text": self.text(),
        }

    def text(self) -> str:
        """The comparison as text."""
        lines = [f"verified on {self.faces}"]
        differences = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        lines.append(f"largest difference: {differences}")
        same = (f"{name} {each.percent:.2f} % of {each.total:,}" for name, each in self.same.items())
        lines += [f"same predictions: {', '.join(same)}"] if self.same else []
        for name, (before, after) in self.percent.items():
            lines.append(f"{name}: {after:.2f} % (the net: {before:.2f} %, {before - after:+.2f} points lost)")
        before, after = self.faces_per_s
        lines.append(f"faces/s: {after:.0f} (the net: {before:.0f}; once, on {self.threads} threads of this CPU)")
        return "\n".join(lines)
