"""A map of a data set's faces for a page: the layout of ``fecnet report``, with the net's outputs.

Shape suffixes: N faces on the map, D dimensions of the vectors that determine the layout.
"""

from __future__ import annotations

import io
import logging

import numpy as np
from PIL import Image, features

from fecnet.data.packed import PackedDataset
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.results import probabilities
from fecnet.evaluation.nearest import nearest
from fecnet.run_page.face_map import evenly, grid_size, lay_out, paint, to_cells
from fecnet.run_page.map_figure import COLOURS, labels_of, log_probabilities
from fecnet.serve.answers import MapAnswer, MapFace, MapNeighbour
from fecnet.serve.encoded import png
from fecnet.utils.errors import UserError

logger = logging.getLogger(__name__)

MOST = 2000  # faces; laid out in about 20 seconds
_FACE = 192  # pixels, at least, of a single face


class FaceMap:
    """Faces of a packed data set on a plane; neighbours are similar according to the net.

    Args:
        encoder: the net.
        dataset: a data set whose faces fit the net; at most ``MOST`` of them are used, evenly spaced.

    Attributes:
        answer: the positions of the faces.
        picture: the map, WebP or PNG.
        media_type: media type of the picture.

    Raises:
        UserError: the faces do not fit the net, or there are none.
    """

    def __init__(self, encoder: Encoder, dataset: PackedDataset) -> None:
        encoder.check_faces(dataset)
        total = len(dataset.faces_NHWC)
        if total == 0:
            raise UserError(f"{dataset.path}: holds no face; the map needs one")
        rows_N = evenly(total, MOST)
        logger.info(f"{dataset.path}: laying out a map of {len(rows_N):,} faces")
        outputs = encoder.encode(np.array(dataset.faces_NHWC[rows_N])).outputs
        probability_NK = probabilities(outputs["logits"]) if encoder.classes else np.zeros((len(rows_N), 0))
        embedded = "embedding" in outputs
        self._value_ND = outputs["embedding"] if embedded else log_probabilities(probability_NK)
        self._faces_NHWC, self._place = dataset.faces_NHWC, {row: n for n, row in enumerate(rows_N.tolist())}
        layout, side = lay_out(self._value_ND), grid_size(len(rows_N))
        cell_N = to_cells(layout.place_N2, side)
        names, label_N = labels_of(dataset, rows_N)
        coloured = 0 < len(names) <= len(COLOURS)
        frames = [COLOURS[label] if coloured and label >= 0 else None for label in label_N.tolist()]
        sheet = paint(dataset.faces_NHWC, rows_N, cell_N, side, frame_N=frames, band_N=[None] * len(rows_N))
        self.picture, self.media_type = _encoded(sheet)
        by = "embedding" if embedded else "class probabilities"
        self.answer = MapAnswer(
            name=dataset.path.resolve().name,
            method=f"by {by}; {layout.method}",
            side=side,
            total=total,
            labels=dict(zip(names, COLOURS, strict=False)) if coloured else {},
            faces=[
                MapFace(
                    row=row,
                    cell=cell,
                    label=names[label] if label >= 0 else "",
                    predicted=encoder.classes[int(probability_K.argmax())] if encoder.classes else "",
                    percent=round(100 * float(probability_K.max(initial=0))),
                )
                for row, cell, label, probability_K in zip(
                    rows_N.tolist(), cell_N.tolist(), label_N.tolist(), probability_NK, strict=True
                )
            ],
        )

    def __contains__(self, row: int) -> bool:
        return row in self._place

    def near(self, row: int, num: int) -> list[MapNeighbour]:
        """The nearest faces on the map of one of them, by row of the data set, without itself."""
        place = self._place[row]
        found = nearest(self._value_ND, self._value_ND[place][None], min(num + 1, len(self._place)))
        pairs = zip(found.row_QK[0].tolist(), found.distance_QK[0].tolist(), strict=True)
        rows = [face.row for face in self.answer.faces]
        return [MapNeighbour(row=rows[other], distance=far) for other, far in pairs if other != place][:num]

    def face(self, row: int) -> bytes:
        """One face of the map, PNG."""
        return png(self._faces_NHWC[row], _FACE)


def _encoded(sheet: Image.Image) -> tuple[bytes, str]:
    form, held = "WEBP" if features.check("webp") else "PNG", io.BytesIO()
    sheet.save(held, form, quality=85)
    return held.getvalue(), f"image/{form.lower()}"
