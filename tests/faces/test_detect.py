"""The detectors on real photos, and the choice among faces by hand arithmetic."""

import sys

import numpy as np
import pytest
import torch

from benchmarks import faces as benchmark
from fecnet.faces.decode import decode_image
from fecnet.faces.detect import build_detector
from fecnet.faces.detections import Detections, choose_face, overlap
from fecnet.utils.errors import UserError
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data"
YUNET = DATA / "weights" / "yunet" / "face_detection_yunet_2023mar.onnx"
needs_faces = pytest.mark.skipif(not (DATA / "faces").is_dir(), reason="shared/data/faces is absent")


def detector_or_skip(name, **options):
    pytest.importorskip("facenet_pytorch" if name == "mtcnn" else "cv2")
    if name == "yunet" and not YUNET.is_file():
        pytest.skip("shared/data/weights is absent")
    return build_detector(name, model_path=YUNET if name == "yunet" else "", **options)


def photo(name="helen_2988554491_1.jpg"):
    return decode_image(DATA / "faces" / "images" / name)


def some(boxes):
    return Detections(np.array(boxes, np.float32), np.ones(len(boxes)), np.zeros((len(boxes), 5, 2), np.float32))


def test_overlap_is_intersection_over_union():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], float)
    assert overlap(boxes, np.array([0, 0, 2, 2], float)).tolist() == [1.0, 2 / 6, 0.0]


def test_the_face_meant_is_the_one_at_the_box_or_else_the_largest():
    found = some([[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 40, 40]])
    assert choose_face(found) == 2
    assert choose_face(found, np.array([48, 48, 60, 60])) == 1
    assert choose_face(found, np.array([8, 8, 18, 18])) == 0
    assert choose_face(found, np.array([8, 8, 18, 18]), min_overlap=0.1) is None
    assert choose_face(found, np.array([100, 100, 120, 120])) is None
    assert choose_face(some(np.empty((0, 4)))) is None


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "auto", "gpu"])
def test_a_device_of_the_detector_that_is_not_there_is_refused(device):
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError) as error:
        build_detector("mtcnn", device=device)
    assert str(error.value).startswith(f"detector device: '{device}' cannot be used: torch finds ")
    with pytest.raises(
        UserError, match=rf"^detector device: '{device}' with yunet, which runs on the CPU; allowed: cpu"
    ):
        build_detector("yunet", model_path="absent.onnx", device=device)


@needs_faces
@pytest.mark.parametrize("side", [320, 120, 20])
def test_mtcnn_finds_the_faces_of_facenet_pytorchs(side):
    """The cascade and how photos shrink are ours: where the package's own works, it finds the same faces."""
    package = pytest.importorskip("facenet_pytorch")
    ours = detector_or_skip("mtcnn", refine=False)
    theirs = package.MTCNN(keep_all=True, thresholds=[0.6, 0.7, 0.6], min_face_size=40, select_largest=False)
    image_HWC = np.ascontiguousarray(photo()[: side * 2, : side * 2])
    boxes, scores, landmarks = ours.detect(image_HWC)
    expected = theirs.detect(image_HWC, landmarks=True)
    if expected[0] is None:
        assert len(boxes) == 0
        return
    assert len(boxes) == len(expected[0])
    for box_4, score, points_52 in zip(*expected, strict=True):
        shared_K = overlap(boxes, box_4.astype(float))
        best = shared_K.argmax()
        assert shared_K[best] > 0.9 and abs(scores[best] - score) < 0.02
        assert np.abs(landmarks[best] - points_52.astype(float)).max() < 0.03 * (box_4[2] - box_4[0])


@needs_faces
@pytest.mark.parametrize("name", ["mtcnn", "yunet"])
def test_a_batch_gives_what_single_photos_give(name):
    detector = detector_or_skip(name)
    image_HWC = photo()
    images = [image_HWC, image_HWC[:, ::-1].copy(), image_HWC[:200, :200].copy(), np.zeros((5, 300, 3), np.uint8)]
    batch = detector.detect_batch(images)
    assert len(batch) == 4 and len(batch[0].boxes_K4) >= 1 and len(batch[3].boxes_K4) == 0
    for image, together in zip(images, batch, strict=True):
        for one, other in zip(detector.detect(image), together, strict=True):
            assert one.dtype == np.float32 and one.shape == other.shape
            assert np.allclose(one, other, atol=1e-2)


