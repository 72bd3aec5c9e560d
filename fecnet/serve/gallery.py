"""An index of ``fecnet search`` for a page: neighbours and pictures, identified only by their row."""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePath

import numpy as np
from PIL import Image

from fecnet.faces.align import crop_box
from fecnet.faces.decode import decode_image
from fecnet.run_page.pictures import visible
from fecnet.search.index import Index
from fecnet.search.pictures import Pictures
from fecnet.serve.answers import Neighbour
from fecnet.serve.encoded import jpeg
from fecnet.utils.errors import UserError

MAX_NEIGHBOURS = 100
_MARGIN = 0.25  # margin of thumbnails on each side, as a fraction of the face's box
_THUMBNAIL, _WHOLE = 192, 1600  # pixels of the longer side
_KEPT = 1024  # thumbnails in memory, about 8 kB each


class Gallery:
    """An index with the pictures that it was built from.

    Pictures are decoded and encoded again, so that only pixels leave the server, and no metadata of files, such as
    where a photo was taken.

    Args:
        index: an index built with the served net.
    """

    def __init__(self, index: Index) -> None:
        self._index, self._pictures = index, Pictures(index)
        self._names = list(index.every_name())
        self.thumbnail = lru_cache(_KEPT)(self._thumbnail)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def dims(self) -> int:
        """Dimensions of a vector."""
        return self._index.vector_ND.shape[1]

    def near(self, vector_D: np.ndarray, num: int) -> list[Neighbour]:
        """The nearest faces of a vector, at most ``MAX_NEIGHBOURS``."""
        found = self._index.search(vector_D[None], num)
        return [
            self._neighbour(*pair) for pair in zip(found.row_QK[0].tolist(), found.distance_QK[0].tolist(), strict=True)
        ]

    def near_row(self, row: int, num: int) -> list[Neighbour]:
        """The nearest faces of one of the index, without itself."""
        found = self.near(self._index.vector_ND[row], num + 1)
        return [neighbour for neighbour in found if neighbour.row != row][:num]

    def _neighbour(self, row: int, distance: float) -> Neighbour:
        name = self._names[row]
        number = None if name.number < 0 else name.number
        # without the folder: clients must not learn the paths of files
        return Neighbour(row=row, distance=distance, name=PurePath(name.file).name, number=number)

    def _thumbnail(self, row: int) -> bytes:
        """The face of a row with a small margin, JPEG.

        Raises:
            UserError: its picture is missing or damaged.
        """
        image_HWC, box = self._open(row), self._names[row].box
        if box:
            image_HWC = crop_box(image_HWC, np.array(box), _MARGIN, _THUMBNAIL)
        return jpeg(image_HWC, _THUMBNAIL)

    def whole(self, row: int) -> bytes:
        """The picture of a row, JPEG.

        Raises:
            UserError: it is missing or damaged.
        """
        return jpeg(self._open(row), _WHOLE)

    def _open(self, row: int) -> np.ndarray:
        """uint8, shape (H, W, 3)."""
        try:
            item = self._pictures.open(self._names[row])
            image_HWC = np.asarray(item) if isinstance(item, np.ndarray) else decode_image(item)  # type: ignore[arg-type]
        except (UserError, OSError) as error:
            raise UserError(f"row {row}: its picture is gone, damaged, or another one by now") from error
        return np.asarray(Image.fromarray(visible(image_HWC)).convert("RGB"))
