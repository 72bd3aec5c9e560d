"""Compares an exported file with the original net: outputs, metrics, throughput."""

from __future__ import annotations

from pathlib import Path

import torch

from fecnet.encoder.encoder import Encoder
from fecnet.engine.evaluator import Evaluator
from fecnet.export.agreement import Agreement, Arrays, largest_differences, prediction_agreement, timed_outputs
from fecnet.export.faces import CheckFaces
from fecnet.structures import of_label_set
from fecnet.utils.errors import UserError

TOLERANCE = 1e-5  # maximum difference of the predictions of a float32 file: the outputs in _METRICS
TOLERANCE_INSIDE = 1e-3  # for other outputs, such as the feature, whose rounding errors the last layer averages out
MIN_AGREEMENT = 99.9  # minimum % of triplets and classes with the same prediction as the net's
_METRICS = {"embedding": "ALL", "logits": "accuracy", "valence_arousal": "ccc"}  # metric by output


def compare(encoder: Encoder, exported: Encoder, faces: CheckFaces, *, progress: bool) -> Agreement:
    """Compare a net and its exported file on the same faces.

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
        faces.description,
        largest_differences(ours, theirs),
        prediction_agreement(ours, theirs, faces.triplets_T3),
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
        output, label_set = _of_output(metric.output)
        value = measured.metrics()[_METRICS[output]]
        if value is not None:
            name = "triplets ALL" if output == "embedding" else of_label_set(_METRICS[output], label_set)
            found[name] = value
    return found


def _of_output(name: str) -> tuple[str, str]:
    """The name of an output without its label set, and the set: ``logits_fer`` are logits."""
    found, _, label_set = name.partition("_")
    return (found, label_set) if found == "logits" else (name, "")


def check_tolerances(agreement: Agreement, target: Path) -> None:
    """Check a float32 file against the tolerances.

    Raises:
        UserError: it differs by more; the message names ``target``.
    """
    text = agreement.text().replace("\n", "; ")
    for name, difference in agreement.differences.items():
        allowed = TOLERANCE if _of_output(name)[0] in _METRICS else TOLERANCE_INSIDE
        if not difference <= allowed:
            raise UserError(f"{target}: not written: '{name}' differs from the net's by more than {allowed:g}: {text}")
    if any(same.percent < MIN_AGREEMENT for same in agreement.same.values()):
        raise UserError(f"{target}: not written: less than {MIN_AGREEMENT:g} % of the predictions are the same: {text}")
