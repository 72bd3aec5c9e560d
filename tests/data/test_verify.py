"""Every way to break a set gives one line that names the file, and exit code 2."""

import hashlib
import json
import re

import numpy as np
import pytest

from fecnet.cli import main as cli
from fecnet.data.packed import PackedDataset
from fecnet.data.verify import verify_dataset
from tests.data.sets import change_arrays, put, record_again, write_whole

FILES = {
    "expression.npy",
    "faces.csv",
    "faces.npy",
    "labels/mood/test.npz",
    "labels/mood/train.npz",
    "triplets/test.npz",
    "triplets/train.npz",
}


@pytest.fixture
def whole(tmp_path):
    return write_whole(tmp_path / "set")


def flip_byte(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_the_writer_records_every_file(whole):
    recorded = json.loads((whole / "dataset.json").read_text())["files"]
    assert set(recorded) == FILES
    for name, said in recorded.items():
        content = (whole / name).read_bytes()
        assert said == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_a_healthy_set(whole, capsys):
    assert cli.main(["data", "verify", str(whole)]) == 0
    assert capsys.readouterr().out == f"{whole}: 8 files, 30 faces, all well\n"


@pytest.mark.parametrize("key", ["files", "faces", "splits", "coverage"])
def test_a_set_that_does_not_say_all_of_itself_is_refused(whole, key):
    described = json.loads((whole / "dataset.json").read_text())
    del described[key]
    (whole / "dataset.json").write_text(json.dumps(described))
    for read in (verify_dataset, PackedDataset):
        with pytest.raises(ValueError, match=rf"dataset\.json: not a data set description: lacks {key}$"):
            read(whole)


def test_a_set_without_the_hash_of_its_faces_is_refused(whole):
    described = json.loads((whole / "dataset.json").read_text())
    del described["files"]["faces.npy"]["sha256"]
    (whole / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"dataset\.json: 'files' holds no sha256 of faces\.npy"):
        PackedDataset(whole)


def test_a_flipped_byte_of_the_faces(whole, capsys):
    flip_byte(whole / "faces.npy", 500)
    assert cli.main(["data", "verify", str(whole)]) == 2
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{whole}/faces\.npy: sha256 [0-9a-f]{{64}}; dataset\.json records [0-9a-f]{{64}}", first)
    assert last == f"{whole}: 8 files, 30 faces, 1 faults"


@pytest.mark.parametrize("name", sorted(FILES))
def test_any_flipped_byte_is_found_and_told_in_lines(whole, name):
    content, rng = (whole / name).read_bytes(), np.random.default_rng(0)
    for place in [*range(0, min(len(content), 130), 3), *rng.integers(len(content), size=40)]:
        flip_byte(whole / name, place)
        faults = verify_dataset(whole).faults
        assert faults
        assert all(fault.startswith(f"{whole}/{name}: ") and "\n" not in fault for fault in faults), faults
        (whole / name).write_bytes(content)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file(whole, name):
    (whole / name).unlink()
    assert verify_dataset(whole).faults == [f"{whole}/{name}: missing"]


def test_an_extra_file(whole):
    (whole / "notes.txt").write_text("mine")
    faults = verify_dataset(whole).faults
    assert faults == [f"{whole}/notes.txt: not a file of this set; dataset.json does not name it"]


@pytest.mark.parametrize("name", ["labels/mood/train.npz", "triplets/test.npz", "faces.npy", "expression.npy"])
def test_a_truncated_file(whole, name):
    size = (whole / name).stat().st_size
    with (whole / name).open("r+b") as file:
        file.truncate(size // 2)
    faults = verify_dataset(whole).faults
    assert faults[0] == f"{whole}/{name}: {size // 2} bytes; dataset.json records {size}"
    assert re.match(rf"{whole}/{name}: (not a|unreadable or truncated)", faults[1])
    assert len(faults) == 2


FACES = "triplet 4: faces"
BREAKS = {
    "label": ("labels/mood/train.npz", {"label": put(7, 3)}, r"place 7: 'label' is 3; allowed: -1\.\.2"),
    "label_low": ("labels/mood/train.npz", {"label": put(7, -2)}, r"place 7: 'label' is -2; allowed: -1\.\.2"),
    "face": ("labels/mood/test.npz", {"faces": put(2, 30)}, r"place 2: 'faces' is 30; allowed: 0\.\.29"),
    "twice": ("labels/mood/test.npz", {"faces": put(2, 18)}, r"face 18 occurs 2 times; allowed: once"),
    "lengths": ("labels/mood/test.npz", {"label": lambda label: label[:-1]}, r"shapes \(12,\), \(11,\)"),
    "fractions": ("labels/mood/test.npz", {"label": lambda label: label / 2}, "must hold whole numbers"),
    "sum": ("labels/mood/test.npz", {"distribution": put((1, 0), 0.5)}, r"place 1: 'distribution' sums to 1\.5"),
    "share": ("labels/mood/test.npz", {"distribution": put((1, 0), -0.1)}, r"place 1: 'distribution' is .*0\.\.1"),
    "nan": ("labels/mood/test.npz", {"distribution": put((1, 0), np.nan)}, r"place 1: 'distribution' is .*all NaN"),
    "classes": ("labels/mood/test.npz", {"distribution": lambda share: share[:, :2]}, r"expected floats, \(12, 3\)"),
    "valence": (
        "labels/mood/test.npz",
        {"valence_arousal": lambda _: np.full((12, 2), -2.0)},
        r"place 0: 'valence_arousal' is \[-2\.0, -2\.0\]; allowed: -1\.\.1, or all NaN",
    ),
    "odd": ("triplets/train.npz", {"odd": put(3, 3)}, r"triplet 3: 'odd' is 3; allowed: 0\.\.2"),
    "same": (
        "triplets/train.npz",
        {"faces": put(4, 7)},
        r"triplet 4: faces \[7, 7, 7\]; allowed: three different ones",
    ),
    "type": ("triplets/train.npz", {"type": put(0, 2)}, r"holds .*'three_class': 4.*; dataset\.json announces .*: 3"),
    "votes": ("triplets/train.npz", {"votes": put(0, [1, 1, 9])}, r"triplet 0: votes \[1, 1, 9\], answers .*the same"),
    "answer": ("triplets/train.npz", {"answer": put(0, 3)}, r"'answer' holds 0\.\.3; allowed: 0\.\.2"),
    "offset": ("triplets/train.npz", {"answer_offset": put(3, 99)}, "'answer_offset' must rise from 0 to .* 27"),
    "ends": ("triplets/train.npz", {"answer_offset": put(9, 26)}, "'answer_offset' must rise from 0 to .* 27"),
    "raters": (
        "triplets/train.npz",
        {"annotator": lambda one: one[1:]},
        r"answers of shapes \(10,\), \(26,\), \(27,\)",
    ),
    "no_raters": ("triplets/train.npz", {"annotator": None}, "lacks annotator; allowed: all of"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_wrong_inside_a_file(whole, case):
    name, changes, said = BREAKS[case]
    change_arrays(whole / name, **changes)
    assert len(verify_dataset(whole).faults) == 2  # the hash, and what is wrong
    record_again(whole)
    (fault,) = verify_dataset(whole).faults
    assert re.match(rf"{whole}/{name}: .*{said}", fault), fault


def test_absent_valence_is_allowed(whole):
    change_arrays(whole / "labels/mood/test.npz", valence_arousal=lambda _: np.full((12, 2), np.nan))
    record_again(whole)
    assert verify_dataset(whole).faults == []
    assert np.isnan(PackedDataset(whole).labels("mood", "test").valence_arousal_M2).all()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("k7,photo 7,,p2,,,,\r\n", "", "29 rows; dataset.json announces 30 faces"),
        ("k7,photo", "k3,photo", "face 7: key 'k3' is that of face 3 too"),
        ("k7,photo 7", "k7,", "face 7: key 'k7', source ''; allowed: neither empty"),
        ("p1,,,4,", "p1,,,5,", "face 5: duplicate_of '5'; allowed: another face of 0..29, or empty"),
        ("p1,,,4,", "p1,,,30,", "face 5: duplicate_of '30'; allowed: another face of 0..29, or empty"),
        ("k7,photo 7,,p2,,,,", "k7,photo 7", "line 9: not 8 fields as in the first line"),
        ("key,source,box", "key,source,square", "lacks the columns box"),
    ],
)
def test_what_is_wrong_with_the_rows_of_faces(whole, before, after, said):
    text = (whole / "faces.csv").read_bytes().decode()
    assert before in text
    (whole / "faces.csv").write_bytes(text.replace(before, after).encode())
    record_again(whole)
    assert verify_dataset(whole).faults == [f"{whole}/faces.csv: {said}"]


def test_many_faults_of_a_file_are_counted(whole):
    text = (whole / "faces.csv").read_text()
    (whole / "faces.csv").write_text(re.sub(r"k\d+,", ",", text))
    record_again(whole)
    faults = verify_dataset(whole).faults
    assert len(faults) == 21
    assert faults[-1] == f"{whole}/faces.csv: 10 further faults"


def test_counts_are_those_announced(whole):
    file = whole / "dataset.json"
    described = json.loads(file.read_text())
    described["splits"]["test"]["labels"]["mood"] = 11
    file.write_text(json.dumps(described))
    assert verify_dataset(whole).faults == [f"{whole}/labels/mood/test.npz: 12 labels; dataset.json announces 11"]
    del described["label_sets"]["mood"]
    file.write_text(json.dumps(described))
    assert [fault.split(": ", 1)[1] for fault in verify_dataset(whole).faults] == [
        "dataset.json names no label set 'mood'; it names: none"
    ] * 2


def test_all_faults_are_told(whole, capsys):
    flip_byte(whole / "faces.npy", 500)
    (whole / "expression.npy").unlink()
    change_arrays(whole / "triplets/test.npz", odd=put(0, 5))
    assert cli.main(["data", "verify", str(whole)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0].removeprefix(f"{whole}") for line in lines] == [
        "/expression.npy",
        "/faces.npy",
        "/triplets/test.npz",
        "/triplets/test.npz",
        "",
    ]
    assert lines[-1].endswith("7 files, 30 faces, 4 faults")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_faces", "30", "'num_faces' is '30'"),
        ("splits", [], r"'splits' is \[\]; allowed: a mapping"),
        ("splits", {"a": {"labels": 3}}, r"'splits\.a\.labels' is 3; allowed: a mapping or null"),
        ("label_sets", {"mood": {}}, r"lacks 'label_sets\.mood\.classes'; allowed: a list"),
        ("files", {"faces.npy": "abc"}, r"'files' holds no sha256 of faces\.npy"),
        ("files", {"faces.npy": {"sha256": "0"}, "x": "abc"}, r"'files\.x' is 'abc'; allowed: a mapping"),
        ("coverage", 3, "'coverage' is 3; allowed: a mapping"),
        ("faces", None, "'faces' is None; allowed: a mapping"),
        ("height", -1, "'height' is -1; allowed: a whole number, 0 or more"),
        ("sources", {"a": [1]}, r"'sources\.a' is \[1\]; allowed: text"),
        ("channels", "grey", r"channels grey; allowed: \['grey'\]"),
    ],
)
def test_a_description_that_cannot_be_used(whole, capsys, key, value, said):
    described = json.loads((whole / "dataset.json").read_text())
    (whole / "dataset.json").write_text(json.dumps(described | {key: value}))
    assert cli.main(["data", "verify", str(whole)]) == 2
    assert re.match(rf"error: {whole}/dataset\.json: .*{said}", capsys.readouterr().err)


def test_labels_are_read(whole):
    table = PackedDataset(whole).labels("mood", "test")
    assert table.classes == ("calm", "glad", "cross")
    assert table.faces_M.tolist() == list(range(18, 30))
    assert table.label_M.tolist() == [0, 1, 2, -1, *[1, 2, 0] * 2, 1, 2]
    assert len(table) == 12
    assert table.distribution_MK[0].tolist() == [1, 0, 0]
    assert table.valence_arousal_M2 is None
    with pytest.raises(ValueError, match="no label set 'age'; there are: mood"):
        PackedDataset(whole).labels("age", "test")
    with pytest.raises(ValueError, match="no split 'dev' in label set 'mood'; there are: test, train"):
        PackedDataset(whole).labels("mood", "dev")
