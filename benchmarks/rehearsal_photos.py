"""Photos of ``rehearsal.py``: made from a few source faces by crop, scale, turn and light.

A photo shows one to four tiles side by side, each a source face. The true similarity of two faces is that of their
sources. Everything about a photo follows from the seed and its number.

Shape suffixes: S source faces, E coordinates of an expression.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from fecnet.synthetic.expressions import sample_expressions, to_perceptual
from fecnet.synthetic.rendering import render_faces, sample_identities
from fecnet.utils.files import replace_bytes

FACES_OF_A_PHOTO = (1, 1, 1, 2, 2, 4)  # 1.8 on average: 87,500 photos and 156,000 faces, as in FEC
_NUM_DRAWN, _DRAWN_SIDE, _CHUNK = 96, 96, 16
_DRAWN_BOX = (0.18, 0.12, 0.82, 0.92)  # of the head in a drawn face, fractions
_GREY = (90, 90, 90)  # around the tiles
_MIN_FACE = 48  # pixels; smaller source faces are not used
_INNER = slice(17, 68)  # brows, nose, eyes, mouth of 68 landmarks
_EYES = (slice(36, 42), slice(42, 48))
_COORDINATES = 6


@dataclass(frozen=True)
class Sources:
    """Faces from which the photos are made.

    Attributes:
        kind: ``photos`` or ``drawn``.
        images: the picture of each face.
        box_S4: x1, y1, x2, y2 of each face in pixels, shape (S, 4).
        expression_SE: coordinates whose Euclidean distance is the true one, shape (S, E).
        label_S: one of four coarse classes of expressions, shape (S,).
    """

    kind: str
    images: list[Image.Image]
    box_S4: np.ndarray
    expression_SE: np.ndarray
    label_S: np.ndarray


@dataclass(frozen=True)
class Tile:
    """A face of a photo.

    Attributes:
        source: which source face.
        side: of the tile, pixels.
        span: side of the square of the source's picture that is seen, its pixels.
        centre: of this square.
        radians: by which it is turned.
        light: factor of the brightness.
    """

    source: int
    side: int
    span: float
    centre: tuple[float, float]
    radians: float
    light: float

    def matrix(self) -> tuple[float, ...]:
        """The affine map from pixels of the tile to pixels of the source's picture, as Pillow takes it."""
        cos, sin = (turn * self.span / self.side for turn in (math.cos(self.radians), math.sin(self.radians)))
        half, (x, y) = self.side / 2, self.centre
        return cos, -sin, x - half * (cos - sin), sin, cos, y - half * (sin + cos)

    def box(self, box_4: np.ndarray) -> np.ndarray:
        """Edges x1, y1, x2, y2 of the turned face in pixels of the tile."""
        a, b, c, d, e, f = self.matrix()
        x, y = box_4[[0, 2, 0, 2]] - c, box_4[[1, 1, 3, 3]] - f
        corners_24 = np.linalg.inv([[a, b], [d, e]]) @ np.stack([x, y])
        return np.concatenate([corners_24.min(axis=1), corners_24.max(axis=1)]).clip(0, self.side)


def open_sources(folder: Path | None) -> Sources:
    """The annotated faces of a folder, or drawn faces where it is None."""
    if folder is None:
        expression_SE, identity_SI = sample_expressions(_NUM_DRAWN, seed=0)[0], sample_identities(_NUM_DRAWN, seed=1)
        chunks = [slice(first, first + _CHUNK) for first in range(0, _NUM_DRAWN, _CHUNK)]
        drawn = np.concatenate([render_faces(identity_SI[each], expression_SE[each], _DRAWN_SIDE) for each in chunks])
        box_S4 = np.tile(np.array(_DRAWN_BOX) * _DRAWN_SIDE, (_NUM_DRAWN, 1))
        coordinates = to_perceptual(expression_SE)
        return Sources("drawn", [*map(Image.fromarray, drawn)], box_S4, coordinates, _labels(coordinates))
    images, boxes, points = [], [], []
    for entry in json.loads((folder / "annotations.json").read_text()):
        with Image.open(folder / "images" / entry["file"]) as opened:
            image = opened.convert("RGB")
        for face in entry["faces"]:
            box = face["box_from_landmarks"]
            if max(box[2] - box[0], box[3] - box[1]) >= _MIN_FACE:
                images.append(image)
                boxes.append(box)
                points.append(face["landmarks68"])
    coordinates = _expressions(np.array(points, np.float64))
    return Sources("photos", images, np.array(boxes), coordinates, _labels(coordinates))


