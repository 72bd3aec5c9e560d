"""Damage that a format's own checks pass over, found by mutated inputs: one line that names the file."""

import contextlib
import json
import shutil
import sqlite3

import numpy as np
import pytest

from fecnet.embed.videos import Video
from fecnet.encoder.build import load_encoder
from fecnet.rate.study import Study
from fecnet.search.index import Index
from fecnet.utils.files import hash_file
from tests.formats.make import FORMATS


def test_a_study_without_a_table_or_a_column(tmp_path):
    shutil.copytree(FORMATS / "study-1", tmp_path / "study")
    for change, lacking in (
        ("RENAME COLUMN seconds TO time", "answers.seconds"),
        ("RENAME TO old", "answers.answered_at"),
    ):
        with contextlib.closing(sqlite3.connect(tmp_path / "study" / "study.db")) as database:
            database.execute(f"ALTER TABLE answers {change}")
        with pytest.raises(ValueError, match=rf"study\.db: damaged: lacks {lacking}"):
            Study(tmp_path / "study")


def test_vectors_that_stand_column_by_column(tmp_path):
    folder = shutil.copytree(FORMATS / "index-1", tmp_path / "index")
    np.save(folder / "vectors.npy", np.asfortranarray(np.load(folder / "vectors.npy")))
    described = json.loads((folder / "index.json").read_text())
    described["files"]["vectors.npy"]["sha256"] = hash_file(folder / "vectors.npy")
    (folder / "index.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"vectors\.npy: column by column; allowed: row by row"):
        Index(folder)


def test_a_graph_whose_description_is_not_utf8(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'fecnet[export]'")
    content = (FORMATS / "nets-1" / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content.replace(b'"format": 1,', b'"format\xff: 1,'))
    with pytest.raises(ValueError, match=r"net\.onnx: not an ONNX file that onnxruntime reads: UnicodeDecodeError"):
        load_encoder(tmp_path / "net.onnx", device="cpu")


def test_a_video_whose_title_is_not_utf8_is_shown(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'fecnet[video]'")
    with av.open(str(tmp_path / "video.avi"), "w") as container:
        container.metadata["title"] = "caXe"
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((24, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    content = (tmp_path / "video.avi").read_bytes()
    assert content.count(b"caXe") == 1
    (tmp_path / "video.avi").write_bytes(content.replace(b"caXe", b"caf\xe9"))  # as Latin-1 writes it
    assert len(list(Video(tmp_path / "video.avi").frames())) == 1
