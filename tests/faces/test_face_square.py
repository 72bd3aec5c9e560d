"""The square of training pictures, measured relative to a detector's box, and cut of photos."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.data.packed import PackedDataset
from fecnet.encoder.face_maker import FaceMaker
from fecnet.faces.detections import detections
from fecnet.faces.face_square import FaceSquare, measure_square
from fecnet.faces.recipe import FaceRecipe
from fecnet.prepare import measured_square
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.labelled import prepare_labelled
from tests.faces.test_extract import Squares, photo
from tests.nets import save, train_on

SIDE, MEASURED = 1.5, FaceSquare("squares", 1.5, 0.0, -0.125, found=40, seen=40)


def picture(size=48):
    """A face of two thirds of the side, an eighth of its own side below the middle."""
    face_HW = np.zeros((size, size), np.uint8)
    side = round(size / SIDE)
    top, left = round(size / 2 + side / 8 - side / 2), (size - side) // 2
    face_HW[top : top + side, left : left + side] = 200
    return face_HW


class Noticing(Squares):
    """Counts the pictures that it looks at."""

    seen = 0

    def detect_batch(self, images):
        self.seen += len(images)
        return super().detect_batch(images)


def test_the_square_is_measured_by_hand():
    faces = np.repeat(picture()[None, ..., None], 40, axis=0)
    found = measure_square(faces, Squares())
    assert (found.detector, found.found, found.seen) == ("squares", 40, 40)
    assert (found.side, found.x, found.y) == pytest.approx((1.5, 0, -0.125), abs=0.02)
    assert measure_square(np.repeat(faces, 3, axis=3), Squares()) == found
    assert measure_square(faces[:19], Squares()) is None  # too few
    none = Noticing()
    assert measure_square(np.zeros((5000, 48, 48, 1), np.uint8), none) is None and none.seen == 32


@pytest.mark.parametrize("degrees", [0, 20, -20, 90])
def test_the_square_is_cut_upright(degrees):
    """Of a photo with a face where it is measured, at another size and turned."""
    wide_HW = np.pad(picture(96), 200)
    turned_HWC = np.asarray(Image.fromarray(wide_HW).rotate(degrees, Image.Resampling.BICUBIC).convert("RGB"))
    centre, side = np.array([248.0, 248 + 8]), 64.0
    box_4 = np.concatenate([centre - side / 2, centre + side / 2])
    points_52 = Squares().detect(np.asarray(Image.fromarray(wide_HW).convert("RGB"))).landmarks_K52[0]
    angle = np.radians(-degrees)
    turn_22 = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (centre - 248) @ turn_22.T + 248
    box_4 = np.concatenate([middle - side / 2, middle + side / 2])
    cut_SS3 = MEASURED.cut(turned_HWC, box_4, (points_52 - 248) @ turn_22.T + 248, 48)
    assert np.abs(cut_SS3[..., 0].astype(int) - picture()).mean() < 6
    assert MEASURED.cut(turned_HWC, box_4, np.full((5, 2), np.nan), 48) == "bad_points"
    assert MEASURED.cut(turned_HWC, np.array([9.0, 9, 9, 9]), points_52, 48) == "bad_points"


def test_the_boxes_of_another_detector_are_converted():
    square = dataclasses.replace(MEASURED, detector="mtcnn(one)")
    other = square.of_detector("yunet(two)")
    assert other.side == pytest.approx(1.5 * 1.04 / 1.01) and other.y == pytest.approx(-0.125 * 1.04 / 1.01)
    assert square.of_detector("mtcnn(three)").side == 1.5 and MEASURED.of_detector("yunet") == MEASURED


def test_prepare_measures_and_the_net_cuts_likewise(tmp_path, monkeypatch):
    """From the folder of cut faces to a face in a photo, by way of data set and checkpoint."""
    for module in ("fecnet.prepare.measured_square", "fecnet.encoder.face_maker"):
        monkeypatch.setattr(f"{module}.build_detector", lambda *_, **__: Squares())
    rng = np.random.default_rng(0)
    (tmp_path / "moods").mkdir()
    for name in ("calm", "cross"):
        save(
            tmp_path / "moods" / name,
            [np.minimum(picture(), rng.integers(120, 250, (48, 48), np.uint8)) for _ in range(12)],
        )
    source = dataclasses.replace(read_folder(tmp_path / "moods"), size=48)
    prepare_labelled(source, tmp_path / "set", channels="grey", num_train_triplets=8, progress=False)
    dataset = PackedDataset(tmp_path / "set")
    square = FaceRecipe.from_dict(dataset.description["faces"]).square
    assert square.found == 24 and square.side == pytest.approx(1.5, abs=0.02)
    options = ("DATA.TRAIN_SPLIT", "all", "DATA.EVAL_SPLITS", "[all]", "DATA.REPORT_SPLITS", "[all]")
    encoder = fecnet.load(train_on(tmp_path / "set", tmp_path, *options))
    image_HWC = np.zeros((240, 320, 3), np.uint8)
    image_HWC[60:156, 100:196] = np.kron(np.array(dataset.faces_NHWC[3]), np.ones((2, 2, 3), np.uint8))
    (found,) = encoder.find_faces(image_HWC)
    assert np.abs(found.image_SSC.astype(int) - dataset.faces_NHWC[3]).mean() < 12
    vectors = encoder.embed([image_HWC, np.array(dataset.faces_NHWC[3])])
    assert encoder.distance(image_HWC, np.array(dataset.faces_NHWC[3])) < 0.1 * encoder.distance(
        np.array(dataset.faces_NHWC[3]), photo((10, 10), sides=[60])
    ), vectors


def test_what_cannot_be_measured_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(measured_square.logger, "info", told.append)
    faces = np.zeros((40, 48, 48, 1), np.uint8)
    plain = FaceRecipe()
    assert measured_square.with_square(plain, faces, Squares()) is plain and "too few faces" in told[0]

    def missing(*_, **__):
        raise measured_square.UserError("detector mtcnn needs facenet-pytorch")

    monkeypatch.setattr(measured_square, "build_detector", missing)
    assert measured_square.with_square(plain, faces) is plain and "needs facenet-pytorch" in told[1]
    aligned = FaceRecipe(align=True)
    assert measured_square.with_square(aligned, faces) is aligned and len(told) == 2


def test_a_square_survives_json():
    recipe = FaceRecipe(square=MEASURED)
    assert FaceRecipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(ValueError, match=r"faces: square: \{'depth': 3\}; expected: detector, side"):
        FaceRecipe.from_dict({"fit": "central", "square": {"depth": 3}})


def test_a_missing_detector_is_one_line_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "facenet_pytorch", None)
    maker = FaceMaker(size=48, channels=["grey"], recipe=FaceRecipe(), origin="net")
    stored = np.zeros((48, 48, 1), np.uint8)
    assert [face.status for face in maker.make([(stored, None)])] == ["ok"]  # no detector is needed
    said = r"^net: detector mtcnn needs facenet-pytorch; install it with: pip install .*; faces 'whole' needs none"
    with pytest.raises(ValueError, match=said):
        list(maker.make([(photo(), None)]))


def test_strange_photos_have_a_status_each(tmp_path, monkeypatch):
    """Grey, CMYK, 16 bits and animated are photos; a profile, or a face of 12 pixels, is what the detector says."""

    class Large(Squares):
        def detect(self, image_HWC):
            found = super().detect(image_HWC)
            keep = found.boxes_K4[:, 2] - found.boxes_K4[:, 0] >= 40
            return detections(*(values[keep] for values in found))

    monkeypatch.setattr("fecnet.encoder.face_maker.build_detector", lambda *_, **__: Large())
    maker = FaceMaker(size=48, channels=["grey"], recipe=FaceRecipe(square=MEASURED), origin="net")
    image = Image.fromarray(photo((100, 80), sides=[60]))
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    image.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.fromarray(photo())])
    Image.fromarray(photo((100, 80), sides=[12])).save(tmp_path / "small.png")
    names = ["grey.png", "cmyk.jpg", "deep.png", "moving.gif", "small.png", "gone.png"]
    found = list(maker.make([(tmp_path / name, None) for name in names]))
    assert [face.status for face in found] == ["ok"] * 4 + ["no_face", "missing_file"]
    for face in found[1:4]:
        assert np.abs(face.box_4 - [100, 80, 160, 140]).max() <= 1
        assert np.abs(face.image_SSC.astype(int) - found[0].image_SSC).max() <= 6
