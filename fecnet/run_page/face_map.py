"""The face map: the evaluated faces as thumbnails on a two-dimensional layout of their outputs.

Each face is placed in the free grid cell nearest to its coordinates, so that no face covers another.

Shape suffixes: N faces, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from fecnet.run_page.pictures import visible

MAX_FACES = 4000  # maximum faces on a map; more are subsampled evenly, since t-SNE takes more than linear time
_SEED = 0
_PERPLEXITY = 30.0
_TSNE_ITERATIONS = 500
_ANGLE = 0.7  # Barnes-Hut angle of t-SNE: 0.5, the default, takes a third longer for the same divergence
_CELLS_PER_FACE = 2.2
_SIDE = 2400  # pixels of the whole picture
_CELLS = (14, 64)  # pixels of a cell
_FRAME = 2  # pixels, in the colour of the face's class


@dataclass(frozen=True)
class Layout:
    """Coordinates of faces.

    Attributes:
        place_N2: coordinates, any unit.
        method: how they were computed, in words.
    """

    place_N2: np.ndarray
    method: str


def lay_out(value_ND: np.ndarray) -> Layout:
    """t-SNE (arXiv:1301.3342), or PCA for very few faces or without scikit-learn; deterministic.

    Args:
        value_ND: finite, at least one face.
    """
    if value_ND.shape[1] <= 2:
        return Layout(np.pad(value_ND, ((0, 0), (0, 2 - value_ND.shape[1]))), "as they are")
    num = len(value_ND)
    if num < 4:
        return Layout(principal(value_ND), "PCA; t-SNE is for 4 faces or more")
    if not np.ptp(value_ND, 0).max() > 0:  # nothing to lay out, and t-SNE would divide by zero
        return Layout(principal(value_ND), "PCA; all faces have the same output")
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return Layout(principal(value_ND), "PCA; scikit-learn is absent, t-SNE needs it: pip install 'fecnet[viz]'")
    perplexity = min(_PERPLEXITY, (num - 1) / 3)
    tsne = TSNE(init="pca", perplexity=perplexity, max_iter=_TSNE_ITERATIONS, angle=_ANGLE, random_state=_SEED)
    return Layout(tsne.fit_transform(value_ND), f"t-SNE from PCA, perplexity {perplexity:.3g}, seed {_SEED}")


def principal(value_ND: np.ndarray) -> np.ndarray:
    """The first two principal components, shape (N, 2); signs are fixed."""
    centred_ND = value_ND - value_ND.mean(0)
    _, directions_DD = np.linalg.eigh(centred_ND.T @ centred_ND)
    top_D2 = directions_DD[:, ::-1][:, :2]
    top_D2 = top_D2 * np.where(np.take_along_axis(top_D2, np.abs(top_D2).argmax(0)[None], 0) < 0, -1, 1)
    return centred_ND @ top_D2


def evenly(num: int, most: int) -> np.ndarray:
    """At most ``most`` of ``num`` indices, evenly spaced."""
    return np.arange(num) if num <= most else np.linspace(0, num - 1, most).round().astype(np.int64)


def grid_size(num_faces: int) -> int:
    """Cells a side."""
    return max(2, int(np.ceil(np.sqrt(_CELLS_PER_FACE * num_faces))))


def to_cells(place_N2: np.ndarray, side: int) -> np.ndarray:
    """A separate cell for each face, numbered row by row from the top left, int64, shape (N,).

    A face gets its own cell or the nearest free one; faces in the middle of the plane are placed first.

    Args:
        place_N2: coordinates, the second one upwards.
        side: cells a side; ``side`` squared must be at least N.
    """
    low_2, high_2 = place_N2.min(0), place_N2.max(0)
    extent_2 = np.where(high_2 > low_2, high_2 - low_2, 1.0)
    wanted_N2 = np.where(high_2 > low_2, (place_N2 - low_2) / extent_2, 0.5) * (side - 1)
    wanted_N2[:, 1] = side - 1 - wanted_N2[:, 1]
    free = np.ones((side, side), bool)  # by row and column
    down, across = np.mgrid[:side, :side]
    cell_N = np.empty(len(place_N2), np.int64)
    for n in np.argsort(((wanted_N2 - (side - 1) / 2) ** 2).sum(1), kind="stable"):
        x, y = wanted_N2[n]
        row, column = round(y), round(x)
        if not free[row, column]:
            row, column = _nearest_free(free, down, across, x, y)
        free[row, column] = False
        cell_N[n] = row * side + column
    return cell_N


def _nearest_free(free: np.ndarray, down: np.ndarray, across: np.ndarray, x: float, y: float) -> tuple[int, int]:
    """The free cell nearest to a point; searches windows around it, each twice as wide as the one before."""
    side, reach = len(free), 2
    while True:
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        window = np.s_[top : int(y) + reach + 2, left : int(x) + reach + 2]
        far = np.where(free[window], (down[window] - y) ** 2 + (across[window] - x) ** 2, np.inf)
        best = far.argmin()
        # a nearer free cell may be just outside the window
        if far.flat[best] <= reach**2 or reach > side:
            row, column = np.unravel_index(best, far.shape)
            return top + int(row), left + int(column)
        reach *= 2


def paint(
    faces_NHWC: np.ndarray,
    rows_N: np.ndarray,
    cell_N: np.ndarray,
    side: int,
    *,
    frame_N: Sequence[str | None],
    band_N: Sequence[str | None],
) -> Image.Image:
    """The map as an image, transparent where there is no face.

    Args:
        faces_NHWC: all faces, uint8.
        rows_N: those on the map.
        cell_N: their cells.
        side: cells a side.
        frame_N: colours of their frames, or None for no frame.
        band_N: colours of bands along their lower edges, or None for no band.
    """
    size = int(np.clip(_SIDE // side, *_CELLS))
    sheet = Image.new("RGBA", (side * size, side * size))
    draw = ImageDraw.Draw(sheet)
    for row, cell, frame, band in zip(rows_N.tolist(), cell_N.tolist(), frame_N, band_N, strict=True):
        left, top = cell % side * size, cell // side * size
        image = Image.fromarray(visible(faces_NHWC[row])).resize((size, size), Image.Resampling.BILINEAR)
        sheet.paste(image, (left, top))
        corners = (left, top, left + size - 1, top + size - 1)
        if frame:
            draw.rectangle(corners, outline=frame, width=_FRAME)
        if band:
            draw.rectangle((left, top + size - max(4, size // 5), *corners[2:]), fill=band)
    return sheet
