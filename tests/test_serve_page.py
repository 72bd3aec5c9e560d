"""The commands of docs/serve.md: the page is started, and curl asks it."""

import json
import re
import shlex
import shutil
import subprocess

import pytest

from fecnet.cli.main import main
from fecnet.layers.choice import DEFAULT_SCALE, LAPSE_RATE
from fecnet.serve import photos as photos_module
from fecnet.serve import requests, service
from fecnet.serve.face_map import MOST
from fecnet.web.server import served
from tests.conftest import ROOT
from tests.serve.conftest import folder, squares_everywhere  # noqa: F401  (fixtures)

PAGE = (ROOT / "docs" / "serve.md").read_text()
START, CURL = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.usefixtures("squares_everywhere")
def test_the_commands_do_what_the_page_says(folder, tmp_path, monkeypatch):  # noqa: F811
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.copytree(folder / "moods", tmp_path / "datasets" / "set")
    for name, number in zip("abc", (0, 1, 2), strict=True):
        shutil.copy(tmp_path / "photos" / f"{number}.png", tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    told = []

    def asked(app, listening):
        with served(app) as address:
            for command in CURL.splitlines():
                words = shlex.split(command.replace("http://127.0.0.1:8000", address))
                done = subprocess.run(
                    [*words, "--silent", "--show-error", "--fail"], capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0, (command, done.stderr)
                told.append(done.stdout)

    monkeypatch.setattr("fecnet.serve.start.serve", asked)
    for command in START.splitlines():
        program, *words = shlex.split(command)
        words += ["--port", "0"] if words[0] == "serve" else []
        assert program == "fecnet" and main(words) == 0
    odd, faces, alike, row, face = told
    example = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    assert set(json.loads(odd)) == {*example, "photos"} and json.loads(odd)["odd"] in (0, 1, 2)
    assert len(json.loads(faces)["photos"]) == 2 and json.loads(alike)["neighbours"][0]["distance"] < 1e-6
    assert len(json.loads(row)["neighbours"]) == 5 and face == ""
    assert (tmp_path / "face.jpg").read_bytes().startswith(b"\xff\xd8")


def test_the_limits_are_those_of_the_page():
    assert (requests.MAX_PHOTO, photos_module.MAX_PIXELS, requests.MAX_BODY) == (20_000_000, 100_000_000, 64_000_000)
    words = " ".join(PAGE.split())
    assert "a photo may have 20 MB and, according to its header, 100 million pixels" in words
    assert "a request may have 64 MB and ten photos, and take 60 seconds" in words
    assert (photos_module.MAX_FACES, service.PLACES, MOST) == (20, 8, 2000) and "seven requests wait" in words
    assert "The 20 largest faces of a photo" in words and "an even sample of 2,000" in words


def test_the_example_follows_from_its_distances():
    from math import exp

    example = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    weights = [exp(-DEFAULT_SCALE * distance) for distance in reversed(example["distances"])]
    chances = [(1 - LAPSE_RATE) * weight / sum(weights) + LAPSE_RATE / 3 for weight in weights]
    assert example["probabilities"] == pytest.approx(chances, abs=6e-4)
