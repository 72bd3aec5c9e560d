"""Faces where the work is: the same whether read ahead or resident; what does not fit is refused with both sizes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from fecnet.data import faces
from fecnet.data.faces import MappedFaces, ResidentFaces, place_faces

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def stored():
    return np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), np.uint8)


@pytest.mark.parametrize("kind", [MappedFaces, ResidentFaces])
def test_faces_by_row(stored, kind, monkeypatch):
    monkeypatch.setattr(faces, "_CHUNK_BYTES", 7 * stored[0].nbytes)  # copied in eight chunks
    row_U = torch.tensor([49, 0, 7, 8, 7])
    with ThreadPoolExecutor(1) as ahead:
        image_UCHW = kind(stored, CPU).begin(row_U, ahead)()
    assert image_UCHW.shape == (5, 3, 6, 5) and image_UCHW.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(image_UCHW.permute(0, 2, 3, 1).numpy(), stored[row_U.numpy()])


@pytest.mark.parametrize(
    ("device", "resident", "free", "kind"),
    [
        (CPU, "auto", 10, "mapped"),
        (CPU, "always", 1, "resident"),
        (GPU, "auto", 2, "resident"),
        (GPU, "auto", 1.9, "mapped"),
        (GPU, "never", 10, "mapped"),
        (GPU, "always", 1, "resident"),
    ],
)
def test_auto_copies_to_a_gpu_that_has_room(stored, monkeypatch, device, resident, free, kind):
    monkeypatch.setattr(faces, "free_memory", lambda device: int(free * stored.nbytes))
    monkeypatch.setattr(faces, "MappedFaces", lambda *_: "mapped")
    monkeypatch.setattr(faces, "ResidentFaces", lambda *_: "resident")
    assert place_faces(stored, device, resident) == kind


def test_faces_that_do_not_fit_are_refused_with_both_sizes(stored, monkeypatch):
    large = np.broadcast_to(stored[:1], (40_000_000, 6, 5, 3))  # 3.6 GB that nobody holds
    monkeypatch.setattr(faces, "free_memory", lambda device: 2_000_000_000)
    expected = (
        r"DATA\.CACHE_ON_DEVICE: 'always', but the faces take 3\.6 GB and cuda:0 has 2\.0 GB free; allowed here: auto"
    )
    with pytest.raises(ValueError, match=expected):
        place_faces(large, GPU, "always")
    with pytest.raises(ValueError, match=r"DATA\.CACHE_ON_DEVICE: unknown word 'yes'; allowed: auto, always, never"):
        place_faces(stored, CPU, "yes")
