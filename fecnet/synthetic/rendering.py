"""Renders synthetic faces from independent parameters: identity and capture conditions, and expression.

Shapes are soft-edged coverage masks on the pixel grid, painted back to front, all faces of a chunk at once. Coordinates
are relative to the head: p to the right and q down; from centre to chin is about one unit. A face is a deterministic
function of its two vectors, so neither chunks nor threads change a pixel.

Shape suffixes: N faces, S pixels per side, I identity parameters, E expression parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Number = np.ndarray | float  # one value for all faces or one per face, shape (N, 1, 1)
Columns = Mapping[str, np.ndarray]  # each parameter of all faces, shape (N, 1, 1)

# Identity, sampled once per subject. Lengths in head units, colours and amounts in 0..1.
_APPEARANCE = {
    "head_width": (0.66, 0.82),
    "jaw": (0.10, 0.40),  # how much the head narrows towards the chin
    "skin": (0.15, 1.0),  # dark to light
    "skin_warmth": (-0.3, 1.0),
    "hair": (0.0, 1.0),
    "hair_warmth": (0.0, 1.0),
    "hair_volume": (0.06, 0.22),
    "hair_length": (-0.2, 1.5),  # lower end of the hair beside the head, q
    "fringe": (-0.84, -0.62),
    "parting": (-0.25, 0.25),
    "eye_distance": (0.33, 0.40),
    "eye_size": (0.88, 1.15),
    "eye_height": (-0.16, -0.04),
    "iris": (0.0, 1.0),
    "brow_thickness": (0.040, 0.065),
    "brow_height": (0.30, 0.36),  # above the eye
    "nose_width": (0.09, 0.16),
    "nose_length": (0.24, 0.34),
    "mouth_height": (0.48, 0.54),
    "mouth_width": (0.33, 0.40),
    "lip_thickness": (0.05, 0.09),
    "lip_red": (0.0, 1.0),
    "blush": (0.0, 0.35),
    "beard": (-1.6, 0.7),  # below zero: shaved
    "glasses": (-6.0, 1.0),  # below zero: none
    "shirt_red": (0.0, 1.0),
    "shirt_green": (0.0, 1.0),
    "shirt_blue": (0.0, 1.0),
}
# Capture conditions, sampled for each face.
_CAPTURE = {
    "mirror": (-1.0, 1.0),  # only its sign counts: the side of a wink or smirk is uninformative
    "roll": (-0.21, 0.21),  # radians, 12 degrees
    "shift_x": (-0.05, 0.05),  # fraction of half the image side
    "shift_y": (-0.06, 0.04),
    "scale": (0.86, 0.98),
    "yaw": (-0.10, 0.10),  # shift of the features over the head
    "pitch": (-0.05, 0.05),
    "light_x": (-0.3, 0.3),
    "light_y": (-0.2, 0.1),
    "exposure": (0.72, 1.12),
    "light_warmth": (-0.08, 0.10),
    "back": (0.2, 0.85),
    "back_red": (-0.18, 0.18),
    "back_green": (-0.15, 0.15),
    "back_blue": (-0.18, 0.18),
    "back_slope": (-0.35, 0.35),
}
IDENTITY_FIELDS = (*_APPEARANCE, *_CAPTURE)
EXPRESSION_FIELDS = (
    "brow_raise",  # -1..1
    "brow_inner",  # -1 inner ends down (anger), 1 up (sadness)
    "eye_open",  # -1 closed, 0 at rest, 1 wide
    "wink",  # 0..1, one eye closed
    "gaze_side",  # 0..1
    "gaze_up",  # -1..1
    "wrinkle",  # 0..1, nose wrinkled, lower lids and cheeks up
    "mouth_curve",  # -1 corners down, 1 up
    "mouth_open",  # 0..1
    "mouth_width",  # -1 puckered, 1 stretched
    "mouth_skew",  # 0..1, one corner up
    "teeth",  # 0..1
)


def sample_identities(num: int, seed: int) -> np.ndarray:
    """Sample identities, each with its capture conditions.

    Args:
        num: N.
        seed: the same seed gives the same identities.

    Returns:
        Identity vectors in the order of ``IDENTITY_FIELDS``, float32, shape (N, I).
    """
    return _uniform(num, seed, {**_APPEARANCE, **_CAPTURE})


def resample_capture(identity_NI: np.ndarray, seed: int) -> np.ndarray:
    """The same identities with new pose, light and background.

    Args:
        identity_NI: as from ``sample_identities``, shape (N, I).
        seed: the same seed gives the same capture conditions.

    Returns:
        Identity vectors, float32, shape (N, I).
    """
    capture = _uniform(len(identity_NI), seed, _CAPTURE)
    return np.concatenate([identity_NI[:, : len(_APPEARANCE)], capture], axis=1)


def _uniform(num: int, seed: int, ranges: Mapping[str, tuple[float, float]]) -> np.ndarray:
    low, high = np.array(list(ranges.values()), dtype=np.float32).T
    share = np.random.default_rng(seed).random((num, len(ranges)), dtype=np.float32)
    return low + share * (high - low)


def render_faces(identity: np.ndarray, expression: np.ndarray, size: int) -> np.ndarray:
    """Render faces.

    Args:
        identity: identity and capture conditions, shape (N, I), order ``IDENTITY_FIELDS``.
        expression: shape (N, E), order ``EXPRESSION_FIELDS``.
        size: S, pixels per side.

    Returns:
        RGB, uint8, shape (N, S, S, 3).
    """
    expected = (len(identity), len(IDENTITY_FIELDS)), (len(identity), len(EXPRESSION_FIELDS))
    assert (identity.shape, expression.shape) == expected, (identity.shape, expression.shape, expected)
    who = _columns(identity, IDENTITY_FIELDS)
    face = _columns(expression, EXPRESSION_FIELDS)
    canvas = _Canvas(who, size)
    _paint_behind(canvas, who)
    _paint_head(canvas, who, face)
    canvas.rotate_features(who)
    _paint_cheeks_and_nose(canvas, who, face)
    for side in (-1.0, 1.0):
        _paint_eye(canvas, who, face, side)
        _paint_brow(canvas, who, face, side)
    _paint_mouth(canvas, who, face)
    _paint_glasses(canvas, who)
    canvas.reset_features()
    _paint_fringe(canvas, who)
    return canvas.expose(who)


def _columns(array_NK: np.ndarray, fields: tuple[str, ...]) -> Columns:
    return {name: array_NK[:, k, None, None].astype(np.float32) for k, name in enumerate(fields)}


class _Canvas:
    """Images being rendered, in planes: ``rgb[c]`` is one colour of all faces, shape (N, S, S)."""

    def __init__(self, who: Columns, size: int) -> None:
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
        x, y = axis[None, None, :] - who["shift_x"], axis[None, :, None] - who["shift_y"]
        cos, sin = np.cos(who["roll"]) / who["scale"], np.sin(who["roll"]) / who["scale"]
        self.p = (x * cos + y * sin) * np.where(who["mirror"] < 0, np.float32(-1), np.float32(1))
        self.q = y * cos - x * sin
        self.straight = self.p, self.q
        self._sharpness = size * who["scale"] / 2  # pixels per head unit
        slope = 1 + who["back_slope"] * (axis[None, None, :] + axis[None, :, None])
        self.rgb = [(who["back"] + who[name]) * slope for name in ("back_red", "back_green", "back_blue")]

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Coverage of each pixel by a shape, from the signed distance to its edge (positive inside), in head units."""
        cover = distance * self._sharpness
        cover += np.float32(0.5)
        return np.clip(cover, 0, 1, out=cover)

    def ellipse(self, p: Number, q: Number, width: Number, height: Number) -> np.ndarray:
        """Coverage of an axis-parallel ellipse with the given half axes."""
        radius = np.sqrt(np.square((self.p - p) / width) + np.square((self.q - q) / height))
        return self.inside((1 - radius) * np.minimum(width, height))

    def paint(self, cover: np.ndarray, colour: list[np.ndarray]) -> None:
        """Blend a colour over the canvas with opacity ``cover``."""
        for plane, value in zip(self.rgb, colour, strict=True):
            plane += cover * (value - plane)

    def shade(self, cover: np.ndarray, darkness: Number) -> None:
        """Darken the canvas; a negative darkness lightens."""
        factor = 1 - cover * darkness
        for plane in self.rgb:
            plane *= factor

    def rotate_features(self, who: Columns) -> None:
        """Shift the features over the round head: most in the middle, not at all at its rim."""
        p, q = self.straight
        self.p = p - who["yaw"] * np.clip(1 - np.square(p / who["head_width"]), 0, 1)
        self.q = q - who["pitch"] * np.clip(1 - np.square(q), 0, 1)

    def reset_features(self) -> None:
        """Undo ``rotate_features``."""
        self.p, self.q = self.straight

    def expose(self, who: Columns) -> np.ndarray:
        """Apply light direction, exposure and colour temperature."""
        p, q = self.straight
        light = 1 + who["light_x"] * np.clip(p, -1, 1) + who["light_y"] * np.clip(q, -1, 1)
        light *= who["exposure"]
        warmth = 1 + who["light_warmth"], 1.0, 1 - who["light_warmth"]
        planes = [np.clip(plane * light * tint, 0, 1) for plane, tint in zip(self.rgb, warmth, strict=True)]
        return (np.stack(planes, axis=-1) * 255 + np.float32(0.5)).astype(np.uint8)


