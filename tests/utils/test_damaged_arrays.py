"""Arrays that numpy opens although they are damaged: bytes in place of an array, and text of no characters."""

import io
import zipfile

import numpy as np
import pytest

from fecnet.prepare.labelled.affectnet import read_affectnet
from fecnet.prepare.labelled.ckplus import read_ckplus
from fecnet.utils.errors import DataError
from fecnet.utils.files import open_array, read_arrays

NO_CHARACTER = np.array([0x110000], np.uint32).view("U1")  # Unicode ends one before


def test_bytes_in_place_of_an_array(tmp_path):
    held = io.BytesIO()
    np.savez(held, images=np.zeros((1, 48, 48), np.uint8), label=np.zeros(1, int), classes=["joy"], filename=["S005_1"])
    with zipfile.ZipFile(held) as old, zipfile.ZipFile(tmp_path / "ckplus48.npz", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[1 if name == "images.npy" else 0 :])
    with pytest.raises(DataError, match=r"ckplus48.npz: 'images': damaged: not an array"):
        read_ckplus(tmp_path)


def test_text_of_no_characters(tmp_path):
    np.savez(tmp_path / "a.npz", names=NO_CHARACTER)
    with pytest.raises(DataError, match=r"a.npz: 'names': damaged: text with the code 1114112"):
        read_arrays(tmp_path / "a.npz", ["names"], kind="list")
    np.save(tmp_path / "a.npy", NO_CHARACTER.astype(">U1"))
    with pytest.raises(DataError, match=r"a.npy: damaged: text with the code 1114112"):
        open_array(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array(["é", "\U0010ffff", ""]))
    assert open_array(tmp_path / "b.npy").tolist() == ["é", "\U0010ffff", ""]


def test_an_annotation_of_no_characters(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "annotations" / "0_exp.npy", NO_CHARACTER)
    with pytest.raises(DataError, match=r"0_exp\.npy: damaged"):
        read_affectnet(tmp_path)
