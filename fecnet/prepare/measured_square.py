"""Measures what the pictures of a data set show around a face, so that nets trained on it can crop photos alike."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detector
from fecnet.faces.face_square import LEAST_FOUND, measure_square
from fecnet.faces.recipe import FaceRecipe
from fecnet.utils.errors import UserError

logger = logging.getLogger(__name__)

_UNKNOWN = "nets will cut photos to the detector's box, as it is not known how much these pictures show around a face"


def with_square(recipe: FaceRecipe, faces_NHWC: np.ndarray, detector: Detector | None = None) -> FaceRecipe:
    """The recipe with the square that its pictures show; unchanged where the crop of a photo is determined already.

    Args:
        recipe: recipe of the faces; aligned faces and hull crops are cut by landmarks and need no square.
        faces_NHWC: the faces of the data set, uint8, shape (N, S, S, C); a mask channel is ignored.
        detector: the detector of the recipe; None: MTCNN, where it is installed.
    """
    if recipe.align or recipe.hull or len(faces_NHWC) < LEAST_FOUND:
        return recipe
    try:
        detector = detector or build_detector("mtcnn")
    except UserError as error:
        logger.info(f"{_UNKNOWN}: {error}")
        return recipe
    colours = 3 if faces_NHWC.shape[3] >= 3 else 1
    square = measure_square(faces_NHWC[..., :colours], detector)
    if square is None:
        logger.info(f"{_UNKNOWN}: too few faces are found in them")
        return recipe
    logger.info(
        f"the pictures show a square of {square.side:.2f} of the side of the detector's box (median of {square.found} "
        "faces); nets cut the same square from photos"
    )
    return replace(recipe, square=square)
