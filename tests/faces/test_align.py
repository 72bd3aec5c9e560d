"""Alignment: exact on similar faces, faithful in pixels, without aliasing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fecnet.faces import align
from fecnet.faces.align import (
    TEMPLATE,
    align_face,
    align_matrix,
    crop_box,
    invert,
    similarity_transform,
    transform_points,
)

# A face that no similarity brings exactly to the template.
FACE = TEMPLATE * 100 + np.array([[3, 1], [-2, 2], [4, -3], [1, 1], [0, -4]])


def similarity(angle, scale, shift):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, shift])


@given(st.floats(-3.14, 3.14), st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_turned_scaled_and_shifted_points_align_alike(angle, scale, x, y):
    moved_52 = transform_points(FACE, similarity(angle, scale, (x, y)))
    aligned_52 = transform_points(moved_52, align_matrix(moved_52, 112))
    assert np.allclose(aligned_52, transform_points(FACE, align_matrix(FACE, 112)), atol=1e-6)


@given(st.floats(-3.14, 3.14), st.floats(0.05, 20), st.floats(-500, 500))
def test_a_similar_template_comes_back_exactly(angle, scale, x):
    moved_52 = transform_points(TEMPLATE, similarity(angle, scale, (x, -x)))
    assert np.allclose(transform_points(moved_52, align_matrix(moved_52, 64)), TEMPLATE * 64, atol=1e-6)


def umeyama(source, target):
    """The textbook's singular value decomposition (Umeyama 1991, equations 38 to 42)."""
    covariance = (target - target.mean(0)).T @ (source - source.mean(0)) / len(source)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    scale = np.trace(np.diag(d) @ sign) / ((source - source.mean(0)) ** 2).sum(1).mean()
    turn = scale * u @ sign @ vt
    return np.column_stack([turn, target.mean(0) - turn @ source.mean(0)])


@pytest.mark.parametrize("seed", range(5))
def test_transform_is_umeyamas(seed):
    source, target = np.random.default_rng(seed).normal(size=(2, 5, 2))
    assert np.allclose(similarity_transform(source, target), umeyama(source, target))


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_impossible_points_are_refused(points):
    with pytest.raises(ValueError, match="landmarks"):
        align_face(np.zeros((8, 8, 3), np.uint8), points, 32)


def smooth(height, width, period):
    y_HW, x_HW = np.mgrid[:height, :width] + 0.5
    wave_HW = np.sin(2 * np.pi * x_HW / period) + np.cos(2 * np.pi * y_HW / period)
    return np.stack([128 + 60 * wave_HW, 128 - 60 * wave_HW, 128 + 0 * wave_HW], axis=-1).round().astype(np.uint8)


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.4, 0.7), (-1.0, 2.6), (2.0, 5.0), (0.5, 13.0)])
def test_pixels_come_from_where_the_matrix_says(angle, scale):
    """Against the wave's formula at the inverse-mapped pixel centres: half a pixel off would show."""
    size, period = 40, 20 * scale
    image_HWC = smooth(int(90 * scale), int(100 * scale), period)
    centre = np.array([50 * scale, 45 * scale])
    placed_52 = transform_points(TEMPLATE * size - size / 2, similarity(angle, scale, centre))
    face_HWC = align_face(image_HWC, placed_52, size).astype(float)
    grid_P2 = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1).reshape(-1, 2)
    x, y = transform_points(grid_P2 - size / 2, similarity(angle, scale, centre)).T
    wave = np.sin(2 * np.pi * x / period) + np.cos(2 * np.pi * y / period)
    error = np.abs(face_HWC[..., 0].ravel() - (128 + 60 * wave))
    assert error.mean() < 2 and error.max() < 6


def test_shrinking_averages():
    """A checkerboard of single pixels shrinks to even grey, in alignment and in crops."""
    image_HWC = np.repeat((np.indices((600, 600)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    face_HWC = align_face(image_HWC, transform_points(TEMPLATE * 600, similarity(0.1, 0.8, (40, 40))), 64)
    assert np.abs(face_HWC.astype(int) - 128).max() < 16
    assert np.abs(crop_box(image_HWC, np.array([50, 50, 550, 550]), 0.0, 64).astype(int) - 128).max() < 16


def test_beyond_the_photo_its_edge_goes_on():
    image_HWC = np.zeros((50, 50, 3), np.uint8)
    image_HWC[:, 25:] = 200
    face_HWC = crop_box(image_HWC, np.array([0, 0, 50, 50]), 0.5, 100)
    assert (face_HWC[:, :45] == 0).all() and (face_HWC[:, 55:] == 200).all()
    assert (align_face(np.full((20, 20, 3), 77, np.uint8), TEMPLATE * 60 - 20, 48) == 77).all()


def test_a_crop_is_the_square_around_the_box():
    image_HWC = smooth(80, 100, 33)
    assert np.array_equal(crop_box(image_HWC, np.array([20, 30, 60, 50]), 0.0, 40), image_HWC[20:60, 20:60])
    assert np.array_equal(crop_box(image_HWC, np.array([30, 30, 50, 50]), 0.5, 40), image_HWC[20:60, 20:60])
    with pytest.raises(ValueError, match="x1 < x2"):
        crop_box(image_HWC, np.array([60, 30, 20, 50]), 0.0, 40)


def test_the_template_is_symmetric():
    mirrored_52 = np.column_stack([1 - TEMPLATE[:, 0], TEMPLATE[:, 1]])[[1, 0, 2, 4, 3]]
    assert np.allclose(mirrored_52, TEMPLATE)


def test_a_square_of_a_huge_photo_is_shrunk_before_it_is_filled(monkeypatch):
    rng = np.random.default_rng(0)
    image_HWC = np.kron(rng.integers(0, 256, (12, 20, 3)), np.ones((50, 50, 1))).astype(np.uint8)
    boxes = np.array([[0, 0, 1000, 600], [300, 100, 900, 700]])
    wanted = [crop_box(image_HWC, box, 0.5, 48).astype(int) for box in boxes]
    filled = []
    fill = align._edge_filled
    monkeypatch.setattr(align, "_LARGEST_SQUARE", 400)
    monkeypatch.setattr(align, "_edge_filled", lambda *given: filled.append(fill(*given)) or filled[-1])
    for box, expected in zip(boxes, wanted, strict=True):
        assert abs(crop_box(image_HWC, box, 0.5, 48) - expected).mean() < 4
    assert max(max(part.shape[:2]) for part in filled) <= 402


def test_a_shrunk_face_is_the_mean_over_the_area_of_each_pixel():
    """Against 64 samples a pixel; bicubic samples, as for enlarging, were off by more than twice as much."""
    noise_HWC = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    image_HWC = np.array(Image.fromarray(noise_HWC).resize((200, 200), Image.Resampling.BICUBIC))
    placed_52 = transform_points(TEMPLATE * 150, similarity(0.2, 0.8, (45, 15)))
    face_HWC = align_face(image_HWC, placed_52, 60).astype(float)
    fine = Image.fromarray(image_HWC).transform(
        (480, 480),
        Image.Transform.AFFINE,
        tuple(invert(align_matrix(placed_52, 480)).ravel()),
        Image.Resampling.BILINEAR,
    )
    assert np.abs(face_HWC - np.asarray(fine.reduce(8))).mean() < 0.8
