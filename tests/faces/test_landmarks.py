import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fecnet.faces.landmarks import OUTSIDE, convex_hull, gaussian_mask, hull_crop

FIVE = np.array([[70, 76], [130, 76], [100, 110], [75, 145], [125, 145]], float)  # in a face of 200 px


def sixty_eight(scale=1.0):
    """A schematic face in the order of iBUG: jaw, brows, nose, eyes, mouth; 200 px."""
    angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack([100 - 80 * -np.cos(angle), 80 + 100 * np.sin(angle)], 1)
    brows = np.stack([np.r_[np.linspace(45, 85, 5), np.linspace(115, 155, 5)], np.full(10, 55)], 1)
    nose = np.r_[
        np.stack([np.full(4, 100), np.linspace(80, 110, 4)], 1), np.stack([np.linspace(88, 112, 5), [116] * 5], 1)
    ]
    turn = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    eye = np.stack([12 * np.cos(turn), 5 * np.sin(turn)], 1)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    mouth = np.stack([100 + 25 * np.cos(turn), 145 + 10 * np.sin(turn)], 1)
    points = np.concatenate([jaw, brows, nose, eye + np.array([70, 76]), eye + np.array([130, 76]), mouth])
    assert points.shape == (68, 2)
    return points * scale


def cross(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=1, max_size=12))
def test_hull_is_that_of_the_definition(points):
    hull = [tuple(corner) for corner in convex_hull(np.array(points)).tolist()]
    distinct = set(points)
    # a point is a corner if some line through it has all the others strictly on one side, tried over fine directions
    direction = np.linspace(0, 2 * np.pi, 20000, endpoint=False)
    height = np.array(sorted(distinct)) @ np.stack([np.cos(direction), np.sin(direction)])
    best = height.max(axis=0)
    alone = (height > best - 1e-9).sum(axis=0) == 1
    corners = {sorted(distinct)[k] for k in height.argmax(axis=0)[alone]} if len(distinct) > 1 else distinct
    assert set(hull) == corners
    assert len(hull) == len(set(hull))
    for k in range(len(hull) if len(hull) > 2 else 0):
        assert cross(hull[k - 2], hull[k - 1], hull[k]) > 0


def picture(size=200, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 120, (size, size, channels), np.uint8)  # never OUTSIDE


def test_a_square_of_landmarks_gives_its_pixels():
    image = picture()
    corners = np.array([[40, 60], [80, 60], [40, 100], [80, 100]])
    assert np.array_equal(hull_crop(image, corners, 40, margin=0), image[60:100, 40:80])
    # half of its size more: ten pixels on each side
    assert np.array_equal(hull_crop(image, corners, 60, margin=0.5), image[50:110, 30:90])


def test_outside_the_hull_is_constant_and_inside_is_the_picture():
    image = picture()
    triangle = np.array([[20, 20], [120, 20], [20, 120]])
    crop = hull_crop(image, triangle, 100, margin=0)
    row, column = np.mgrid[:100, :100]
    inside = (column + 0.5) + (row + 0.5) <= 100
    assert np.array_equal(crop, np.where(inside[..., None], image[20:120, 20:120], OUTSIDE))


def test_beyond_the_picture_is_constant_too():
    image = picture()
    corners = np.array([[-20, -20], [20, -20], [-20, 20], [20, 20]])
    crop = hull_crop(image, corners, 40, margin=0)
    assert np.array_equal(crop[20:, 20:], image[:20, :20])
    assert (crop[:20] == OUTSIDE).all() and (crop[:, :20] == OUTSIDE).all()
    far = hull_crop(image, corners + 200, 40, margin=0)
    assert np.array_equal(far[:20, :20], image[-20:, -20:])
    assert (far[20:] == OUTSIDE).all() and (far[:, 20:] == OUTSIDE).all()


@pytest.mark.parametrize("points", [FIVE, sixty_eight()], ids=len)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [31, 400])
def test_real_layouts(points, channels, size):
    crop = hull_crop(picture(channels=channels), points, size)
    assert crop.shape == (size, size, channels) and crop.dtype == np.uint8
    shown = (crop != OUTSIDE).all(axis=-1)
    low, high = points.min(axis=0), points.max(axis=0)
    # the landmarks' places in the crop are inside, but for a pixel on the grown hull's edge
    place = ((points - (low + high) / 2) / ((high - low).max() * 1.1) + 0.5) * size
    assert shown[tuple(np.minimum(place.astype(int), size - 1).T[::-1])].all()
    assert not shown[0, 0] and not shown[-1, -1] and 0.2 < shown.mean() < 0.95


