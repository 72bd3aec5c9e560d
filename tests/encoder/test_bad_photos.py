"""Photos that a user may well give: each has one row with its face, or one word that says why there is none."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.faces.decode import decode_image
from tests.faces.test_detect import DATA, detector_or_skip, needs_faces
from tests.faces.test_extract import photo
from tests.nets import noisy

BOX = [96, 80, 160, 144]


def lit_face():
    """Grey levels of a photo of one face, and the same as RGB."""
    grey_HW = noisy(photo((96, 80), sides=[64]), 1)[..., 0]
    grey_HW[104:120, 112:128] = 130
    return grey_HW, np.repeat(grey_HW[..., None], 3, axis=2)


def written(folder):
    """The same face in each kind of file, and photos without one."""
    grey_HW, image_HWC = lit_face()
    other = Image.fromarray(photo((10, 10)))
    Image.fromarray(image_HWC).save(folder / "rgb.png")
    Image.fromarray(grey_HW).save(folder / "grey.png")
    Image.fromarray(grey_HW.astype(np.uint16) * 257).save(folder / "sixteen.png")
    Image.fromarray(image_HWC).convert("CMYK").save(folder / "cmyk.tif")
    for name in ("animated.gif", "animated.webp"):
        frames = {"save_all": True, "append_images": [other, other], "duration": 90}
        Image.fromarray(image_HWC).save(folder / name, **frames, **({"lossless": True} if "webp" in name else {}))
    Image.fromarray(np.zeros((90, 120), np.uint8)).save(folder / "dark.png")
    (folder / "cut.png").write_bytes((folder / "rgb.png").read_bytes()[:4000])
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "kinds").mkdir()
    monkeypatch.chdir(tmp_path)
    return written(tmp_path / "kinds")


def test_every_kind_of_file_has_its_row(aligned, here, capsys):
    """Grey, CMYK, 16 bits and animated: the face of the RGB photo; dark and cut photos: a status."""
    run = str(aligned[0])
    assert main(["embed", run, "kinds", "--format", "csv", "--output", "rows.csv"]) == 0
    assert main(["analyze", "kinds", "--net", run, "--output", "faces.csv"]) == 0
    told = capsys.readouterr().out
    assert "8 photos: 6 faces; photos and frames without a face 2: no_face 1, truncated 1" in told
    assert "2 pictures without one: no_face 1, truncated 1" in told
    with open("rows.csv", newline="") as rows, open("faces.csv", newline="") as faces:  # noqa: PTH123
        row_of = {row["name"].split("/")[-1]: row for row in csv.DictReader(rows)}
        found = {row["picture"].split("/")[-1]: row for row in csv.DictReader(faces)}
    assert sorted(row_of) == here
    word = {name: row["status"] for name, row in row_of.items()}
    assert {name: word.pop(name) for name in ("dark.png", "cut.png")} == {"dark.png": "no_face", "cut.png": "truncated"}
    assert set(word.values()) == {"ok"} and set(found) == set(word)
    expected = fecnet.load(run).embed("kinds/rgb.png")[0]
    for name in word:
        for row, first in ((row_of[name], "v"), (found[name], "embedding_")):
            assert [float(row[edge]) for edge in ("x1", "y1", "x2", "y2")] == BOX, name
            vector_D = np.array([float(row[f"{first}{d}"]) for d in range(16)])
            assert np.abs(vector_D - expected).max() <= (2e-2 if name == "cmyk.tif" else 1e-5), name


def test_a_photo_without_a_face_never_gets_an_answer(aligned, here, capsys):
    run = str(aligned[0])
    encoder = fecnet.load(run)
    assert encoder.odd_one_out("kinds/rgb.png", "kinds/dark.png", "kinds/grey.png") is None
    assert np.isnan(encoder.distance("kinds/rgb.png", "kinds/dark.png")) and encoder.analyze("kinds/dark.png") == []
    for words, said in [
        (["odd", "kinds/rgb.png", "kinds/dark.png", "kinds/grey.png", "--net", run], "kinds/dark.png: no_face: "),
        (["odd", "kinds/rgb.png", "kinds/cut.png", "kinds/grey.png", "--net", run], "kinds/cut.png: truncated: "),
        (["search", "build", run, "kinds/dark.png", "--output", "i"], "none of 1 pictures has a face: no_face 1"),
        (["search", "odd", "kinds/dark.png", "--net", run], "none of 1 pictures has a face: no_face 1"),
    ]:
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith("error: ") and said in error.splitlines()[-1]
    assert main(["watch", run, "kinds/dark.png", "--no-window", "--output", "dark.png", "--table", "dark.csv"]) == 0
    assert "1 frame, 0 with faces" in capsys.readouterr().out
    assert np.array_equal(np.asarray(Image.open("dark.png").convert("L")), np.zeros((90, 120)))
    assert main(["search", "build", run, "kinds", "--output", "index"]) == 0
    capsys.readouterr()
    assert main(["search", "query", "index", "kinds/grey.png", "kinds/dark.png", "--json", "-"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [answer["status"] for answer in answers] == ["ok", "no_face"] and len(answers[0]["neighbours"]) == 5


@needs_faces
def test_small_faces_and_profiles_of_real_photos(encoder):
    """A face of 12 pixels is none, of 60 it is; a face turned far aside is found where it is."""
    detector_or_skip("mtcnn")
    profile_HWC = decode_image(DATA / "faces" / "images" / "helen_3213143311_1.jpg")  # a face of 200 × 270 pixels
    scenes = []
    for side in (12, 60):
        small = Image.fromarray(profile_HWC).crop((170, 100, 470, 470))
        small = small.resize((round(300 * side / 240), round(370 * side / 240)))
        scene = Image.new("RGB", (300, 200), (120, 120, 120))
        scene.paste(small, (100, 60))
        scenes.append(np.asarray(scene))
    found = encoder.encode([profile_HWC, *scenes])
    assert found.status == ["ok", "no_face", "ok"]
    assert np.abs(found.box_N4[0] - [221, 151, 420, 419]).max() < 8 and found.box_N4[2, 0] > 100
    assert np.isnan(found.box_N4[1]).all() and np.isnan(found.outputs["embedding"][1]).all()
