"""The packing of labelled pictures, whatever their source."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fecnet.data.packed import PackedDataset
from fecnet.faces.square_faces import load_square
from fecnet.prepare.labelled.label_noise import uniform_label_noise
from fecnet.prepare.labelled.labelled import prepare_labelled
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.utils.errors import DataError

CLASSES = ("a", "b", "c")


def picture(seed, side=8):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def source(pictures, dropped=None):
    return LabelledSource("mood", Path("here"), CLASSES, pictures, 8, dropped=dropped or {}, provenance={"list": "1"})


def numbered(num, split, start=0):
    return [LabelledPicture(f"{start + k}.png", picture(start + k), k % 3, split) for k in range(num)]


def prepare(what, path, **keywords):
    return prepare_labelled(what, path, **({"progress": False} | keywords))


def faces_csv(path):
    with (path / "faces.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_faces_labels_and_coverage(tmp_path):
    good = tmp_path / "ein Bild ü.png"
    Image.fromarray(picture(50)).save(good)
    (tmp_path / "broken.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "folder.png").mkdir()
    pictures = [
        LabelledPicture("t0", picture(0), 2, "test"),
        LabelledPicture("t1", picture(1), 1, "test", valence_arousal=(0.5, -0.25)),
        LabelledPicture("0", picture(0), 0, "train", subject="S1", sequence="S1_2"),
        LabelledPicture("ü", good, 1, "train"),
        LabelledPicture("again", good, 1, "train"),
        LabelledPicture("again", good, 1, "train"),
        LabelledPicture("gone", tmp_path / "gone.png", 1, "train"),
        LabelledPicture("broken", tmp_path / "broken.png", 1, "train"),
        LabelledPicture("page", tmp_path / "page.jpg", 1, "test"),
        LabelledPicture("folder", tmp_path / "folder.png", 1, "val"),
    ]
    coverage = prepare(source(pictures, {"train": {"unknown_label": 3}}), tmp_path / "out")
    rows = faces_csv(tmp_path / "out")
    assert [row["source"] for row in rows] == ["0", "ü", "again", "t0", "t1"]  # training first
    assert [row["flags"] for row in rows] == ["", "", "duplicate", "duplicate duplicate_in_train", ""]
    assert [row["duplicate_of"] for row in rows] == ["", "", "1", "0", ""]
    assert (rows[0]["subject"], rows[0]["sequence"]) == ("S1", "S1_2")
    data = PackedDataset(tmp_path / "out")
    assert data.channels == ["R", "G", "B"]
    np.testing.assert_array_equal(data.faces_NHWC, np.stack([picture(k) for k in (0, 50, 50, 0, 1)]))
    train, test = (np.load(tmp_path / f"out/labels/mood/{split}.npz") for split in ("train", "test"))
    assert (train["faces"].tolist(), train["label"].tolist()) == ([0, 1, 2], [0, 1, 1])
    assert (test["faces"].tolist(), test["label"].tolist()) == ([3, 4], [2, 1])
    np.testing.assert_array_equal(test["valence_arousal"], [[np.nan, np.nan], [0.5, -0.25]])
    assert "valence_arousal" not in train
    assert data.description["label_sets"] == {"mood": {"classes": list(CLASSES)}}
    assert coverage == data.coverage
    broken = load_square(tmp_path / "broken.png", (), 8, grey=False)
    assert broken in ("damaged", "truncated")
    dropped = {broken: 1, "missing_file": 1, "repeated": 1, "unknown_label": 3}
    flagged = {"duplicate": 1, "duplicate_in_train": 0}
    assert coverage["mood"]["train"] == {"read": 9, "kept": 3, "dropped": dropped, "flagged": flagged}
    assert coverage["mood"]["val"]["dropped"] == {"cannot_open": 1}
    assert coverage["mood"]["test"]["dropped"] == {"not_an_image": 1}
    assert (coverage["faces"]["read"], coverage["faces"]["kept"]) == (13, 5)
    assert coverage["faces"]["flagged"] == {"duplicate": 2, "duplicate_in_train": 1}


def test_more_faces_than_one_chunk_with_gaps(tmp_path):
    pictures = numbered(600, "train")
    pictures[300] = LabelledPicture("gone", tmp_path / "gone.png", 0, "train")
    prepare(source(pictures), tmp_path / "out", channels="grey")
    faces = PackedDataset(tmp_path / "out").faces_NHWC
    assert faces.shape == (599, 8, 8, 1)
    expected = np.asarray(Image.fromarray(picture(599)).convert("L"))
    np.testing.assert_array_equal(faces[598, ..., 0], expected)
    assert len(np.load(tmp_path / "out/faces.npy")) == 599  # as a plain file too
    assert (tmp_path / "out/faces.npy").stat().st_size == 128 + 599 * 64


def test_nothing_readable_is_an_error_and_leaves_nothing(tmp_path):
    gone = [LabelledPicture(f"{k}", tmp_path / f"{k}.png", 0, "train") for k in range(3)]
    with pytest.raises(ValueError, match="here: no readable picture; missing_file 3"):
        prepare(source(gone), tmp_path / "out")
    with pytest.raises(ValueError, match="here: no labelled picture; unknown_label 2"):
        prepare(source([], {"train": {"unknown_label": 2}}), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"size": 0}, "size: 0; allowed"),
        ({"channels": "cmyk"}, "channels: 'cmyk'; allowed: grey, rgb"),
        ({"num_train_triplets": -1}, "triplets: -1"),
        ({"label_noise": 1.5}, "label-noise: 1.5; allowed: 0 to 1"),
        ({"label_noise": float("nan")}, "label-noise: nan"),
    ],
)
def test_options_out_of_range(tmp_path, keywords, message):
    with pytest.raises(ValueError, match=message):
        prepare(source(numbered(3, "train")), tmp_path / "out", **keywords)


def test_noise_needs_a_training_split(tmp_path):
    with pytest.raises(ValueError, match="has no split 'train'; there are: all"):
        prepare(source(numbered(3, "all")), tmp_path / "out", label_noise=0.5)


def test_triplets_from_labels(tmp_path):
    pictures = numbered(40, "train") + numbered(20, "test", 40) + [LabelledPicture("copy", picture(3), 0, "test")]
    coverage = prepare(source(pictures), tmp_path / "out", num_train_triplets=50, num_eval_triplets=20)
    label = np.array([k % 3 for k in range(40)] + [k % 3 for k in range(20)])
    for split, rows, number in (("train", range(40), 50), ("test", range(40, 60), 20)):
        table = PackedDataset(tmp_path / "out").triplets(split)
        assert len(table) == number == coverage["candidates"][split]["TWO"]["kept"]
        assert set(table.faces_T3.ravel().tolist()) <= set(rows)
        assert (table.type_T == 1).all()
        for faces, odd in zip(table.faces_T3, table.odd_T, strict=True):
            a, p = (label[face] for place, face in enumerate(faces) if place != odd)
            assert a == p != label[faces[odd]]
    assert coverage["triplets"]["test"] == {
        "read": 21,
        "kept": 20,
        "dropped": {"duplicate_in_train": 1, "duplicate": 0},
    }
    assert "two-class only" in coverage["rules"]["triplets"]


def test_one_label_gives_no_triplets_and_no_file(tmp_path):
    same = [LabelledPicture(f"{k}", picture(k), 1, "train") for k in range(5)]
    coverage = prepare(source(same), tmp_path / "out", num_train_triplets=5)
    assert coverage["candidates"]["train"]["TWO"]["short"] == 5
    assert not (tmp_path / "out/triplets").exists()


def test_the_seed_decides_triplets_and_noise(tmp_path):
    what = source(numbered(60, "train"))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare(what, tmp_path / name, seed=seed, num_train_triplets=30, label_noise=0.2)
    for file in ("triplets/train.npz", "labels/mood_noise20/train.npz"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b != c


def test_noise_stands_beside_the_clean_labels(tmp_path):
    what = source(numbered(60, "train") + numbered(9, "test", 60))
    coverage = prepare(what, tmp_path / "out", label_noise=0.2)
    clean, noisy = (np.load(tmp_path / f"out/labels/{name}/train.npz") for name in ("mood", "mood_noise20"))
    assert (clean["label"] != noisy["label"]).sum() == 12 == coverage["mood_noise20"]["train"]["changed"]
    described = json.loads((tmp_path / "out/dataset.json").read_text())
    assert described["label_sets"]["mood_noise20"]["classes"] == list(CLASSES)


def test_noise_leaves_the_other_splits_and_tells_no_right_label(tmp_path):
    """The noisy set is whole: trained on and measured alone; no vote, valence or arousal of training is in it."""
    votes = {"a": (3.0, 1.0, 0.0), "b": (1.0, 4.0, 0.0), "c": (0.0, 1.0, 2.0)}
    more = [{"votes": votes[CLASSES[k % 3]], "valence_arousal": (0.1 * (k % 3), 0.5)} for k in range(69)]
    plain = numbered(60, "train") + numbered(9, "test", 60)
    what = source([replace(one, **further) for one, further in zip(plain, more, strict=True)])
    coverage = prepare(what, tmp_path / "out", label_noise=0.2)
    assert coverage["mood_noise20"]["test"] == {"read": 9, "kept": 9}
    data = PackedDataset(tmp_path / "out")
    clean, noisy = (data.labels(name, "test") for name in ("mood", "mood_noise20"))
    for column in ("faces_M", "label_M", "distribution_MK", "valence_arousal_M2"):
        np.testing.assert_array_equal(getattr(clean, column), getattr(noisy, column))
    assert noisy.distribution_MK is not None
    train = np.load(tmp_path / "out/labels/mood_noise20/train.npz")
    assert sorted(train.files) == ["faces", "label"]


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), max_size=60),
    rate=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_noise_changes_exactly_its_share(labels, rate, seed):
    label = np.array(labels, np.int64)
    noisy, changed = uniform_label_noise(label, 5, rate, seed)
    assert changed.sum() == round(rate * len(labels))
    np.testing.assert_array_equal(noisy != label, changed)  # a replaced label is wrong, the others are as before
    assert ((noisy >= 0) & (noisy < 5)).all()
    again, _ = uniform_label_noise(label, 5, rate, seed)
    np.testing.assert_array_equal(noisy, again)


def test_noise_is_uniform_among_the_wrong_classes():
    noisy, _ = uniform_label_noise(np.full(40_000, 2), 5, 1.0, seed=0)
    counts = np.bincount(noisy, minlength=5)
    assert counts[2] == 0
    assert (np.abs(counts[[0, 1, 3, 4]] - 10_000) < 500).all()  # five deviations of 87


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_noise_refuses_what_means_nothing(rate):
    with pytest.raises(DataError, match="label-noise"):
        uniform_label_noise(np.array([0]), 5, rate, 0)


@pytest.mark.parametrize("label", [[0, 5], [-1]])
def test_labels_without_a_class_get_no_noise(label):
    with pytest.raises(AssertionError):
        uniform_label_noise(np.array(label), 5, 0.5, 0)


def test_a_wide_picture_gives_its_centre():
    wide = np.zeros((4, 10, 3), np.uint8)
    wide[:, 3:7] = picture(0, 4)
    np.testing.assert_array_equal(load_square(wide, (), 4, grey=False), picture(0, 4))


def test_a_box_is_widened_about_its_centre():
    photo = picture(0, 20)
    np.testing.assert_array_equal(load_square(photo, (4, 6, 8, 14), 8, grey=False), photo[6:14, 2:10])
    face = load_square(photo, (-4, 0, 4, 8), 8, grey=False)
    assert (face[:, :4] == 0).all()  # off the picture
    np.testing.assert_array_equal(face[:, 4:], photo[:8, :4])


def test_a_large_square_is_averaged_by_blocks_and_then_resized():
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    halved = Image.fromarray(photo[:, 5:25]).reduce(2)
    wanted = np.asarray(halved.resize((8, 8), Image.Resampling.BILINEAR))
    for box in ((), (5, 0, 25, 20)):
        face = load_square(photo, box, 8, grey=False)
        np.testing.assert_array_equal(face[:, 1:-1], wanted[:, 1:-1])  # its edge sees what lies beside it


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (30, 0, 40, 8), (0, 0, 900, 5)])
def test_bad_boxes_are_counted(box):
    assert load_square(picture(0, 20), box, 8, grey=False) == "bad_box"


def test_grey_pixels_stay_as_they_are_in_either_kind():
    grey = picture(0)[..., 0]
    np.testing.assert_array_equal(load_square(grey, (), 8, grey=True)[..., 0], grey)
    np.testing.assert_array_equal(load_square(grey, (), 8, grey=False), np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(load_square(np.repeat(grey[..., None], 3, axis=2), (), 8, grey=True)[..., 0], grey)


@pytest.mark.parametrize("order", [1, -1])
def test_rows_that_disagree_on_a_face_are_all_dropped(tmp_path, capsys, order):
    pictures = [LabelledPicture("a", picture(0), 0, "train"), LabelledPicture("a", picture(0), 1, "test")]
    pictures.append(LabelledPicture("b", picture(1), 1, "train"))
    coverage = prepare(source(pictures[::order]), tmp_path / "out")
    assert [row["source"] for row in faces_csv(tmp_path / "out")] == ["b"]
    assert coverage["faces"]["dropped"] == {"labels_disagree": 2}
    words = " and ".join(CLASSES[:2][::order])
    assert f"warning: rows disagree on 1 faces, not read: a is {words}" in capsys.readouterr().out


def test_a_face_of_two_people_is_on_no_side(tmp_path, capsys):
    """Rows of one split or several, and those that name nobody beside somebody."""
    pictures = [
        LabelledPicture(name, picture(k), k % 2, split, subject=subject)
        for k, name in enumerate("abcd")
        for split, subject in {
            "a": [("train", "Ann"), ("test", "Bo")],
            "b": [("train", "Ann"), ("train", "")],
            "c": [("train", "Ann"), ("train", "Ann")],
            "d": [("test", "Bo")],
        }[name]
    ]
    coverage = prepare(source(pictures), tmp_path / "out")
    assert [(row["source"], row["subject"]) for row in faces_csv(tmp_path / "out")] == [("c", "Ann"), ("d", "Bo")]
    assert coverage["faces"]["dropped"] == {"subjects_disagree": 4, "repeated": 1}
    assert "warning: rows disagree on 2 faces, not read: a shows 'Ann' and 'Bo'" in capsys.readouterr().out


def test_the_first_image_that_is_missing_is_named(tmp_path):
    gone = LabelledPicture("x", tmp_path / "x.png", 0, "train")
    with pytest.raises(ValueError, match=r"missing_file 1; the first is .*x\.png$"):
        prepare(source([gone]), tmp_path / "out")
