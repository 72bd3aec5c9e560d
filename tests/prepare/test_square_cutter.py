"""Square crops of pictures, by threads and by processes."""

import os
import signal
from functools import partial

import numpy as np
import pytest
from PIL import Image

from fecnet.faces.square_faces import load_squares
from fecnet.prepare.labelled import face_cutters
from fecnet.prepare.labelled.face_cutters import SquareCutter
from fecnet.prepare.labelled.labelled_source import LabelledPicture
from fecnet.utils.errors import DataError


@pytest.fixture
def pictures(tmp_path):
    """Forty files, the last of which is no picture; every third with a box."""
    random = np.random.default_rng(0)
    made = []
    for k in range(40):
        file = tmp_path / f"{k}.png"
        Image.fromarray(random.integers(0, 255, (30 + k, 40, 3), np.uint8)).save(file)
        box = (2.0, 3.0, 20.0, 25.0) if k % 3 == 0 else ()
        made.append(LabelledPicture(file.name, file, label=0, split="train", box=box))
    made[-1].picture.write_bytes(b"no picture")
    return made


def cut(pictures, workers=2):
    cutter = SquareCutter(16, grey=False, workers=workers, progress=False)
    return [
        (place, face if isinstance(face, str) else face.image_SSC.tobytes()) for place, face in cutter.cut(pictures)
    ]


def test_processes_cut_what_threads_cut(pictures, monkeypatch):
    by_threads = cut(pictures)
    assert [place for place, _ in by_threads] == [*range(40)] and isinstance(by_threads[-1][1], str)
    monkeypatch.setattr(face_cutters, "_MANY", 40)
    monkeypatch.setattr(face_cutters, "ThreadPoolExecutor", None)  # processes it is
    assert cut(pictures) == by_threads


def test_one_worker_and_pixels_need_no_process(pictures, monkeypatch):
    monkeypatch.setattr(face_cutters, "_MANY", 1)
    monkeypatch.setattr(face_cutters, "processes", None)
    pixels = [LabelledPicture("#0", np.zeros((9, 9), np.uint8), label=0, split="train")]
    assert len(cut(pictures, workers=1)) == 40 and len(cut(pixels)) == 1


def kill_itself(pictures, size, *, grey):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_an_error_not_a_wait(pictures, monkeypatch):
    monkeypatch.setattr(face_cutters, "_MANY", 1)
    cutter = SquareCutter(16, grey=False, workers=2, progress=False)
    assert cutter._load.func is load_squares
    cutter._load = partial(kill_itself, size=16, grey=False)
    with pytest.raises(DataError, match=r"was killed.*fewer --workers"):
        list(cutter.cut(pictures))
