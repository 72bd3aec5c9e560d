"""Holds an exported file against the net that it was made of: outputs, accuracy, rate."""

from __future__ import annotations

from pathlib import Path

import torch

from fecnet.encoder.encoder import Encoder
from fecnet.engine.evaluator import Evaluator
from fecnet.export.agreement import Agreement, Arrays, judged_alike, largest_differences, timed_outputs
from fecnet.export.faces import CheckFaces
from fecnet.utils.errors import UserError

TOLERANCE = 1e-5  # largest difference of what a file says that computes in float32: see _FIGURES
TOLERANCE_INSIDE = 1e-3  # and of its other outputs, such as the feature, whose rounding the last layer evens out
ALIKE = 99.9  # least per cent of triplets and classes on which such a file agrees with the net
_FIGURES = {"embedding": "ALL", "logits": "accuracy", "valence_arousal": "ccc"}  # by output


def compare(encoder: Encoder, exported: Encoder, faces: CheckFaces, *, progress: bool) -> Agreement:
    """How alike a net and its exported file are on the same faces.

    Args:
        encoder: the net.
        exported: the file.
        faces: see ``fecnet.export.faces``.
        progress: show bars.

    Raises:
        UserError: the file has other outputs.
    """
    stored = faces.faces_NHWC, faces.rows_N
    ours, our_rate = timed_outputs(encoder, *stored, "the net" if progress else "")
    theirs, their_rate = timed_outputs(exported, *stored, "the file" if progress else "")
    before, after = (_percent(faces.evaluator, outputs) for outputs in (ours, theirs))
    return Agreement(
        faces.told,
        largest_differences(ours, theirs),
        judged_alike(ours, theirs, faces.triplets_T3),
        {name: (before[name], after[name]) for name in before},
        (our_rate, their_rate),
        torch.get_num_threads(),
    )


def _percent(evaluator: Evaluator | None, outputs: Arrays) -> dict[str, float]:
    """The percentage of each metric."""
    found = {}
    for metric in evaluator.metrics if evaluator else ():
        part = evaluator.part({metric.output: torch.from_numpy(outputs[metric.output])}, metric)  # type: ignore[union-attr]
        (measured,) = metric.measure(part).values()
        name = _FIGURES[metric.output]
        value = measured.metrics()[name]
        if value is not None:
            found["triplets ALL" if name == "ALL" else name] = value
    return found


def check_tolerances(agreement: Agreement, target: Path) -> None:
    """Hold a file that computes in float32 against what it may differ.

    Raises:
        UserError: it differs by more; names ``target``.
    """
    said = agreement.text().replace("\n", "; ")
    for name, difference in agreement.differences.items():
        allowed = TOLERANCE if name in _FIGURES else TOLERANCE_INSIDE
        if not difference <= allowed:
            raise UserError(f"{target}: not written: '{name}' differs from the net's by more than {allowed:g}: {said}")
    if any(alike.percent < ALIKE for alike in agreement.alike.values()):
        raise UserError(f"{target}: not written: less than {ALIKE:g} % judged alike: {said}")
