"""Extraction: the face that is meant, at the photo's own resolution, or the word that says why not."""

import numpy as np
import pytest

from fecnet.faces.align import TEMPLATE, align_face
from fecnet.faces.decode import decode_image
from fecnet.faces.detections import detections
from fecnet.faces.extract import REASONS, Face, extract_faces
from tests.faces.test_detect import DATA, detector_or_skip, needs_faces

SIDE = 40
CENTRED = TEMPLATE - TEMPLATE.mean(axis=0)


class Squares:
    """Finds bright squares of a dark photo, by connected columns: faces that need no net."""

    name = "squares"

    def detect(self, image_HWC):
        bright_HW = image_HWC[..., 0] > 100
        edges = np.diff(np.pad(bright_HW.any(axis=0).astype(int), 1))
        boxes = []
        for left, right in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            rows = np.flatnonzero(bright_HW[:, left:right].any(axis=1))
            boxes.append([left, rows[0], right, rows[-1] + 1])
        boxes_K4 = np.array(boxes, float).reshape(-1, 4)
        sides_K12 = (boxes_K4[:, 2:] - boxes_K4[:, :2])[:, None]
        return detections(boxes_K4, np.full(len(boxes_K4), 0.9), boxes_K4[:, None, :2] + TEMPLATE * sides_K12)

    def detect_batch(self, images):
        return [self.detect(image_HWC) for image_HWC in images]


def extract_face(image_HWC, detector, *, box=None, **options):
    """``extract_faces`` of one photo."""
    return extract_faces([image_HWC], detector, boxes=[box], **options)[0]


def photo(*corners, sides=None):
    image_HWC = np.zeros((200, 300, 3), np.uint8)
    for (x, y), side in zip(corners, sides or [SIDE] * len(corners), strict=True):
        image_HWC[y : y + side, x : x + side] = 200
    return image_HWC


def test_without_a_box_the_largest_face_is_taken():
    image_HWC = photo((10, 10), (100, 80), sides=[30, 60])
    face = extract_face(image_HWC, Squares(), size=48)
    assert face.box_4.tolist() == [100, 80, 160, 140] and face.score == pytest.approx(0.9)
    assert face.image_HWC.shape == (48, 48, 3) and face.image_HWC[2:-2, 2:-2].min() > 190
    assert np.array_equal(face.image_HWC, align_face(image_HWC, face.landmarks_52, 48))


@pytest.mark.parametrize("corner", [(10, 10), (100, 80), (260, 160)])
def test_a_box_says_which_face(corner):
    """Also at the border; the detector sees another scale, and what comes back is in pixels of the photo."""
    image_HWC = photo((10, 10), (100, 80), (260, 160))
    x, y = corner
    face = extract_face(image_HWC, Squares(), size=48, box=(x - 3, y - 3, x + SIDE - 3, y + SIDE - 3), margin=0.3)
    if corner != (260, 160):  # there the filled edge makes the square longer
        assert np.abs(face.box_4 - [x, y, x + SIDE, y + SIDE]).max() < 0.6
    assert face.landmarks_52.dtype == np.float32 and face.image_HWC[4:-4, 4:-4].min() > 190


def test_a_neighbour_is_not_taken_for_the_face_of_the_box():
    assert extract_face(photo((100, 80)), Squares(), size=48, box=(60, 60, 105, 105)) == "no_face"


def test_without_a_face_the_reason_comes_back_or_the_box():
    empty = photo()
    box = (20, 30, 60, 70)
    assert extract_face(empty, Squares(), size=48) == "no_face" in REASONS
    whole = extract_face(empty + 50, Squares(), size=48, no_face="box")  # without a box, the whole photo
    assert (
        whole.score == 0 and np.isnan(whole.landmarks_52).all() and whole.box_4.tolist() == [0, 0, *empty.shape[1::-1]]
    )
    assert extract_face(empty, Squares(), size=48, box=box) == "no_face"
    taken = extract_face(empty + 50, Squares(), size=48, box=box, no_face="box")
    assert taken.score == 0 and np.isnan(taken.landmarks_52).all() and taken.box_4.tolist() == list(box)
    assert (taken.image_HWC == 50).all() and taken.image_HWC.shape == (48, 48, 3)


@pytest.mark.parametrize(
    "box",
    [
        *[(50, 50, 50, 60), (60, 50, 50, 60), (float("nan"), 0, 10, 10), (300, 0, 340, 40), (-50, 0, 0, 40)],
        *[(0, 0, 1e13, 1e13), (-1e300, 10, 40, 40), (-600, -600, 601, 600)],  # more than four photos wide
    ],
)
def test_an_impossible_box_is_a_reason(box):
    assert extract_face(photo((10, 10)), Squares(), size=48, box=box, no_face="box") == "bad_box" in REASONS


def test_wrong_calls_are_answered():
    with pytest.raises(ValueError, match="allowed: box, drop"):
        extract_face(photo(), Squares(), size=48, no_face="skip")
    with pytest.raises(ValueError, match="1 boxes for 2 photos"):
        extract_faces([photo(), photo()], Squares(), size=48, boxes=[None])


def same(one, other):
    if isinstance(one, str):
        return one == other
    differences = np.abs(one.image_HWC.astype(int) - other.image_HWC)
    return differences.max() <= 2 and np.allclose(one.landmarks_52, other.landmarks_52, atol=0.01)


@pytest.mark.slow
@needs_faces
@pytest.mark.parametrize("name", ["mtcnn", "yunet"])
def test_a_batch_gives_what_single_photos_give(name):
    detector = detector_or_skip(name)
    names = ("helen_2988554491_1.jpg", "helen_2970690152_2.jpg")
    images = [decode_image(DATA / "faces" / "images" / name) for name in names]
    first = extract_face(images[0], detector, size=112)
    images += [images[0], images[0], np.zeros((90, 90, 3), np.uint8)]
    boxes = [None, None, first.box_4, (0, 0, 0, 0), (10, 10, 60, 60)]
    batch = extract_faces(images, detector, size=112, boxes=boxes)
    assert [isinstance(face, Face) for face in batch] == [True, True, True, False, False]
    assert batch[3:] == ["bad_box", "no_face"]
    for image_HWC, box, together in zip(images, boxes, batch, strict=True):
        assert same(extract_face(image_HWC, detector, size=112, box=box), together)
    # The same face through its box, seen at another scale, is aligned nearly alike.
    assert np.linalg.norm(batch[2].landmarks_52 - first.landmarks_52, axis=1).mean() < 0.05 * np.ptp(first.box_4)


@pytest.mark.parametrize(
    "points_52",
    [np.ones((5, 2)), np.full((5, 2), np.nan), CENTRED * [1, -1] / (CENTRED**2).sum(axis=0) + 60],
    ids=["one place", "not finite", "upside down mirror image, to which no turn is nearer than another"],
)
def test_points_that_span_no_face_cost_one_face_and_not_the_run(points_52):
    class Wild(Squares):
        def detect(self, image_HWC):
            found = super().detect(image_HWC)
            return found._replace(landmarks_K52=np.repeat(points_52[None], len(found.scores_K), axis=0))

    images = [photo((50, 60)), photo((70, 20))]
    assert extract_faces(images, Wild(), size=32) == ["bad_points"] * 2
