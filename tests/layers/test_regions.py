"""The regions against a pixel-by-pixel resize."""

import math

import torch

from fecnet.layers.regions import face_regions


def resized(crop, height, width):
    """Bilinear, pixel centres at halves, borders repeated: one pixel at a time."""
    h, w = len(crop), len(crop[0])
    found = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            at_y = min(max((y + 0.5) * h / height - 0.5, 0.0), h - 1.0)
            at_x = min(max((x + 0.5) * w / width - 0.5, 0.0), w - 1.0)
            y0, x0 = math.floor(at_y), math.floor(at_x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            fy, fx = at_y - y0, at_x - x0
            above = float(crop[y0, x0]) * (1 - fx) + float(crop[y0, x1]) * fx
            below = float(crop[y1, x0]) * (1 - fx) + float(crop[y1, x1]) * fx
            found[y, x] = above * (1 - fy) + below * fy
    return found


def test_regions_are_the_whole_face_and_five_crops():
    image = torch.rand(2, 3, 40, 20, generator=torch.Generator().manual_seed(0))
    found = face_regions(image)
    assert found.shape == (2, 6, 3, 40, 20)
    assert torch.equal(found[:, 0], image)
    crops = {
        1: image[:, :, :30, :15],  # top left
        2: image[:, :, :30, 5:],  # top right
        3: image[:, :, 10:, 2:17],  # bottom centre
        4: image[:, :, 2:38, 1:19],  # centre, 90 %
        5: image[:, :, 3:37, 1:18],  # centre, 85 %
    }
    for place, crop in crops.items():
        for n, c in ((0, 0), (1, 2)):
            torch.testing.assert_close(found[n, place, c], resized(crop[n, c], 40, 20), rtol=1e-5, atol=1e-6)


def test_an_even_image_stays_even():
    assert torch.allclose(face_regions(torch.full((1, 1, 48, 48), 0.3)), torch.tensor(0.3))