def _mix(low: tuple[float, float, float], high: tuple[float, float, float], share: np.ndarray) -> list[np.ndarray]:
    return [a + (b - a) * share for a, b in zip(low, high, strict=True)]


def _skin(who: Columns, brightness: float = 1.0) -> list[np.ndarray]:
    light = who["skin"]
    tint = 0.04 * who["skin_warmth"]
    red, green, blue = 0.41 + 0.59 * light**0.8, 0.26 + 0.57 * light, 0.18 + 0.54 * light**1.2
    return [brightness * (red + tint), brightness * green, brightness * (blue - tint)]


def _hair(who: Columns, brightness: float = 1.0) -> list[np.ndarray]:
    light = _mix((0.80, 0.78, 0.76), (0.92, 0.66, 0.28), who["hair_warmth"])
    dark = 0.10, 0.08, 0.08
    share = np.square(who["hair"])  # dark hair is more common
    return [brightness * (a + (b - a) * share) for a, b in zip(dark, light, strict=True)]


def _plain(red: float, green: float, blue: float) -> list[np.ndarray]:
    return [np.full((1, 1, 1), value, np.float32) for value in (red, green, blue)]


def _paint_behind(canvas: _Canvas, who: Columns) -> None:
    """Hair behind the head, shirt, neck and ears."""
    width, volume = who["head_width"], who["hair_volume"]
    back = canvas.ellipse(0.0, -0.25, width + volume, 0.78 + volume)
    hanging = np.minimum(width + 0.9 * volume - np.abs(canvas.p), who["hair_length"] - canvas.q)
    back = np.maximum(back, canvas.inside(np.minimum(hanging, canvas.q + 0.25)))
    canvas.paint(back, _hair(who, 0.8))
    shirt = canvas.ellipse(0.0, 1.75, 1.05, 0.62)
    canvas.paint(shirt, [who["shirt_red"], who["shirt_green"], who["shirt_blue"]])
    neck = np.minimum(0.55 * width - np.abs(canvas.p), np.minimum(canvas.q - 0.5, 1.32 - canvas.q))
    canvas.paint(canvas.inside(neck), _skin(who, 0.78))
    for side in (-1.0, 1.0):
        canvas.paint(canvas.ellipse(side * width, 0.02, 0.11, 0.19), _skin(who, 0.92))
        canvas.shade(canvas.ellipse(side * (width + 0.02), 0.03, 0.05, 0.11), 0.22)


