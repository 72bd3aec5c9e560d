"""``fecnet detect``: text, JSON, drawing and one-line errors, with a detector that always finds the same face."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fecnet.cli import main as cli
from fecnet.faces import detect
from fecnet.faces.detections import detections


class OneFace:
    name = "one face"

    def detect(self, image_HWC):
        points = [[14, 18], [26, 18], [20, 24], [15, 30], [25, 30]]
        return detections(np.array([[10, 8, 30, 36]]), np.array([0.75]), np.array([points]))


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.setattr(detect, "build_detector", lambda *_, **__: OneFace())
    Image.new("RGB", (48, 48)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_text_names_box_score_and_points(photo, capsys):
    assert cli.main(["detect", str(photo), str(photo)]) == 0
    expected = (
        f"{photo}: 1 face\n  box 10.0, 8.0, 30.0, 36.0  score 0.750  "
        "points 14.0, 18.0  26.0, 18.0  20.0, 24.0  15.0, 30.0  25.0, 30.0\n"
    )
    assert capsys.readouterr().out == expected * 2


def test_json_is_a_line_per_photo(photo, capsys):
    assert cli.main(["detect", str(photo), str(photo), "--json", "-"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2 and lines[0]["photo"] == str(photo) and lines[0]["detector"] == "one face"
    assert lines[0]["faces"][0]["box"] == [10, 8, 30, 36] and len(lines[0]["faces"][0]["landmarks"]) == 5


def test_json_in_a_file_leaves_the_text(photo, tmp_path, capsys):
    gone, file = str(tmp_path / "gone.png"), tmp_path / "faces.jsonl"
    assert cli.main(["detect", gone, str(photo), "--json", str(file)]) == 2
    said, errors = capsys.readouterr()
    assert said.startswith(f"{photo}: 1 face\n") and "gone.png" in errors
    assert [sorted(json.loads(line)) for line in file.read_text().splitlines()] == [
        ["detector", "error", "photo"],
        ["detector", "faces", "photo"],
    ]


def test_drawing_shows_box_and_points(photo, tmp_path):
    assert cli.main(["detect", str(photo), "--draw", str(tmp_path / "drawn.png")]) == 0
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.getpixel((10, 20)) == (0, 255, 0) and drawn.getpixel((20, 24)) == (255, 0, 0)
        assert drawn.getpixel((2, 2)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jpg"], "absent.jpg"),
        (["{photo}", "--draw", "drawn.xyz"], "drawn.xyz"),
        (["{photo}", "--draw", "drawn.psd"], "drawn.psd"),  # Pillow reads it, but does not write it
        (["{photo}", "{photo}", "--draw", "drawn.png"], "takes one photo, 2 given"),
        ([__file__], "not_an_image"),
    ],
)
def test_errors_are_one_line(photo, capsys, arguments, message):
    assert cli.main(["detect", *(part.format(photo=photo) for part in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_photos_that_cannot_be_read_do_not_stop_the_others(photo, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("<html>")
    given = [str(path) for path in (tmp_path / "gone.png", photo, tmp_path / "text.jpg", tmp_path, photo)]
    assert cli.main(["detect", *given]) == 2
    said, errors = capsys.readouterr()
    assert said.count(f"{photo}: 1 face\n") == 2
    first, second, third = errors.splitlines()
    assert "gone.png" in first and second.endswith("text.jpg: not_an_image: not an image in a known format")
    assert "not a regular file" in third and all(line.startswith("error: ") for line in (first, second, third))
    assert cli.main(["detect", *given, "--json", "-"]) == 2
    said, errors = capsys.readouterr()
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["photo"] for line in lines] == given and not errors
    assert ["error" in line for line in lines] == ["faces" not in line for line in lines] == [1, 0, 1, 1, 0]
    assert "not_an_image" in lines[2]["error"]


def test_a_drawing_that_cannot_be_written_leaves_the_old_one(photo, tmp_path, monkeypatch, capsys):
    drawn = tmp_path / "drawn.jpg"
    drawn.write_bytes(b"old")
    monkeypatch.setattr(Image.Image, "save", half_written)
    assert cli.main(["detect", str(photo), "--draw", str(drawn)]) == 2
    assert drawn.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "drawn.jpg"}


def half_written(image, target, *_, **__):
    if isinstance(target, str | Path):
        Path(target).write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_an_unknown_detector_is_answered(capsys):
    assert cli.main(["detect", "any.jpg", "--detector", "dlib"]) == 2
    assert capsys.readouterr().err == "error: detector: unknown name 'dlib'; allowed: mtcnn, yunet\n"


@pytest.mark.parametrize(("more", "refine"), [([], True), (["--no-refine"], False)])
def test_the_refine_can_be_left_out(photo, monkeypatch, more, refine):
    asked = {}
    monkeypatch.setattr(detect, "build_detector", lambda *_, **how: asked.update(how) or OneFace())
    assert cli.main(["detect", str(photo), *more]) == 0
    assert asked["refine"] is refine
