"""Contact sheet of a classifier's most confident mistakes.

Shape suffixes: M faces of a split, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fecnet.evaluation.contact_sheet import contact_sheet

_CHARACTER = 6  # pixels per character of the caption font
_WIDEST = 96  # pixels; smaller faces are enlarged up to this width


def most_confident_mistakes(label_M: np.ndarray, logits_MK: Tensor, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of misclassified faces in decreasing confidence, and the confidence of each.

    Args:
        label_M: class of each face, -1 = unknown, shape (M,).
        logits_MK: finite, shape (M, K).
        num: maximum number of faces.
    """
    confidence_M = logits_MK.double().softmax(1).amax(1).numpy()
    wrong = np.flatnonzero((label_M >= 0) & (logits_MK.numpy().argmax(1) != label_M))
    chosen = wrong[np.argsort(-confidence_M[wrong], kind="stable")[:num]]
    return chosen, confidence_M[chosen]


def mistake_sheet(
    faces_NHWC: np.ndarray,
    faces_M: np.ndarray,
    label_M: np.ndarray,
    logits_MK: Tensor,
    classes: Sequence[str],
    path: Path,
    *,
    num: int = 40,
    columns: int = 8,
) -> int:
    """Write the most confident mistakes: below each face its label, then the predicted class and the confidence.

    Args:
        faces_NHWC: all faces, uint8.
        faces_M: rows of the faces of the split, shape (M,).
        label_M: their classes, -1 = unknown, shape (M,).
        logits_MK: finite, shape (M, K).
        classes: K names in label order.
        path: PNG to write; removed where no face is misclassified.
        num: maximum number of faces shown.
        columns: faces per row.

    Returns:
        Number of faces shown.
    """
    chosen, confidence = most_confident_mistakes(label_M, logits_MK, num)
    if not len(chosen):
        path.unlink(missing_ok=True)
        return 0
    image_NHWC = faces_NHWC[faces_M[chosen]]
    enlarge = max(1, _WIDEST // image_NHWC.shape[2])
    image_NHWC = image_NHWC.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    most = max(8, image_NHWC.shape[2] // _CHARACTER)
    predicted = logits_MK.numpy().argmax(1)[chosen]
    captions = []
    for label, other, probability in zip(label_M[chosen], predicted, confidence, strict=True):
        percent = f" {probability:.0%}"
        captions.append(f"{_ascii(classes[label], most)}\n> {_ascii(classes[other], most - 2 - len(percent))}{percent}")
    contact_sheet(image_NHWC, columns, path, captions)
    return len(chosen)


def _ascii(name: str, most: int) -> str:
    """ASCII characters only, as the caption font supports, cut to ``most`` characters."""
    return name.encode("ascii", "replace").decode()[:most]