def _paint_head(canvas: _Canvas, who: Columns, face: Columns) -> None:
    """The head with its shading, and the beard, if any."""
    below = np.clip(canvas.q, 0, None)
    chin = 1 + 0.09 * face["mouth_open"]  # the jaw drops with the mouth
    width = who["head_width"] * (1 - who["jaw"] * np.square(below))
    height = np.where(canvas.q < 0, np.float32(0.98), chin)
    radius = np.sqrt(np.square(canvas.p / width) + np.square(canvas.q / height))
    head = canvas.inside((1 - radius) * who["head_width"])
    canvas.paint(head, _skin(who))
    canvas.shade(head, 0.28 * np.square(np.square(radius)))
    stubble = np.clip(who["beard"], 0, 1)
    edge = canvas.q - 0.30 - 0.25 * np.square(1 - np.abs(canvas.p))
    canvas.paint(head * np.clip(edge * 5, 0, 1) * stubble, _hair(who))


def _paint_fringe(canvas: _Canvas, who: Columns) -> None:
    width, volume = who["head_width"], who["hair_volume"]
    cap = canvas.ellipse(0.0, -0.22, width + 0.7 * volume, 0.80 + volume)
    line = who["fringe"] + 0.75 * np.square(np.square(canvas.p / width)) + who["parting"] * canvas.p
    cap *= canvas.inside(np.minimum(line, 0.05) - canvas.q)
    shine = 0.9 + 0.25 * np.clip(1 - np.abs(canvas.q + 0.85) * 4, 0, 1)
    canvas.paint(cap, [value * shine for value in _hair(who)])


