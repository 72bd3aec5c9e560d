"""Means by the table against torch's own, at sizes that do not divide."""

import pytest
import torch
from torch.nn.functional import interpolate

from fecnet.faces import area_table
from fecnet.faces.area_table import AreaTable


def photo(height=37, width=53):
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_torch(image_HWC, height, width):
    found = interpolate(image_HWC.permute(2, 0, 1)[None].double(), size=(height, width), mode="area")
    return found[0].permute(1, 2, 0).float()


def test_the_whole_and_its_parts_are_torchs_means_smaller_and_larger():
    image = photo()
    table = AreaTable(image)
    for height, width in ((12, 12), (37, 53), (5, 60), (80, 1)):
        torch.testing.assert_close(table.resized(height, width), by_torch(image, height, width))
    boxes = torch.tensor([[0, 0, 53, 37], [10, 3, 11, 4], [50, 0, 53, 30], [7, 9, 40, 33]])
    expected = [by_torch(image[top:bottom, left:right], 24, 24) for left, top, right, bottom in boxes.tolist()]
    torch.testing.assert_close(table.crops(boxes, 24), torch.stack(expected))


@pytest.mark.slow
def test_sums_beyond_32_bits(monkeypatch):
    image = torch.full((4100, 4100, 1), 255, dtype=torch.uint8)  # 4.3e9 in all
    torch.testing.assert_close(AreaTable(image).resized(2, 2), torch.full((2, 2, 1), 255.0))
    monkeypatch.setattr(area_table, "_INT32_PIXELS", 10**9)
    assert AreaTable(image).resized(1, 1).item() != 255
