"""Every optional library absent, one at a time: one line that names the extra to install."""

import runpy
import sys
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, features

from fecnet.analysis.tables import check_table
from fecnet.embed.sources import Sources
from fecnet.embed.videos import pyav
from fecnet.encoder.onnx_net import OnnxNet
from fecnet.evaluation.comparison import student_t
from fecnet.evaluation.drawing import new_figure
from fecnet.export.onnx import make_onnx
from fecnet.faces import picture_files
from fecnet.faces.mtcnn_nets import load_nets
from fecnet.faces.yunet import YuNet
from fecnet.modeling.backbone.timm_net import TimmNet
from fecnet.run_page.face_map import lay_out
from fecnet.search.kinds import choose_kind
from fecnet.utils.errors import UserError
from fecnet.utils.logging import TensorBoard
from fecnet.watch.camera import cv2
from fecnet.web.extra import check_web
from tests.conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TOOLS = {"dev"}  # of those who change fecnet, and not of fecnet
COLLECTIONS = {"use"}  # of other extras


def photo(suffix):
    """Reading a photo of such a suffix."""

    def read(folder):
        (folder / f"face{suffix}").write_bytes(b"")
        Sources([folder / f"face{suffix}"])

    return read


def events(folder):
    TensorBoard(folder, 0, wanted=True).close()


def face_map(folder):
    print(lay_out(np.eye(5)).method)


def yunet(folder):
    (folder / "yunet.onnx").write_bytes(b"")
    YuNet(folder / "yunet.onnx")


def site(folder):
    assert runpy.run_path(str(ROOT / "docs" / "build_site.py"))["main"]([str(folder)]) == 2


def graph(folder):
    make_onnx(SimpleNamespace(name="net"))


USES = {  # of each library: its module and what needs it
    "facenet-pytorch": ("facenet_pytorch", [lambda _: load_nets("cpu")]),
    "av": ("av", [lambda _: pyav()]),
    "opencv-python-headless": ("cv2", [lambda _: cv2(), yunet]),
    "pillow": ("AVIF", [photo(".avif")]),  # older ones have no decoder of it
    "pillow-heif": ("pillow_heif", [photo(".heic")]),
    "pyarrow": ("pyarrow", [lambda folder: check_table(folder / "faces.parquet")]),
    "faiss-cpu": ("faiss", [lambda _: choose_kind("hnsw", 9)]),
    "onnx": ("onnx", [graph]),
    "onnxscript": ("onnxscript", [graph]),
    "onnxruntime": ("onnxruntime", [graph, lambda folder: OnnxNet(folder / "net.onnx")]),
    "timm": ("timm", [lambda _: TimmNet("resnet18", in_channels=1, input_size=64)]),
    "matplotlib": ("matplotlib", [lambda _: new_figure(4, 4)]),
    "scikit-learn": ("sklearn", [face_map]),
    "scipy": ("scipy", [lambda _: student_t(0.95, 3)]),
    "tensorboard": ("tensorboard", [events]),
    **{
        name: (name.replace("-", "_"), [lambda _: check_web()])
        for name in [
            "fastapi",
            "starlette",
            "uvicorn",
            "httptools",
            "uvloop",
            "jinja2",
            "python-multipart",
            "markdown",
            "krippendorff",
        ]
    },
    **{name: (name.replace("-", "_"), [site]) for name in ("sphinx", "myst-parser", "furo")},
}
WALKED = [
    (extra, library := requirement.split(">")[0].strip(), use)
    for extra, requirements in EXTRAS.items()
    if extra not in TOOLS | COLLECTIONS
    for requirement in requirements
    for use in range(len(USES.get(requirement.split(">")[0].strip(), ("", [None]))[1]))
]


def hide(monkeypatch, module):
    """Let a module and its parts be absent."""
    forget(monkeypatch, module)
    monkeypatch.setitem(sys.modules, module, None)


def forget(monkeypatch, module):
    """Let a module and its parts be imported anew."""
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def decoders():
    """What decodes pictures is found once in a process: found anew in the test and after it."""
    picture_files.decoders.cache_clear()
    yield
    picture_files.decoders.cache_clear()


@pytest.mark.parametrize(("extra", "library", "use"), WALKED)
def test_one_line_names_the_extra(extra, library, use, monkeypatch, tmp_path, capsys, decoders):
    module, uses = USES[library]
    if module == "AVIF":
        monkeypatch.setattr(features, "check", lambda name: name != "avif")
    elif module == "tensorboard":  # torch's writer, which is at hand where it was imported before, needs it
        forget(monkeypatch, "torch.utils.tensorboard")
    elif module == "pillow_heif":
        monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    hide(monkeypatch, module)
    said = ""
    try:
        uses[use](tmp_path)
    except UserError as error:
        said = str(error)
    told = [line for line in (said, *capsys.readouterr()) if line.strip()]
    lines = "".join(told).strip().splitlines()
    assert len(lines) == 1, told
    assert f"pip install 'fecnet[{extra}]'" in lines[0]


def test_the_collections_are_of_extras():
    for name in COLLECTIONS:
        (inside,) = EXTRAS[name]
        parts = inside.removeprefix("fecnet[").removesuffix("]").split(",")
        assert set(parts) <= set(EXTRAS)