def _paint_cheeks_and_nose(canvas: _Canvas, who: Columns, face: Columns) -> None:
    tip = who["eye_height"] + who["nose_length"] + 0.06 - 0.05 * face["wrinkle"]
    width = who["nose_width"] * (1 + 0.25 * face["wrinkle"])
    lifted = np.clip(face["mouth_curve"], 0, 1) * 0.5 + face["wrinkle"] * 0.5
    # The nasolabial fold of a smile or a sneer.
    along = (canvas.q - tip) / 0.24
    for side in (-1.0, 1.0):
        cheek = canvas.ellipse(side * 0.42, 0.28 - 0.06 * lifted, 0.17, 0.12)
        canvas.paint(cheek * (who["blush"] + 0.15 * lifted), _plain(0.93, 0.42, 0.40))
        fold = np.abs(canvas.p - side * (width + 0.06 + 0.20 * along))
        fold_cover = canvas.inside(np.minimum(0.018 - fold, 0.5 - np.abs(along - 0.5)))
        canvas.shade(fold_cover, 0.5 * lifted)
        canvas.shade(canvas.ellipse(side * 0.55 * width, tip + 0.01, 0.030, 0.022), 0.55)
        wing = canvas.ellipse(side * width, tip - 0.02, 0.035, 0.05)
        canvas.shade(wing, 0.22)
    bridge = canvas.ellipse(-0.03, (tip + who["eye_height"]) / 2, 0.045, 0.17)
    canvas.shade(bridge, -0.12)
    canvas.shade(canvas.ellipse(0.0, tip - 0.03, 0.06, 0.05), -0.12)
    # Three creases on the bridge of a wrinkled nose.
    bent = canvas.q - who["eye_height"] - 0.03 + 0.25 * np.abs(canvas.p)
    crease = 0.02 - np.abs(np.mod(bent, 0.075) - 0.0375)
    patch = np.minimum(0.11 - np.abs(canvas.p), 0.11 - np.abs(bent))
    canvas.shade(canvas.inside(np.minimum(crease, patch)), 0.8 * np.square(face["wrinkle"]))


def _paint_eye(canvas: _Canvas, who: Columns, face: Columns, side: float) -> None:
    centre_p, centre_q = side * who["eye_distance"], who["eye_height"]
    half = 0.245 * who["eye_size"]
    t = (canvas.p - centre_p) / half
    bow = 1 - np.square(t)
    rest = np.clip(1 + face["eye_open"], 0, None) * (1 - (face["wink"] if side > 0 else 0 * face["wink"]))
    upper = (0.155 * rest - 0.045 * (1 - np.clip(rest, 0, 1))) * who["eye_size"]
    lower = (0.085 + 0.035 * np.clip(face["eye_open"], 0, 1) - 0.055 * face["wrinkle"]) * who["eye_size"]
    top = centre_q - upper * bow
    bottom = centre_q + np.maximum(lower, -upper) * bow
    white = canvas.inside(np.minimum(canvas.q - top, bottom - canvas.q))
    canvas.shade(canvas.ellipse(centre_p, centre_q - 0.02, half * 1.15, 0.19), 0.10)
    canvas.paint(white, _plain(0.97, 0.97, 0.96))
    iris_p = centre_p + 0.11 * face["gaze_side"]
    iris_q = centre_q - 0.02 - 0.075 * face["gaze_up"]
    iris = _mix((0.30, 0.17, 0.08), (0.30, 0.58, 0.75), who["iris"])
    canvas.paint(white * canvas.ellipse(iris_p, iris_q, 0.115, 0.115), iris)
    canvas.paint(white * canvas.ellipse(iris_p, iris_q, 0.055, 0.055), _plain(0.03, 0.03, 0.04))
    canvas.paint(white * canvas.ellipse(iris_p - 0.035, iris_q - 0.035, 0.028, 0.028), _plain(1, 1, 1))
    along = 1.08 - np.abs(t)
    canvas.shade(canvas.inside(np.minimum(0.020 - np.abs(canvas.q - top), along)), 0.85)
    canvas.shade(canvas.inside(np.minimum(0.010 - np.abs(canvas.q - bottom), along)), 0.45)


