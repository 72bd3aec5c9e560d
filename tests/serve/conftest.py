"""A small net with classes and an embedding, photos of bright squares, an index and a map: made once, read only."""

import io

import pytest
from PIL import Image

import fecnet
from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset
from fecnet.embed.sources import Sources
from fecnet.run_page.face_map import Layout, principal
from fecnet.runs.training import train_run
from fecnet.search.building import build_index
from fecnet.search.index import Index
from fecnet.serve.face_map import FaceMap
from fecnet.serve.gallery import Gallery
from tests.classes import KINDS, RECIPE, write_labelled
from tests.faces.test_extract import Squares, photo
from tests.nets import noisy

STRANGE = '<img src=x onerror=alert(1)> "1".png'  # a file's name that does what it can
FACES = [[(10, 10)], [(150, 20)], [(60, 120)], [(200, 90)], [(30, 30), (150, 130)], [(100, 60)], [(20, 80)], [(80, 20)]]


def picture(number, *corners, side=60):
    """A photo with faces, uint8."""
    return noisy(photo(*corners, sides=[side - 10 * n for n in range(len(corners))]), number)


def png(image_HWC):
    held = io.BytesIO()
    Image.fromarray(image_HWC).save(held, "PNG")
    return held.getvalue()


def find_squares(patch):
    """A detector without a net, and a map without t-SNE, whose import takes seconds."""
    patch.setattr("fecnet.encoder.face_maker.build_detector", lambda *_, **__: Squares())
    patch.setattr("fecnet.serve.face_map.lay_out", lambda value_ND: Layout(principal(value_ND), "PCA"))


@pytest.fixture(autouse=True)
def squares_everywhere(monkeypatch):
    find_squares(monkeypatch)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """``result/joint``, ``result/classifier``, their ``moods``, and ``photos``."""
    folder = tmp_path_factory.mktemp("serve")
    data = write_labelled(folder / "moods")
    for kind in ("joint", "classifier"):
        recipe = folder / f"{kind}.yaml"
        recipe.write_text(RECIPE % (data, *KINDS[kind], folder / "result"))
        short = ["SOLVER.LENGTH", "2", "EVAL.PERIOD", "0", "CHECKPOINT.PERIOD", "0", "DATA.EVAL_SPLITS", "[train]"]
        assert train_run(load_config(recipe, short), recipe=kind) == 0
    (folder / "photos").mkdir()
    for number, corners in enumerate(FACES):
        name = STRANGE if number == 3 else f"{number}.png"
        (folder / "photos" / name).write_bytes(png(picture(number, *corners)))
    return folder


@pytest.fixture(scope="session")
def photos(folder):
    """The content of each photo, in the order of the index."""
    return [path.read_bytes() for path in sorted((folder / "photos").iterdir())]


@pytest.fixture(scope="session")
def encoder(folder):
    with pytest.MonkeyPatch.context() as patch:  # undone at once: tests of other folders must not see it
        find_squares(patch)
        encoder = fecnet.load(folder / "result" / "joint", device="cpu")
        encoder.check_detector()  # builds it
    return encoder


@pytest.fixture(scope="session")
def index(folder, encoder):
    sources = Sources([folder / "photos"], once=True)
    build_index(encoder, sources, folder / "index", kind="flat", faces="all", overwrite=False)
    return Index(folder / "index")


@pytest.fixture(scope="session")
def parts(folder, encoder, index):
    """Gallery and map."""
    with pytest.MonkeyPatch.context() as patch:
        find_squares(patch)
        return {"gallery": Gallery(index), "face_map": FaceMap(encoder, PackedDataset(folder / "moods"))}