def test_a_narrow_hull_stands_in_the_middle_of_the_square():
    crop = hull_crop(picture(), np.array([[90, 50], [110, 50], [90, 150], [110, 150]]), 100, margin=0)
    shown = (crop != OUTSIDE).all(axis=-1)
    assert np.array_equal(np.flatnonzero(shown.any(axis=0)), np.arange(40, 60))
    assert shown[:, 40:60].all()


def test_shrinking_averages():
    # a pattern that sampling without antialias would turn into all black or all white
    image = np.zeros((400, 400, 1), np.uint8)
    image[::2] = 100
    crop = hull_crop(image, np.array([[0, 0], [400, 0], [0, 400], [400, 400]]), 25, margin=0)
    assert abs(crop[2:-2].astype(int) - 50).max() <= 2


def test_crop_follows_a_shift_of_picture_and_points():
    image = picture(300)
    moved = np.roll(image, (30, 50), (0, 1))
    assert np.array_equal(hull_crop(image, FIVE, 64), hull_crop(moved, FIVE + np.array([50, 30]), 64))


@pytest.mark.parametrize(
    ("points", "changes", "words"),
    [
        (FIVE[:2], {}, "shape"),
        (FIVE.reshape(-1), {}, "shape"),
        (FIVE * np.nan, {}, "not finite"),
        (FIVE[[0, 0, 0]], {}, "on one line"),
        (np.array([[0, 0], [50, 50], [100, 100]]), {}, "on one line"),
        (FIVE + 500, {}, "span .* the picture is 200×200"),
        (FIVE - 500, {}, "span"),
        (FIVE * 100 - 5000, {}, "span"),
        (FIVE, {"size": 0}, "size: 0"),
        (FIVE, {"margin": -0.1}, "margin: -0.1"),
        (FIVE, {"margin": float("nan")}, "margin"),
    ],
)
def test_what_gives_no_crop(points, changes, words):
    with pytest.raises(ValueError, match=words):
        hull_crop(picture(), points, **{"size": 32, **changes})


def test_only_uint8_pictures():
    with pytest.raises(ValueError, match=r"float64 .*allowed: uint8"):
        hull_crop(picture().astype(float), FIVE, 32)
    with pytest.raises(ValueError, match=r"shape \(200, 200\)"):
        hull_crop(picture()[..., 0], FIVE, 32)


def naive_mask(points, height, width, sigma):
    mask = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            nearest = min((i + 0.5 - y) ** 2 + (j + 0.5 - x) ** 2 for x, y in points)
            mask[i, j] = 255 * np.exp(-nearest / (2 * (sigma * max(height, width)) ** 2))
    return mask


@pytest.mark.parametrize("points", [FIVE / 5, sixty_eight(0.2)], ids=len)
@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_mask_equals_the_formula(points, sigma):
    used = points if len(points) == 5 else points[27:]
    mask = gaussian_mask(points, 40, 33, sigma)
    assert mask.dtype == np.uint8
    assert abs(mask - naive_mask(used, 40, 33, sigma)).max() <= 0.5 + 1e-6


def test_mask_rises_at_eyes_nose_and_mouth_and_not_at_jaw_and_brows():
    points = sixty_eight()
    mask = gaussian_mask(points, 200, 200, sigma=0.02)
    at = mask[tuple(np.clip(points, 0, 199).astype(int).T[::-1])]
    assert at[27:].min() > 245
    assert at[:27].max() < 10
    assert mask[0, 0] == 0


def test_mask_is_the_same_at_any_resolution():
    small = gaussian_mask(FIVE / 2, 100, 100).astype(int)
    large = gaussian_mask(FIVE, 200, 200).astype(int)
    assert abs(large.reshape(100, 2, 100, 2).mean((1, 3)) - small).max() < 4


def test_points_beyond_the_face_are_allowed():
    assert gaussian_mask(FIVE + 10_000, 20, 20).max() == 0


@pytest.mark.parametrize(
    ("points", "arguments", "words"),
    [
        (FIVE[:4], (20, 20), "4 points; allowed: 5, 68"),
        (FIVE * np.inf, (20, 20), "not finite"),
        (FIVE, (0, 20), "height and width: 0, 20"),
        (FIVE, (20, 20, 0), "sigma: 0"),
        (FIVE, (20, 20, float("nan")), "sigma: nan"),
    ],
)
def test_what_gives_no_mask(points, arguments, words):
    with pytest.raises(ValueError, match=words):
        gaussian_mask(points, *arguments)