def _expressions(points_SP2: np.ndarray) -> np.ndarray:
    """Principal components of the inner landmarks, with the eyes in one place, shape (S, E)."""
    left, right = (points_SP2[:, eye].mean(axis=1) @ [1, 1j] for eye in _EYES)
    inner = points_SP2[:, _INNER] @ [1, 1j]
    aligned = (inner - ((left + right) / 2)[:, None]) / (right - left)[:, None]
    flat = np.concatenate([aligned.real, aligned.imag], axis=1)
    flat -= flat.mean(axis=0)
    left_vectors, scale, _ = np.linalg.svd(flat, full_matrices=False)
    return np.asarray((left_vectors * scale)[:, :_COORDINATES])


def _labels(expression_SE: np.ndarray) -> np.ndarray:
    """Four classes, by the medians of the two coordinates that vary most."""
    most_2 = np.argsort(expression_SE.var(axis=0))[-2:]
    above = expression_SE[:, most_2] > np.median(expression_SE[:, most_2], axis=0)
    return np.asarray(above @ [2, 1])


def tiles_of(number: int, sources: Sources, seed: int) -> list[Tile]:
    """The faces of a photo."""
    rng = np.random.default_rng([seed, number])
    tiles = []
    for source in rng.integers(len(sources.images), size=rng.choice(FACES_OF_A_PHOTO)).tolist():
        box_4 = sources.box_S4[source]
        longer = float((box_4[2:] - box_4[:2]).max())
        x, y = (box_4[:2] + box_4[2:]) / 2 + longer * rng.uniform(-0.1, 0.1, 2)
        side, span, turn = int(rng.integers(160, 321)), longer * rng.uniform(1.5, 2.2), rng.uniform(-15, 15)
        tiles.append(Tile(source, side, span, (float(x), float(y)), math.radians(turn), rng.uniform(0.6, 1.3)))
    return tiles


def boxes_of(tiles: list[Tile], sources: Sources) -> list[str]:
    """The boxes as FEC writes them: left, right, top, bottom as fractions of the photo."""
    width, height, left, boxes = sum(tile.side for tile in tiles), max(tile.side for tile in tiles), 0, []
    for tile in tiles:
        x1, y1, x2, y2 = tile.box(sources.box_S4[tile.source])
        edges = ((left + x1) / width, (left + x2) / width, y1 / height, y2 / height)
        boxes.append(",".join(f"{edge:.9f}" for edge in edges))
        left += tile.side
    return boxes


def draw_photo(tiles: list[Tile], sources: Sources) -> bytes:
    """The photo as JPEG."""
    photo = Image.new("RGB", (sum(tile.side for tile in tiles), max(tile.side for tile in tiles)), _GREY)
    left = 0
    for tile in tiles:
        size = (tile.side, tile.side)
        method, smooth = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        seen = sources.images[tile.source].transform(size, method, tile.matrix(), smooth, fillcolor=_GREY)
        photo.paste(seen.point([min(255, round(tile.light * value)) for value in range(256)] * 3), (left, 0))
        left += tile.side
    held = io.BytesIO()
    photo.save(held, "JPEG", quality=88)
    return held.getvalue()


def write_photos(folder: Path, numbers: Iterable[int], sources: Sources, seed: int) -> None:
    """Draw the photos of these numbers; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [number for number in numbers if not photo_file(folder, number).exists()]
    for number in tqdm(todo, desc="drawing photos", unit="photo"):
        replace_bytes(photo_file(folder, number), draw_photo(tiles_of(number, sources, seed), sources))


def photo_file(folder: Path, number: int) -> Path:
    """Where the photo of this number lies."""
    return folder / f"{number}.jpg"
