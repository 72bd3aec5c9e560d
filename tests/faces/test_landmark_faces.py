"""Masks and hull crops of labelled faces, with a detector whose points are known; a net that trains on the mask."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset
from fecnet.data.verify import verify_dataset
from fecnet.faces import detect
from fecnet.faces.align import TEMPLATE
from fecnet.faces.detections import detections
from fecnet.faces.landmark_faces import HULL_MARGIN, LandmarkFaces, find_points
from fecnet.faces.landmarks import gaussian_mask, hull_crop
from fecnet.prepare.labelled.labelled import prepare_labelled
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.runs.training import train_run
from tests.conftest import TINY_RECIPE

SIDE = 32
BLANK = 7  # a picture of this value alone holds no face


class TemplateDetector:
    """Finds the template's points on every picture but blank ones, and a smaller face in a corner."""

    name = "template"

    def __init__(self, points=TEMPLATE):
        self.points, self.calls, self.shapes = points, 0, set()

    def detect(self, image_HWC):
        self.shapes.add(image_HWC.shape)
        if (image_HWC == BLANK).all():
            return detections(np.empty(0), np.empty(0), np.empty(0))
        side = len(image_HWC)
        corner, face = np.array([0, 0, side / 4, side / 4]), np.array([0.1, 0.1, 0.9, 0.9]) * side
        points = np.stack([self.points / 4, self.points]) * side
        return detections(np.stack([corner, face]), np.array([0.9, 0.8]), points)

    def detect_batch(self, images):
        self.calls += 1
        return [self.detect(image) for image in images]


def picture(seed, side=SIDE):
    return np.random.default_rng(seed).integers(0, 120, (side, side, 3), np.uint8)


def blank():
    return np.full((SIDE, SIDE, 3), BLANK, np.uint8)


def source(pictures):
    rows = [LabelledPicture(f"{k}", pixels, k % 2, "train") for k, pixels in enumerate(pictures)]
    return LabelledSource("mood", Path("here"), ("a", "b"), rows, SIDE)


def prepare(path, pictures, detector, **wanted):
    channels = wanted.pop("channels", None)
    landmarks = LandmarkFaces(detector, **wanted)
    coverage = prepare_labelled(source(pictures), path, landmarks=landmarks, channels=channels, progress=False)
    assert coverage == PackedDataset(path).coverage
    assert verify_dataset(path).faults == []
    with (path / "faces.csv").open(newline="", encoding="utf-8") as file:
        return PackedDataset(path), coverage, [row["landmarks"] for row in csv.DictReader(file)]


def written(points_52):
    return " ".join(f"{value:.2f}" for value in points_52.ravel())


def test_mask_is_the_last_channel_and_zero_where_no_face_is_found(tmp_path):
    data, coverage, rows = prepare(tmp_path / "out", [picture(0), blank(), picture(1)], TemplateDetector(), mask=True)
    assert data.channels == ["R", "G", "B", "mask"]
    np.testing.assert_array_equal(data.faces_NHWC[..., :3], np.stack([picture(0), blank(), picture(1)]))
    expected = gaussian_mask(TEMPLATE * SIDE, SIDE, SIDE)
    assert expected.max() > 200
    for row in (0, 2):
        assert abs(data.faces_NHWC[row, ..., 3].astype(int) - expected).max() <= 1  # points travel as float32
    assert (data.faces_NHWC[1, ..., 3] == 0).all()
    assert coverage["landmarks"] == {"found": 2, "not_found": 1}
    assert coverage["faces"]["kept"] == coverage["mood"]["train"]["kept"] == 3
    assert rows == [written(TEMPLATE * SIDE), "", written(TEMPLATE * SIDE)]
    assert data.description["sources"]["landmarks"] == "mask by template"


def test_hull_shows_the_hull_and_leaves_a_face_without_points_whole(tmp_path):
    data, coverage, rows = prepare(tmp_path / "out", [picture(0), blank()], TemplateDetector(), hull=True)
    assert data.channels == ["R", "G", "B"]
    found_52 = (TEMPLATE * 160).astype(np.float32).astype(float) / 160 * SIDE  # as they come out of the enlarged face
    expected = hull_crop(picture(0), found_52, SIDE, HULL_MARGIN)
    np.testing.assert_array_equal(data.faces_NHWC, np.stack([expected, blank()]))
    assert coverage["landmarks"] == {"found": 1, "not_found": 1}
    # the five points are 0.345 of a side high and centred on (0.5, 0.5525); the square is twice as large
    assert rows == [written(((TEMPLATE - (0.5, 0.5525)) / 0.69 + 0.5) * SIDE), ""]


