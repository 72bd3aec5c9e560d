"""The sheet has a row per query, the query first, and survives few faces and duplicates."""

import numpy as np
import pytest
import torch
from PIL import Image

from fecnet.evaluation import neighbours
from tests.search.vectors import near_copies


def test_a_query_comes_before_its_copies_and_captions_are_exact(tmp_path, monkeypatch):
    """|a|² + |b|² − 2ab gives copies a distance above 0, and another face the first place."""
    vectors = near_copies(3)
    embedding = np.concatenate([np.repeat(vectors[:2], [12, 1], axis=0), vectors[2:], vectors[:1]])
    faces = np.arange(18, dtype=np.uint8)[:, None, None, None].repeat(48, 1).repeat(48, 2)
    seen = {}
    monkeypatch.setattr(neighbours, "contact_sheet", lambda images, columns, path, captions: seen.update(vars()))
    neighbours.neighbour_sheet(faces, np.arange(18), embedding, tmp_path / "sheet.png", num_queries=18, num=3)
    shown = seen["images"][:, 0, 0, 0].reshape(18, 4)
    assert sorted(shown[:, 0]) == list(range(18))
    for row in shown.tolist():
        if row[0] < 12 or row[0] == 17:
            assert set(row[1:]) <= {*range(12), 17} - {row[0]}
    assert seen["captions"][:4] == ["query", "0.000", "0.000", "0.000"]


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
    neighbours.neighbour_sheet(faces, rows, embedding.numpy(), tmp_path / "sheet.png")
    columns = min(8, num_faces)
    assert seen["columns"] == columns
    assert len(seen["images"]) == columns * min(6, num_faces)
    assert seen["captions"][::columns] == ["query"] * min(6, num_faces)
    first = embedding[0]
    order = (embedding - first).square().sum(1).argsort()[:columns]
    for image, k in zip(seen["images"][:columns], order.tolist(), strict=True):
        np.testing.assert_array_equal(image[::2, ::2], faces[rows[k]])
    assert Image.open(tmp_path / "sheet.png").size[0] > 96
