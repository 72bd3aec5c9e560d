"""A second, closer look at photos in which a detector finds no face although one is meant.

Pictures of data sets of expressions show faces from chin to brow, often behind hands. What MTCNN finds of FER2013's in
photos is in ``benchmarks/results/photo_in.json``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fecnet.faces.detections import Detections, Detector
from fecnet.faces.refine import detect_rotated

TURNS = (-20, 20)  # degrees
THRESHOLDS = (0.4, 0.4, 0.85)  # of MTCNN: many candidates, of which only a sure one is taken


class SecondLook:
    """A ``Detector`` that asks another one where the first finds nothing, and takes its surest face.

    Args:
        detector: the first.
        closer: sees the photo as it is, and turned by ``TURNS``.
    """

    def __init__(self, detector: Detector, closer: Detector) -> None:
        self._detector, self._closer = detector, closer

    @property
    def name(self) -> str:
        """Name of the first detector, and of the second look."""
        return f"{self._detector.name}, else {self._closer.name} turned by {'/'.join(map(str, TURNS))}"

    def detect(self, image_HWC: np.ndarray) -> Detections:
        """The faces of one uint8 RGB photo."""
        return self.detect_batch([image_HWC])[0]

    def detect_batch(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """The faces of each photo, identical to ``detect``."""
        found = self._detector.detect_batch(images)
        return [faces if len(faces.scores_K) else self._surest(images[row]) for row, faces in enumerate(found)]

    def _surest(self, image_HWC: np.ndarray) -> Detections:
        """One face or none."""
        found = detect_rotated(image_HWC, self._closer.detect, turns=TURNS)
        return Detections(*(values[:1] for values in found))