@needs_faces
@pytest.mark.parametrize("name", ["mtcnn", "yunet"])
def test_points_come_in_the_order_of_the_template(name):
    boxes, _, landmarks = detector_or_skip(name).detect(photo())
    largest = np.argmax(boxes[:, 2] - boxes[:, 0])
    left, right, nose, mouth_left, mouth_right = landmarks[largest]
    assert left[0] < nose[0] < right[0] and mouth_left[0] < mouth_right[0]
    assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


@needs_faces
@pytest.mark.parametrize(("name", "options"), [("mtcnn", {}), ("yunet", {"min_face": 20})])
def test_real_faces_are_found_and_placed(name, options):
    """The targets of benchmarks/faces.py on a tenth of its photos."""
    detector = detector_or_skip(name, **options)
    upright = benchmark.measure(detector, DATA / "faces", every=10)
    assert upright["recall_percent"] >= 99
    assert upright["point_error_percent"] <= (6.5 if name == "mtcnn" else 11)  # a tenth; the benchmark has all of them
    turned = benchmark.measure(detector, DATA / "faces", every=20, degrees=30)
    assert turned["recall_percent"] >= 95 and turned["eyes_within_6_percent"] >= 95


@needs_faces
def test_yunets_refine_finds_and_places_turned_faces():
    """Without it faces are missed and eyes are off: then this test would show nothing."""
    once, again = (detector_or_skip("yunet", min_face=20, refine=look) for look in (False, True))
    first, second = (benchmark.measure(net, DATA / "faces", every=12, degrees=-30) for net in (once, again))
    assert first["eyes_within_6_percent"] < 60 and second["eyes_within_6_percent"] >= 95
    assert second["found"] == second["faces"] >= first["found"]


def test_yunet_looks_at_turned_photos_as_closely_as_at_upright_ones(monkeypatch):
    """In smaller ones it misses a tenth of FER2013's faces pasted into photos: benchmarks/photo_in.py."""
    detector, seen = detector_or_skip("yunet"), []
    monkeypatch.setattr(detector, "_detect_as_is", lambda image, _: seen.append(image.shape) or some(np.empty((0, 4))))
    detector.detect(np.zeros((800, 1600, 3), np.uint8))
    upright, *turned = seen
    assert upright == (320, 640, 3) and len(turned) == 2
    assert all(min(shape[:2]) > 320 and max(shape[:2]) > 640 for shape in turned)  # the corners too


def test_names_tell_settings_apart():
    names = {detector_or_skip("mtcnn", **options).name for options in ({}, {"min_face": 20}, {"refine": False})}
    assert len(names) == 3 and all("0.6/0.7/0.6" in name for name in names)
    assert len({detector_or_skip("yunet", refine=look).name for look in (False, True)}) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dlib", {}, "unknown name 'dlib'; allowed: mtcnn, yunet"),
        ("mtcnn", {"thresholds": (0.6, 0.7)}, "three numbers"),
        ("mtcnn", {"factor": 1.0}, "factor 1.0"),
        ("mtcnn", {"min_face": 0}, "min_face 0"),
        ("yunet", {}, "needs a model file"),
        ("yunet", {"model_path": "absent.onnx"}, "absent.onnx: no such file"),
        ("yunet", {"model_path": __file__}, "does not load it as YuNet"),
    ],
)
def test_wrong_settings_are_answered(name, options, message):
    pytest.importorskip("facenet_pytorch" if name == "mtcnn" else "cv2")
    with pytest.raises(ValueError, match=message) as caught:
        build_detector(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "package"), [("mtcnn", "facenet_pytorch"), ("yunet", "cv2")])
def test_a_missing_package_is_answered_with_the_command(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match="pip install"):
        build_detector(name, model_path=__file__)
