"""Looking again, with detectors that see coloured dots: turned photos come back, points are carried and averaged."""

import math

import numpy as np
import pytest

from fecnet.faces.align import TEMPLATE, transform_points
from fecnet.faces.detections import detections
from fecnet.faces.refine import TURNS, detect_rotated, refine_landmarks, rotate

COLOURS = 255 - 60 * np.array([[0, 4, 4], [4, 0, 4], [4, 4, 0], [0, 0, 4], [4, 0, 0]])  # of the five points
MIRRORED = [1, 0, 2, 4, 3]


def dotted(points_52, height=300, width=360):
    """A grey photo with a disc of its own colour at each of the five points."""
    image = np.full((height, width, 3), 90, np.uint8)
    rows, columns = np.mgrid[:height, :width] + 0.5
    for (x, y), colour in zip(points_52, COLOURS, strict=True):
        image[(rows - y) ** 2 + (columns - x) ** 2 < 25] = colour
    return image


def dots(image_HWC):
    """The middle of each disc, shape (5, 2); NaN for one that is not there."""
    near = abs(image_HWC[:, :, None].astype(int) - COLOURS).max(axis=3) < 25
    rows, columns = np.mgrid[: near.shape[0], : near.shape[1]] + 0.5
    with np.errstate(invalid="ignore"):
        return np.stack([(axis[..., None] * near).sum((0, 1)) / near.sum((0, 1)) for axis in (columns, rows)], axis=1)


def at(middle, degrees, side=160):
    """The template's points, turned clockwise about their middle."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (TEMPLATE - 0.5) * side @ np.array([[cosine, sine], [-sine, cosine]]) + middle


def upright_only(image_HWC):
    """Finds the face where its eyes lie level within 12 degrees, the surer the more level."""
    points = dots(image_HWC)
    tilt = abs(math.degrees(math.atan2(*(points[1] - points[0])[::-1])))
    if tilt > 12:
        return detections(np.empty(0), np.empty(0), np.empty(0))
    box = np.concatenate([points.mean(axis=0) - 50, points.mean(axis=0) + 50])
    return detections(box[None], np.array([1 - tilt / 100]), points[None])


@pytest.mark.parametrize("degrees", [-30, 17, 90])
def test_turned_photo_and_its_matrix_agree(degrees):
    points = at((170, 140), 5)
    turned, matrix = rotate(dotted(points), degrees)
    np.testing.assert_allclose(dots(turned), transform_points(points, matrix), atol=0.6)


@pytest.mark.parametrize("tilt", [-35, -30, -5, 0, 8, 28])
def test_turned_faces_are_found_once_and_where_they_are(tilt):
    points = at((170, 140), tilt)
    found = detect_rotated(dotted(points), upright_only)
    assert len(found.boxes_K4) == 1
    np.testing.assert_allclose(found.landmarks_K52[0], points, atol=0.8)
    middle = points.mean(axis=0)
    np.testing.assert_allclose(found.boxes_K4[0], np.concatenate([middle - 50, middle + 50]), atol=0.8)
    # the surest look won: that in which the eyes are most nearly level
    assert found.scores_K[0] == pytest.approx(1 - min(abs(tilt + turned) for turned in (0, *TURNS)) / 100, abs=0.01)


def test_two_faces_stay_two_and_nothing_stays_nothing():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    found = detect_rotated(
        np.zeros((40, 40, 3), np.uint8),
        lambda image: (
            detections(boxes, [0.7, 0.8, 0.9], np.zeros((3, 5, 2)))
            if image.shape[0] == 40
            else detections(np.empty(0), np.empty(0), np.empty(0))
        ),
    )
    assert found.scores_K.tolist() == pytest.approx([0.9, 0.8])
    assert found.boxes_K4.tolist() == boxes[[2, 1]].tolist()
    empty = detect_rotated(np.zeros((40, 40, 3), np.uint8), lambda _: detections(np.empty(0), np.empty(0), np.empty(0)))
    assert empty.landmarks_K52.shape == (0, 5, 2)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("tilt", [-30, 0, 20])
def test_points_are_placed_on_the_upright_face_and_carried_back(tilt, mirror):
    points = at((170, 140), tilt)
    seen = []

    def place(upright):
        seen.append(upright)
        located = np.stack([dots(picture) for picture in upright])
        located[1:] = located[1:, MIRRORED]  # a net names a mirrored face's eyes by their side
        return located

    rough = points + np.array([[6, 0], [0, 6], [-6, 0], [0, -6], [4, 4]])
    placed = refine_landmarks(dotted(points), rough[None], place, upright_52=TEMPLATE, size=200, mirror=mirror)
    np.testing.assert_allclose(placed[0], points, atol=0.8)
    assert placed.dtype == np.float32 and [len(views) for views in seen] == [1 + mirror]
    eyes = dots(seen[0][0])[:2]
    assert abs(math.degrees(math.atan2(*(eyes[1] - eyes[0])[::-1]))) < 8  # upright as far as the rough points tell


def test_the_mean_of_both_views_or_the_one_there_is():
    points = np.stack([at((100 + 60 * k, 140), 0) for k in range(3)])
    calls = []

    def place(upright):
        calls.append(len(upright))
        answer = np.full((6, 5, 2), np.nan)  # the second face is seen in one view, the third in none
        answer[:2] = TEMPLATE * 100 + [10, 0]
        answer[3] = TEMPLATE * 100 + [-20, 0]  # in the mirror, 20 to the left is 20 to the right
        return answer

    placed = refine_landmarks(dotted(points[0]), points, place, upright_52=TEMPLATE, size=100)
    for face, moved in enumerate((15, 10, 0)):
        np.testing.assert_allclose(placed[face], points[face] + [moved * 1.6, 0], atol=1e-3)
    nothing = np.empty((0, 5, 2), np.float32)
    assert len(refine_landmarks(dotted(points[0]), nothing, place, upright_52=TEMPLATE, size=100)) == 0
    assert calls == [6]


def test_points_that_span_no_face_stay_and_others_are_placed():
    good_52 = at((180, 150), 10)
    given_K52 = np.stack([np.full((5, 2), 7.0), good_52 + 3, np.full((5, 2), 9.0)]).astype(np.float32)
    placed = refine_landmarks(
        dotted(good_52),
        given_K52,
        lambda views: np.stack([dots(v) for v in views]),
        upright_52=TEMPLATE,
        size=160,
        mirror=False,
    )
    np.testing.assert_array_equal(placed[[0, 2]], given_K52[[0, 2]])
    assert np.abs(placed[1] - good_52).max() < 1.0
