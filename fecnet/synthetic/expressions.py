"""Expressions of synthetic faces: twelve anchors, one per class, and samples around them.

Shape suffixes: N faces, E expression parameters.
"""

from __future__ import annotations

import numpy as np

from fecnet.synthetic.rendering import EXPRESSION_FIELDS

_ANCHORS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"mouth_curve": 0.8, "mouth_width": 0.5, "wrinkle": 0.3, "teeth": 0.4},
    "sad": {"mouth_curve": -0.8, "brow_inner": 0.9, "eye_open": -0.3, "gaze_up": -0.7},
    "surprise": {"brow_raise": 1.0, "eye_open": 0.8, "mouth_open": 0.8, "mouth_width": -0.5},
    "fear": {
        "brow_raise": 0.6,
        "brow_inner": 0.8,
        "eye_open": 0.7,
        "mouth_open": 0.3,
        "mouth_width": 0.7,
        "teeth": 0.7,
    },
    "disgust": {"brow_raise": -0.5, "eye_open": -0.4, "wrinkle": 1.0, "mouth_curve": -0.6, "mouth_open": 0.2},
    "anger": {"brow_raise": -0.6, "brow_inner": -1.0, "eye_open": 0.2, "mouth_curve": -0.4, "teeth": 0.8},
    "contempt": {"brow_raise": 0.2, "eye_open": -0.4, "gaze_side": 0.7, "mouth_skew": 1.0},
    "laugh": {
        "brow_raise": 0.4,
        "eye_open": -0.7,
        "mouth_curve": 0.9,
        "mouth_open": 0.9,
        "mouth_width": 0.4,
        "teeth": 0.9,
    },
    "wink": {"wink": 1.0, "mouth_curve": 0.6, "mouth_skew": 0.5},
    "kiss": {"eye_open": -0.9, "brow_raise": 0.3, "mouth_width": -1.0},
    "pout": {"brow_inner": -0.5, "mouth_curve": -0.7, "mouth_width": -0.7, "gaze_up": 0.6},
}
EXPRESSIONS = tuple(_ANCHORS)  # class names in label order
# Perceptual weight of each parameter, about proportional to the pixels that it changes.
_WEIGHT = {
    "gaze_side": 0.4,
    "gaze_up": 0.3,
    "wink": 1.2,
    "wrinkle": 0.6,
    "mouth_open": 1.5,
    "mouth_curve": 1.1,
    "teeth": 0.6,
}
_LOWEST = {"wink": 0.0, "gaze_side": 0.0, "wrinkle": 0.0, "mouth_open": 0.0, "mouth_skew": 0.0, "teeth": 0.0}


def sample_expressions(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample expressions around the anchors: a scaled anchor, plus a small share of another one, plus noise.

    Args:
        num: N.
        seed: the same seed gives the same expressions.

    Returns:
        Expression vectors in the order of ``EXPRESSION_FIELDS``, float32, shape (N, E), and the label of each, an
        index into ``EXPRESSIONS``, int64, shape (N,). Labels are balanced to within one face.
    """
    rng = np.random.default_rng(seed)
    anchors = np.array([[anchor.get(name, 0.0) for name in EXPRESSION_FIELDS] for anchor in _ANCHORS.values()])
    label = rng.permutation(np.arange(num) % len(anchors))
    strength, touch = rng.uniform(0.45, 1.1, (num, 1)), rng.uniform(0.0, 0.45, (num, 1))
    expression = strength * anchors[label] + touch * anchors[rng.integers(len(anchors), size=num)]
    expression += 0.10 * rng.standard_normal(expression.shape)
    lowest = np.array([_LOWEST.get(name, -1.0) for name in EXPRESSION_FIELDS])
    return np.clip(expression, lowest, 1.0).astype(np.float32), label


def to_perceptual(expression_NE: np.ndarray) -> np.ndarray:
    """Expressions in perceptual units, whose Euclidean distance a noiseless annotator perceives, shape (N, E)."""
    return expression_NE * np.array([_WEIGHT.get(name, 0.8) for name in EXPRESSION_FIELDS], dtype=np.float32)
