"""The sheet has a row per query, the query first, and survives few faces and duplicates."""

import numpy as np
import pytest
import torch
from PIL import Image

from fecnet.evaluation import neighbours


@pytest.mark.parametrize("num_faces", [1, 5, 30])
def test_rows_start_with_their_query_and_its_nearest(tmp_path, monkeypatch, num_faces):
    faces = np.random.default_rng(0).integers(0, 256, (40, 48, 48, 1), np.uint8)
    rows = np.arange(num_faces) + 3
    embedding = torch.nn.functional.normalize(torch.randn(num_faces, 16, generator=torch.Generator().manual_seed(0)))
    seen = {}
    real = neighbours.contact_sheet

    def spy(image_NHWC, columns, path, captions):
        seen.update(images=image_NHWC, columns=columns, captions=captions)
        real(image_NHWC, columns, path, captions)

    monkeypatch.setattr(neighbours, "contact_sheet", spy)
    neighbours.neighbour_sheet(faces, rows, embedding, tmp_path / "sheet.png")
    columns = min(8, num_faces)
    assert seen["columns"] == columns
    assert len(seen["images"]) == columns * min(6, num_faces)
    assert seen["captions"][::columns] == ["query"] * min(6, num_faces)
    first = embedding[0]
    order = (embedding - first).square().sum(1).argsort()[:columns]
    for image, k in zip(seen["images"][:columns], order.tolist(), strict=True):
        np.testing.assert_array_equal(image[::2, ::2], faces[rows[k]])
    assert Image.open(tmp_path / "sheet.png").size[0] > 96
