"""Faces that lie sideways: found on the turned photo, placed in the photo as it is, and cut upright."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.faces import detect
from fecnet.faces.align import TEMPLATE
from fecnet.faces.detections import detections
from fecnet.faces.extract import extract_faces
from fecnet.faces.recipe import FaceRecipe
from fecnet.faces.turns import QUARTERS, TurningDetector, quarter_turn
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.fec import prepare_list
from fecnet.utils.errors import UserError
from fecnet.watch.faces import FaceWatcher
from tests.conftest import write_tiny
from tests.nets import train_on, write_list

LEFT, TOP, SIDE = 30, 20, 40


class UprightDetector:
    """Finds a square whose upper half is the brighter one; upside down with a lower score, or not at all."""

    name = "upright"

    def __init__(self, upside_down=0.0):
        self.photos, self._upside_down = 0, upside_down

    def detect(self, image_HWC):
        return self.detect_batch([image_HWC])[0]

    def detect_batch(self, images):
        self.photos += len(images)
        return [self._find(image_HWC) for image_HWC in images]

    def _find(self, image_HWC):
        bright_K2 = np.argwhere(image_HWC[..., 0] > 100)
        if not len(bright_K2):
            return detections(np.empty(0), np.empty(0), np.empty(0))
        (top, left), (bottom, right) = bright_K2.min(0), bright_K2.max(0) + 1
        upper, lower = np.array_split(image_HWC[top:bottom, left:right].astype(float), 2)
        score = (
            0.99 if upper.mean() > lower.mean() + 20 else self._upside_down if lower.mean() > upper.mean() + 20 else 0
        )
        points_52 = TEMPLATE * [right - left, bottom - top] + [left, top]
        return detections(*([[left, top, right, bottom]], [score], [points_52]) if score else (np.empty(0),) * 3)


def photo(turn=0, seed=0):
    """A photo whose face is upright when it is turned by ``turn``."""
    image_HWC = np.zeros((90, 120, 3), np.uint8)
    face_SSC = np.random.default_rng(seed).integers(110, 180, (SIDE, SIDE, 3))
    face_SSC[: SIDE // 2] += 60
    image_HWC[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = face_SSC
    return np.ascontiguousarray(np.rot90(image_HWC, -turn // 90))


def box_in(turn):
    """By counting pixels."""
    bright_K2 = np.argwhere(photo(turn)[..., 0] > 100)
    return [*bright_K2.min(0)[::-1].tolist(), *(bright_K2.max(0)[::-1] + 1).tolist()]


def eye_in(turn):
    """The image-left eye of the upright face."""
    x, y = TEMPLATE[0] * SIDE + [LEFT, TOP]
    return {0: (x, y), 90: (90 - y, x), 180: (120 - x, 90 - y), 270: (y, 120 - x)}[turn]


@pytest.fixture
def upright_faces(monkeypatch):
    """MTCNN is a detector of upright faces that needs no net."""
    monkeypatch.setattr(detect, "Mtcnn", lambda **_: UprightDetector())


@pytest.mark.parametrize(
    ("turn", "upside_down"),
    [(turn, score) for turn in (0, *QUARTERS) for score in (0.0, 0.7) if not (turn == 180 and score)],  # found as it is
)
def test_box_landmarks_and_crop_are_those_of_the_upright_face(turn, upside_down):
    detector = TurningDetector(UprightDetector(upside_down))
    found = detector.detect(photo(turn))
    assert found.boxes_K4.tolist() == [box_in(turn)] and found.scores_K.tolist() == [pytest.approx(0.99)]
    np.testing.assert_allclose(found.landmarks_K52[0, 0], eye_in(turn), atol=1e-4)
    assert quarter_turn(found.landmarks_K52[0]) == turn
    face, expected = extract_faces([photo(turn), photo()], detector, size=48)
    assert np.abs(face.image_HWC.astype(int) - expected.image_HWC).max() <= 1
    (boxed,) = extract_faces([photo(turn)], detector, size=48, boxes=[box_in(turn)])
    assert quarter_turn(boxed.landmarks_52) == turn
    assert boxed.box_4.tolist() == pytest.approx(box_in(turn), abs=1)


def test_only_photos_without_a_face_are_turned():
    inner = UprightDetector()
    found = TurningDetector(inner).detect_batch([photo(), photo(90), np.zeros((30, 20, 3), np.uint8)])
    assert [len(faces.scores_K) for faces in found] == [1, 1, 0]
    assert inner.photos == 3 + 3 + 3
    assert quarter_turn(np.full((5, 2), np.nan)) == quarter_turn(np.zeros((5, 2))) == 0


def test_off_by_default_and_recorded_where_it_is_on(upright_faces):
    assert not len(detect.build_detector("mtcnn").detect(photo(90)).scores_K)
    for on in (False, True):
        how = Extraction(size=48, try_turns=on)
        recorded = how.recipe(how.build_detector()).to_dict()
        assert recorded.get("try_turns", False) == on
        assert (
            FaceRecipe.from_dict(recorded).build_detector().name
            == how.build_detector().name
            == ("upright, else turned by 90/270/180" if on else "upright")
        )
    with pytest.raises(UserError, match=r"^try_turns: nothing is detected"):
        Extraction(detector="", try_turns=True)
    assert Extraction().folder_name() != Extraction(try_turns=True).folder_name()


def test_photos_through_the_encoder_give_the_packed_faces(upright_faces, tmp_path):
    turns = (0, *QUARTERS)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for turn in turns:
        Image.fromarray(photo(turn, seed=turn)).save(pictures / f"{turn}.png")
    names = [f"{turn}.png" for turn in turns]
    lists, packed = {"train": write_list(tmp_path, names)}, tmp_path / "set"
    how = Extraction(size=48, try_turns=True)
    prepare_list(lists, pictures, packed, extraction=how, workers=1, progress=False)
    dataset = PackedDataset(packed)
    with (packed / "faces.csv").open(newline="") as file:
        flags = [row["flags"] for row in csv.DictReader(file)]
    assert sorted(flags) == ["", "turned_180", "turned_270", "turned_90"]
    run = train_on(packed, tmp_path, "DATA.INPUT_SIZE", 48, "MODEL.MEAN", "[0.5,0.5,0.5]", "MODEL.STD", "[0.5,0.5,0.5]")
    encoder = fecnet.load(run)
    assert encoder.tries_turns
    made = encoder.find_faces([pictures / name for name in names])
    assert {face.image_SSC.tobytes() for face in made} == {face.tobytes() for face in np.array(dataset.faces_NHWC)}


def test_a_net_of_unturned_faces_turns_pictures_if_told_to(upright_faces, aligned_run, tmp_path, capsys):
    plain, told = fecnet.load(aligned_run), fecnet.load(aligned_run, try_turns=True)
    assert [face.status for face in plain.find_faces(photo(270))] == ["no_face"]
    face, expected = told.find_faces([photo(270), photo()])
    assert np.abs(face.image_SSC.astype(int) - expected.image_SSC).max() <= 1
    assert face.box_4.tolist() == box_in(270)
    (watched,) = FaceWatcher(told).process(photo(270))
    assert watched.status == "ok" and watched.box_4.tolist() == box_in(270)
    Image.fromarray(photo(270)).save(tmp_path / "side.png")
    for command in ("embed", "watch"):
        assert main([command, str(aligned_run), str(tmp_path / "side.png"), "--faces", "whole", "--try-turns"]) == 2
        assert capsys.readouterr().err.strip() == "error: --try-turns: nothing is detected with --faces whole"


@pytest.fixture
def aligned_run(upright_faces, tmp_path):
    """A net trained on faces that were aligned, none of them turned."""
    pictures = tmp_path / "upright"
    pictures.mkdir()
    for seed in range(4):
        Image.fromarray(photo(seed=seed)).save(pictures / f"{seed}.png")
    lists = {"train": write_list(tmp_path, [f"{seed}.png" for seed in range(4)])}
    prepare_list(lists, pictures, tmp_path / "plain", extraction=Extraction(size=48), workers=1, progress=False)
    return train_on(tmp_path / "plain", tmp_path)


def test_watch_cuts_faces_upright_for_nets_of_faces_nobody_aligned(upright_faces, tmp_path):
    encoder = fecnet.load(train_on(write_tiny(tmp_path / "tiny"), tmp_path), try_turns=True)
    (expected,) = FaceWatcher(encoder).process(photo())
    for turn in QUARTERS:
        (found,) = FaceWatcher(encoder).process(photo(turn))
        assert found.box_4.tolist() == box_in(turn)
        np.testing.assert_allclose(found.embedding_D, expected.embedding_D, atol=1e-5)


def test_detect_says_how_a_face_lies(upright_faces, tmp_path, capsys):
    Image.fromarray(photo(90)).save(tmp_path / "side.png")
    assert main(["detect", str(tmp_path / "side.png"), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == []
    assert main(["detect", str(tmp_path / "side.png"), "--json", "-", "--try-turns"]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert (face["turn"], face["box"]) == (90, box_in(90))
    assert main(["detect", str(tmp_path / "side.png"), "--try-turns"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("  turn 90")
