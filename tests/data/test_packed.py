"""Opening packed sets: what is wrong is named in one line."""

import json

import numpy as np
import pytest

from fecnet.data.packed import PackedDataset


def test_what_was_written_is_read(tiny):
    dataset = PackedDataset(tiny)
    assert dataset.faces_NHWC.shape == (60, 48, 48, 1)
    assert dataset.channels == ["grey"]
    assert dataset.coverage == {"faces": {"read": 60, "kept": 60}}
    table = dataset.triplets("val")
    assert len(table) == 40
    assert table.faces_T3.shape == (40, 3)
    assert isinstance(dataset.faces_NHWC, np.memmap)


def test_no_data_set(tmp_path):
    with pytest.raises(ValueError, match=r"no packed data set here \(no dataset\.json\)"):
        PackedDataset(tmp_path)


def test_another_version_is_refused(tiny):
    description = json.loads((tiny / "dataset.json").read_text())
    (tiny / "dataset.json").write_text(json.dumps(description | {"format": 99}))
    with pytest.raises(ValueError, match=r"dataset\.json: made by a newer fecnet: format 99, "):
        PackedDataset(tiny)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_description_is_refused(tiny, text):
    (tiny / "dataset.json").write_text(text)
    with pytest.raises(ValueError, match=r"dataset\.json: not a data set description"):
        PackedDataset(tiny)


@pytest.mark.parametrize("size", [0, 100, 60_000])
def test_truncated_faces_are_refused(tiny, size):
    with (tiny / "faces.npy").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(ValueError, match=r"faces\.npy: unreadable or truncated"):
        PackedDataset(tiny)


def test_faces_of_another_shape_are_refused(tiny):
    np.save(tiny / "faces.npy", np.zeros((60, 48, 47, 1), np.uint8))
    with pytest.raises(ValueError, match=r"holds uint8 \(60, 48, 47, 1\); dataset\.json announces"):
        PackedDataset(tiny)


def test_an_absent_split_is_answered_with_those_there_are(tiny):
    with pytest.raises(ValueError, match=r"no triplet split 'dev'; there are: test, train, val"):
        PackedDataset(tiny).triplets("dev")


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("faces", (7, 1), 60, r"triplet 7: 'faces' is .*60.*; allowed: 0\.\.59"),
        ("faces", (3, 0), -1, r"triplet 3: 'faces' is .*-1.*; allowed: 0\.\.59"),
        ("odd", (5,), 3, r"triplet 5: 'odd' is 3; allowed: 0\.\.2"),
        ("type", (0,), 3, r"triplet 0: 'type' is 3; allowed: 0\.\.2"),
    ],
)
def test_an_index_out_of_range_is_named(tiny, name, place, value, said):
    path = tiny / "triplets" / "train.npz"
    arrays = dict(np.load(path))
    arrays[name][place] = value
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=said):
        PackedDataset(tiny).triplets("train")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x80\x04pickle"])
def test_a_broken_triplet_file_is_named(tiny, content):
    (tiny / "triplets" / "train.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"train\.npz: not a triplet file"):
        PackedDataset(tiny).triplets("train")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("odd", lambda odd: odd + 0.5, "whole numbers"),
        ("type", lambda kind: kind[:, None], r"expected \(T, 3\), \(T,\), \(T,\), \(T, 3\)"),
        ("votes", lambda votes: votes[:, :1], r"expected \(T, 3\), \(T,\), \(T,\), \(T, 3\)"),
    ],
)
def test_arrays_of_another_shape_or_kind_are_refused(tiny, name, change, said):
    path = tiny / "triplets" / "train.npz"
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {name: change(arrays[name])})
    with pytest.raises(ValueError, match=said):
        PackedDataset(tiny).triplets("train")


def test_a_split_without_triplets_is_refused(tiny):
    path = tiny / "triplets" / "val.npz"
    np.savez(path, **{name: array[:0] for name, array in np.load(path).items()})
    with pytest.raises(ValueError, match="at least one triplet"):
        PackedDataset(tiny).triplets("val")
