"""The second look: only where one face is meant and none is found; its surest face, in pixels of the photo as it is."""

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.encoder import face_maker
from fecnet.encoder.face_maker import FaceMaker
from fecnet.faces.decode import decode_image
from fecnet.faces.detections import detections
from fecnet.faces.recipe import FaceRecipe
from fecnet.faces.second_look import THRESHOLDS, TURNS, SecondLook
from tests.faces.test_detect import DATA, detector_or_skip, needs_faces
from tests.faces.test_extract import Squares, photo
from tests.net_fixtures import aligned, squares  # noqa: F401  (fixtures)


class Blind(Squares):
    """Sees nothing."""

    name = "blind"

    def detect(self, image_HWC):
        return detections(np.empty(0), np.empty(0), np.empty(0))


class Counted(Squares):
    """The larger a square, the surer; counts what it is shown."""

    name = "closer"

    def __init__(self):
        self.shapes = []

    def detect(self, image_HWC):
        self.shapes.append(image_HWC.shape)
        boxes_K4, _, points_K52 = super().detect(image_HWC)
        return detections(boxes_K4, (boxes_K4[:, 2] - boxes_K4[:, 0]) / 300, points_K52)


def test_the_surest_face_of_the_photo_and_its_turns():
    closer = Counted()
    look = SecondLook(Blind(), closer)
    image_HWC = photo((10, 10), (100, 80), sides=[30, 60])
    (found,) = look.detect_batch([image_HWC])
    assert len(closer.shapes) == 1 + len(TURNS) and len(found.scores_K) == 1
    centre_2 = (found.boxes_K4[0, :2] + found.boxes_K4[0, 2:]) / 2
    assert np.abs(centre_2 - [130, 110]).max() < 2 and found.landmarks_K52.shape == (1, 5, 2)
    assert len(look.detect(photo()).scores_K) == 0
    assert look.name == "blind, else closer turned by -20/20"


def test_what_is_found_at_once_is_not_looked_at_again():
    closer = Counted()
    found = SecondLook(Squares(), closer).detect(photo((10, 10), (100, 80)))
    assert len(found.scores_K) == 2 and not closer.shapes


@pytest.fixture
def built(monkeypatch):
    """The detectors that a face maker builds: the first sees nothing."""
    made = []

    def build(name, **options):
        made.append((name, Counted() if "thresholds" in options else Blind()))
        return made[-1][1]

    monkeypatch.setattr(face_maker, "build_detector", build)
    return made


def maker(**options):
    return FaceMaker(size=48, channels=["R", "G", "B"], recipe=FaceRecipe(), origin="net", **options)


@pytest.mark.parametrize("faces", ["auto", "largest", "all"])
def test_one_face_that_is_meant_is_looked_for_twice(built, faces):
    (face,) = maker().make([(photo((100, 80)), None)], faces=faces)
    assert [name for name, _ in built] == ["mtcnn", "mtcnn"]
    assert face.status == ("no_face" if faces == "all" else "ok") and face.has_place == (faces != "all")
    assert len(built[1][1].shapes) == (0 if faces == "all" else 3)


def test_a_box_is_looked_into_twice(built):
    (face,) = maker().make([(photo((100, 80)), (95, 75, 145, 125))], faces="auto")
    assert face.status == "ok" and np.abs(face.box_4 - [100, 80, 140, 120]).max() < 12


def test_photos_are_turned_by_quarters_first(built):
    seen = []
    some = maker(try_turns=True)
    first = some._built_detector()
    first.detect_batch = lambda images: seen.append(len(images)) or [first.detect(image) for image in images]
    (face,) = some.make([(photo((100, 80)), None)])
    assert seen == [1, 3] and len(built[1][1].shapes) == 3 and face.status == "ok"


def test_other_detectors_and_nets_of_detected_faces_look_once(built, aligned):  # noqa: F811
    (face,) = maker(detector_model="yunet.onnx").make([(photo((100, 80)), None)])
    assert face.status == "no_face" and [name for name, _ in built] == ["yunet"]
    assert fecnet.load(aligned[0]).embed(photo(), return_status=True)[1] == ["no_face"] and len(built) == 1


@needs_faces
def test_cut_and_tilted_faces_that_mtcnn_misses_are_found():
    """Faces from brows to lips, tilted, on grey."""
    first, closer = detector_or_skip("mtcnn"), detector_or_skip("mtcnn", thresholds=THRESHOLDS)
    scenes = []
    for path in sorted((DATA / "faces" / "images").glob("helen_*.jpg"))[:8]:
        image_HWC = decode_image(path)
        box_4 = first.detect(image_HWC).boxes_K4[0]
        centre_2, half = (box_4[:2] + box_4[2:]) / 2, 0.25 * (box_4[2:] - box_4[:2]).max()
        inner = Image.fromarray(image_HWC).crop(tuple(np.concatenate([centre_2 - half, centre_2 + half]).round()))
        scene = Image.new("RGB", (300, 240), (120, 120, 120))
        scene.paste(inner.resize((90, 90)).rotate(20, expand=True, fillcolor=(120, 120, 120)), (100, 70))
        scenes.append(np.asarray(scene))
    once, twice = (
        sum(len(found.scores_K) for found in look.detect_batch(scenes)) for look in (first, SecondLook(first, closer))
    )
    assert once < twice == len(scenes)