def test_mask_of_a_crop_lies_on_its_features(tmp_path):
    dotted = np.zeros((SIDE * 4, SIDE * 4, 3), np.uint8)
    for x, y in TEMPLATE * len(dotted):
        dotted[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
    made, points = LandmarkFaces(TemplateDetector(), mask=True, hull=True).make([dotted])
    assert made[0].shape == (*dotted.shape[:2], 4)
    for x, y in points[0].astype(int):
        assert made[0][y, x].min() > 200  # white dot and mask


def test_points_that_span_no_face_count_as_not_found(tmp_path):
    line = TEMPLATE * [1, 0] + [0, 0.5]
    data, coverage, rows = prepare(tmp_path / "out", [picture(0)], TemplateDetector(line), hull=True, mask=True)
    np.testing.assert_array_equal(data.faces_NHWC[0, ..., :3], picture(0))
    assert (data.faces_NHWC[0, ..., 3] == 0).all()
    assert coverage["landmarks"] == {"found": 0, "not_found": 1} and rows == [""]


def test_grey_and_mask(tmp_path):
    data, _, _ = prepare(tmp_path / "out", [picture(0)], TemplateDetector(), mask=True, channels="grey")
    assert data.channels == ["grey", "mask"] and data.faces_NHWC.shape == (1, SIDE, SIDE, 2)


@pytest.mark.parametrize(("side", "seen"), [(48, 160), (160, 160), (200, 200)])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_faces_are_enlarged_in_one_batch_and_points_come_back(side, seen, channels):
    detector = TemplateDetector()
    points = find_points([picture(k, side)[..., :channels] for k in range(5)], detector)
    assert detector.calls == 1 and detector.shapes == {(seen, seen, 3)}
    for points_52 in points:
        np.testing.assert_allclose(points_52, TEMPLATE * side, atol=1e-4)


def test_nothing_wanted_is_refused():
    with pytest.raises(ValueError, match="neither mask nor hull"):
        LandmarkFaces(TemplateDetector())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Twelve pictures of two classes in each of two splits, and the detector above behind the command line."""
    monkeypatch.setattr(detect, "build_detector", lambda *_, **__: TemplateDetector())
    for seed in range(24):
        name = tmp_path / "in" / ("train", "test")[seed % 2] / ("joy", "rage")[seed // 2 % 2] / f"{seed}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blank() if seed == 3 else picture(seed)).save(name)
    return tmp_path / "in"


def test_the_command_makes_a_masked_set_that_trains(folder, tmp_path, capsys):
    counts = ["--triplets", "16", "--eval-triplets", "8", "--size", "48"]
    assert main(["prepare", "folder", str(folder), str(tmp_path / "set"), "--mask", *counts]) == 0
    assert "landmarks: found 23, not_found 1" in capsys.readouterr().out
    recipe = tmp_path / "masked.yaml"
    recipe.write_text(TINY_RECIPE % (tmp_path / "set", tmp_path / "result"))
    overrides = ["SOLVER.LENGTH", "2", "DATA.EVAL_SPLITS", "[test]", "EVAL.PERIOD", "2", "LOG.PERIOD", "1"]
    train_run(load_config(recipe, overrides), recipe="masked", resume="")
    lines = (tmp_path / "result/masked/metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert len(losses) == 2 and np.isfinite(losses).all()
    meta = json.loads((tmp_path / "result/masked/checkpoints/2/meta.json").read_text())
    assert meta["data"]["sources"]["landmarks"] == "mask by template"


def test_a_model_without_anything_to_detect_is_refused(folder, tmp_path, capsys):
    arguments = ["prepare", "folder", str(folder), str(tmp_path / "set"), "--detector-model", "yunet.onnx"]
    assert main(arguments) == 2
    assert "yunet.onnx: nothing to detect" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_help_explains(capsys):
    for arguments in (["prepare", "--help"], ["prepare", "rafdb", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        told = capsys.readouterr().out
        assert "--mask" in told and "--hull" in told