def _paint_brow(canvas: _Canvas, who: Columns, face: Columns, side: float) -> None:
    t = side * (canvas.p - side * (who["eye_distance"] + 0.01)) / 0.25  # -1 at the nose, 1 at the temple
    lift = 0.12 * face["brow_raise"] - 0.10 * face["brow_inner"] * np.clip(t, -1, 1)
    if side > 0:
        lift = lift + 0.07 * face["mouth_skew"] - 0.07 * face["wink"]
    line = who["eye_height"] - who["brow_height"] - lift + 0.045 * np.square(t)
    thickness = who["brow_thickness"] * (1.1 - 0.4 * np.clip(t, -1, 1))
    stroke = np.minimum(thickness - np.abs(canvas.q - line), (1 - np.abs(t)) * 0.25)
    canvas.paint(canvas.inside(stroke) * 0.92, _hair(who, 0.75))


def _paint_mouth(canvas: _Canvas, who: Columns, face: Columns) -> None:
    half = who["mouth_width"] * (1 + 0.40 * face["mouth_width"])
    t = np.clip(canvas.p / half, -1.5, 1.5)
    bow = 1 - np.square(t)
    line = who["mouth_height"] + 0.20 * face["mouth_curve"] * (0.45 - np.square(t))
    line = line - 0.10 * face["mouth_skew"] * (t + np.square(t))
    opening = np.maximum(face["mouth_open"], 0.30 * face["teeth"])
    top, bottom = line - 0.10 * opening * bow, line + 0.33 * opening * bow
    thick = who["lip_thickness"] * (1 - 0.45 * face["mouth_width"])
    lips = np.minimum(canvas.q - top + thick * bow * (0.8 + 0.25 * np.abs(t)), bottom + 1.15 * thick * bow - canvas.q)
    red = _mix((0.62, 0.36, 0.33), (0.84, 0.24, 0.28), who["lip_red"])
    skin = _skin(who)
    canvas.paint(canvas.inside(lips), [0.8 * a + 0.2 * b for a, b in zip(red, skin, strict=True)])
    # A closed mouth still shows a dark line between the lips, hence the margin; it ends at the corners.
    gap = np.minimum(canvas.q - top, bottom - canvas.q) + 0.012
    inside = canvas.inside(np.minimum(gap, half - np.abs(canvas.p)))
    canvas.paint(inside, _plain(0.24, 0.05, 0.07))
    canvas.paint(inside * canvas.ellipse(0.0, bottom, half * 0.6, 0.12 * opening + 0.01), _plain(0.80, 0.36, 0.38))
    row = np.minimum(0.11, 0.30 * opening)
    teeth = canvas.inside(np.maximum(top + row - canvas.q, canvas.q - bottom + 0.7 * row * (face["teeth"] - 0.3)))
    canvas.paint(inside * teeth * np.clip(2 * face["teeth"], 0, 1), _plain(0.97, 0.96, 0.92))
    corner = np.minimum(0.012 - np.abs(canvas.q - line), 1.12 - np.abs(t))
    canvas.shade(canvas.inside(corner) * (1 - inside), 0.5)
    canvas.shade(canvas.ellipse(0.0, who["mouth_height"] + 0.19 + 0.30 * opening, 0.12, 0.03), 0.14)


def _paint_glasses(canvas: _Canvas, who: Columns) -> None:
    worn = np.clip(who["glasses"] * 4, 0, 1)
    for side in (-1.0, 1.0):
        radius = np.sqrt(
            np.square((canvas.p - side * who["eye_distance"]) / 1.15) + np.square(canvas.q - who["eye_height"] + 0.01)
        )
        canvas.shade(canvas.inside(0.018 - np.abs(radius - 0.28)) * worn, 0.75)
    bar = np.minimum(0.05 - np.abs(canvas.p), 0.015 - np.abs(canvas.q - who["eye_height"] + 0.02))
    canvas.shade(canvas.inside(bar) * worn, 0.75)
