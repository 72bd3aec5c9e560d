"""From halves and quarters comes what comes from all pixels."""

import numpy as np
import pytest
from PIL import Image

from fecnet.faces.pyramid import Pyramid


def photo(height=83, width=121):
    coarse = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def shrunk(image_HWC, box, size):
    return np.asarray(Image.fromarray(image_HWC).resize(size, Image.Resampling.HAMMING, box=box)).astype(int)


@pytest.mark.parametrize("shape", [(83, 121), (64, 64), (40, 100), (17, 20), (6, 8), (90, 130)])
def test_the_whole_at_any_size(shape):
    image_HWC = photo()
    found_HWC = Pyramid(image_HWC).resized(*shape)
    assert found_HWC.shape == (*shape, 3) and found_HWC.dtype == np.uint8
    assert np.abs(found_HWC - shrunk(image_HWC, (0, 0, 121, 83), shape[::-1])).max() <= 8


def test_crops_are_those_of_the_photo_small_large_and_at_its_edges():
    image_HWC = photo()
    boxes = [(0, 0, 121, 83), (3, 5, 4, 6), (90, 60, 121, 83), (10, 20, 58, 68), (0, 0, 9, 11), (20, 0, 120, 83)]
    crops_KSS3 = Pyramid(image_HWC).crops(boxes, 12)
    assert crops_KSS3.shape == (6, 12, 12, 3)
    for crop_SS3, box in zip(crops_KSS3, boxes, strict=True):
        assert np.abs(crop_SS3 - shrunk(image_HWC, box, (12, 12))).max() <= 8
    assert Pyramid(image_HWC).crops([], 12).shape == (0, 12, 12, 3)


def test_a_photo_is_not_changed_and_small_crops_are_its_own_pixels():
    image_HWC = photo()
    before = image_HWC.copy()
    assert np.array_equal(Pyramid(image_HWC).crops([(4, 6, 28, 30)], 24)[0], before[6:30, 4:28])
    assert np.array_equal(image_HWC, before)
