"""A second detection with lower thresholds, for photos that should contain a face but in which none was found.

Pictures of expression data sets show faces from chin to brow, often behind hands. How many faces of FER2013 MTCNN finds
in photos is in ``benchmarks/results/photo_in.json``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fecnet.faces.detections import Detections, Detector
from fecnet.faces.refine import detect_rotated

TURNS = (-20, 20)  # degrees
THRESHOLDS = (0.4, 0.4, 0.85)  # of MTCNN's stages: many candidates, but only one with a high final score is accepted


class SecondLook:
    """A ``Detector`` that runs a second one where the first finds no face, and takes its face with the highest score.

    Args:
        detector: the first detector.
        closer: the second one, run on the photo and on the photo rotated by ``TURNS``.
    """

    def __init__(self, detector: Detector, closer: Detector) -> None:
        self._detector, self._closer = detector, closer

    @property
    def name(self) -> str:
        """Names of both detectors, and the rotations."""
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
