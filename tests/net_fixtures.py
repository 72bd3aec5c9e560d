"""Fixtures: a tiny net and photos; photos of bright squares, a detector that finds them, and a net trained on them."""

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.embed import shards, sources
from fecnet.faces import recipe
from fecnet.prepare import extraction
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.fec import prepare_list
from tests.conftest import write_tiny
from tests.faces.test_extract import Squares, photo
from tests.nets import noisy, save, train_on, write_list


@pytest.fixture
def squares(monkeypatch):
    """Replace every detector by one that needs no net."""
    for module in (extraction, recipe):
        monkeypatch.setattr(module, "build_detector", lambda *_, **__: Squares())


@pytest.fixture
def aligned(tmp_path, squares):
    """The run, the packed set, the files and the pixels of the photos."""
    corners = [[(10, 10), (100, 80)], [(150, 20)], [(60, 120), (10, 10)], [(200, 90)], [(30, 30), (120, 130)]]
    sides = [[30, 60], [50], [55, 20], [45], [40, 64]]
    images = [noisy(photo(*c, sides=s), k) for k, (c, s) in enumerate(zip(corners, sides, strict=True))]
    pictures = save(tmp_path / "pictures", images)
    files = {"train": write_list(tmp_path, [path.name for path in pictures])}
    how = Extraction(size=48, margin=0.3)
    prepare_list(files, tmp_path / "pictures", tmp_path / "set", extraction=how, workers=1, progress=False)
    return train_on(tmp_path / "set", tmp_path), tmp_path / "set", pictures, images


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    return train_on(write_tiny(folder / "tiny"), folder)


@pytest.fixture(scope="module")
def encoder(run):
    return fecnet.load(run, device="cpu")


@pytest.fixture
def photos(tmp_path):
    """A tree of eleven pictures, one of them damaged, and other files."""
    folder = tmp_path / "photos"
    for number in range(10):
        file = folder / ("deeper/still" if number > 6 else "") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (60, 50, 3), np.uint8)).save(file)
    (folder / "broken.jpg").write_bytes((folder / "0.png").read_bytes()[:900])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture
def small_pieces(monkeypatch):
    for module in (sources, shards):
        monkeypatch.setattr(module, "PIECE", 3)
