import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from fecnet.data.packed import PackedDataset
from fecnet.prepare import ferplus
from fecnet.prepare.ferplus import prepare_ferplus
from fecnet.prepare.labelled.fer2013 import FER_CLASSES, FERPLUS_CLASSES, read_fer2013

REAL = Path(__file__).parents[3] / "shared" / "data" / "fer2013"
SPLITS = {"train": range(0, 120), "public_test": range(120, 160), "private_test": range(160, 200)}


def fixture_arrays():
    """200 rows like the published ones, with one row for every fault."""
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(200, 48, 48), dtype=np.uint8)
    votes = np.zeros((200, 10), np.uint8)
    main = np.arange(200) % 8
    votes[np.arange(200), main] = 6
    # A majority of 6 to 9 raters, the others on one further class: clear, and never tied.
    extra = rng.integers(4, size=200)
    votes[np.arange(200), main] += extra.astype(np.uint8)
    votes[np.arange(200), (main + 1 + rng.integers(7, size=200)) % 8] += (4 - extra).astype(np.uint8)
    arrays = {
        "emotion": (np.arange(200) % 7).astype(np.uint8),
        "usage": np.repeat([0, 1, 2], [120, 40, 40]).astype(np.uint8),
        "ferplus_votes": votes,
        "ferplus_name": np.array([f"fer{row:07d}.png" for row in range(200)], "S14"),
        "ferplus_ok": np.ones(200, bool),
        "dup_of": np.arange(200, dtype=np.int32),
        "dup_in_train": np.zeros(200, bool),
        "near_constant": np.zeros(200, bool),
    }
    arrays["near_constant"][0] = True
    arrays["ferplus_name"][[0, 1]] = b""  # the blank one has no name either: it counts once, as blank
    votes[[0, 1]] = [0] * 9 + [10]
    arrays["ferplus_ok"][2] = False
    votes[3] = 0
    votes[4] = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0]
    votes[5] = [0, 1, 0, 0, 0, 0, 0, 0, 0, 9]
    votes[6] = [5, 0, 5, 0, 0, 0, 0, 0, 0, 0]  # tied
    votes[7] = [4, 2, 1, 0, 0, 0, 0, 0, 3, 0]  # seven votes for emotions
    votes[8] = [4, 0, 0, 0, 0, 0, 1, 0, 4, 1]  # an emotion ties with unknown: neutral, with few votes
    for row, first in ((10, 9), (130, 20), (170, 131)):
        image[row] = image[first]
        arrays["dup_of"][row] = first
    arrays["dup_in_train"][130] = True
    delta = np.diff(np.diff(image, axis=1, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))
    return image, arrays | {"images_delta": delta}


def write(folder, arrays):
    folder.mkdir(exist_ok=True)
    np.savez(folder / "fer2013.npz", **arrays)
    return folder


@pytest.fixture
def source(tmp_path):
    image, arrays = fixture_arrays()
    return write(tmp_path / "source", arrays), hashlib.sha256(image.tobytes()).hexdigest()


def prepare(source, path, **keywords):
    folder, images_sha256 = source
    settings = {"num_train_triplets": 90, "num_eval_triplets": 30, "progress": False, "images_sha256": images_sha256}
    return prepare_ferplus(folder, path, **(settings | keywords))


def test_faces_keep_their_rows_and_their_flags(source, tmp_path):
    prepare(source, tmp_path / "out")
    image, _ = fixture_arrays()
    np.testing.assert_array_equal(np.load(tmp_path / "out/faces.npy"), image[..., None])
    lines = (tmp_path / "out/faces.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert len({row["key"] for row in rows}) == 200
    flagged = {row: (rows[row]["flags"], rows[row]["duplicate_of"]) for row in range(200) if rows[row]["flags"]}
    assert flagged == {
        0: ("blank no_ferplus_name", ""),
        1: ("no_ferplus_name", ""),
        2: ("mis_joined", ""),
        10: ("duplicate", "9"),
        130: ("duplicate duplicate_in_train", "20"),
        170: ("duplicate", "131"),
    }


def test_labels(source, tmp_path):
    prepare(source, tmp_path / "out")
    _, arrays = fixture_arrays()
    described = json.loads((tmp_path / "out/dataset.json").read_text())
    assert described["label_sets"]["fer"]["classes"] == list(FER_CLASSES)
    assert described["label_sets"]["ferplus"]["classes"] == list(FERPLUS_CLASSES)
    for split, rows in SPLITS.items():
        fer = np.load(tmp_path / f"out/labels/fer/{split}.npz")
        assert fer["faces"].tolist() == list(rows)
        np.testing.assert_array_equal(fer["label"], arrays["emotion"][rows])
        plus = np.load(tmp_path / f"out/labels/ferplus/{split}.npz")
        assert plus["faces"].tolist() == [row for row in rows if row not in range(6)]
        for row, label, distribution in zip(plus["faces"], plus["label"], plus["distribution"], strict=True):
            votes = arrays["ferplus_votes"][row, :8].tolist()
            assert label == votes.index(max(votes))  # the first in class order on a tie
            np.testing.assert_allclose(distribution, np.array(votes) / sum(votes), rtol=1e-6)


def test_noise_is_among_strict_majorities_and_the_tests_stay_clean(source, tmp_path):
    coverage = prepare(source, tmp_path / "out", label_noise=0.3)["ferplus_noise30"]
    _, arrays = fixture_arrays()
    data = PackedDataset(tmp_path / "out")
    noisy = data.labels("ferplus_noise30", "train")
    # 0 to 5 have no label, 6 is tied 5 to 5; 7 with 4 of 7 and 8 with 4 of 5 votes for emotions have a majority
    assert noisy.faces_M.tolist() == list(range(7, 120))
    assert noisy.distribution_MK is None  # votes would tell which labels are wrong
    clean = arrays["ferplus_votes"][7:120, :8].argmax(axis=1)
    assert (noisy.label_M != clean).sum() == round(0.3 * 113) == coverage["train"]["changed"]
    assert (coverage["train"]["read"], coverage["train"]["kept"]) == (120, 113)
    assert coverage["train"]["dropped"]["no_strict_majority"] == 1
    assert sum(coverage["train"]["dropped"].values()) == 7
    for split in ("public_test", "private_test"):
        as_clean, as_noisy = (data.labels(name, split) for name in ("ferplus", "ferplus_noise30"))
        np.testing.assert_array_equal(as_clean.faces_M, as_noisy.faces_M)
        np.testing.assert_array_equal(as_clean.label_M, as_noisy.label_M)
        np.testing.assert_array_equal(as_clean.distribution_MK, as_noisy.distribution_MK)
        assert coverage[split]["read"] == coverage[split]["kept"] == 40


def test_noise_changes_nothing_else_and_is_asked_for(source, tmp_path):
    prepare(source, tmp_path / "plain")
    prepare(source, tmp_path / "noisy", label_noise=0.3)
    plain, noisy = (
        {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*.npz")}
        for path in (tmp_path / "plain", tmp_path / "noisy")
    )
    assert plain.items() < noisy.items()
    assert {name.split("/")[1] for name in noisy.keys() - plain.keys()} == {"ferplus_noise30"}


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_noise_that_means_nothing_is_refused(source, tmp_path, rate):
    with pytest.raises(ValueError, match=f"label-noise: {rate}; allowed: 0 to 1"):
        prepare(source, tmp_path / "out", label_noise=rate)
    assert not (tmp_path / "out").exists()


def test_coverage_of_rows(source, tmp_path):
    coverage = prepare(source, tmp_path / "out")
    assert coverage == json.loads((tmp_path / "out/dataset.json").read_text())["coverage"]
    one_each = dict.fromkeys(
        ("blank", "no_ferplus_name", "mis_joined", "no_votes", "majority_unknown", "majority_not_a_face"), 1
    )
    assert coverage["ferplus"]["train"]["dropped"] == one_each
    assert coverage["ferplus"]["train"]["flagged"]["tied_majority"] == 1
    assert coverage["triplets"]["train"]["dropped"] == one_each | {
        "duplicate_in_train": 0,
        "duplicate": 1,
        "tied_majority": 1,
    }
    assert coverage["triplets"]["public_test"]["dropped"]["duplicate_in_train"] == 1
    assert coverage["triplets"]["private_test"]["dropped"]["duplicate"] == 1
    for part in ("fer", "ferplus", "triplets"):
        for split, rows in SPLITS.items():
            counts = coverage[part][split]
            assert counts["read"] == len(rows) == counts["kept"] + sum(counts["dropped"].values())


def test_triplets_use_sound_rows_of_their_split_only(source, tmp_path):
    coverage = prepare(source, tmp_path / "out")
    unsound = {*range(7), 10, 130, 170}
    for split, rows in SPLITS.items():
        triplets = np.load(tmp_path / f"out/triplets/{split}.npz")
        assert set(triplets["faces"].ravel().tolist()) <= set(rows) - unsound
        kept = [part["kept"] for part in coverage["candidates"][split].values()]
        assert np.bincount(triplets["type"], minlength=3).tolist() == kept
        answers = coverage["split_half_agreement"][split]["ALL"]
        assert answers["counted"] + answers["no_answer"] == 20 * sum(kept)
    assert [part["kept"] for part in coverage["candidates"]["train"].values()] == [30, 30, 30]


def test_the_seed_decides(source, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare(source, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "triplets/train.npz").read_bytes() for name in "abc")
    assert a == b != c
    described = [json.loads((tmp_path / name / "dataset.json").read_text()) for name in "ab"]
    assert described[0]["coverage"] == described[1]["coverage"]


def test_nothing_is_left_after_a_failure(source, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(ferplus, "split_half_agreement", fail)
    with pytest.raises(RuntimeError):
        prepare(source, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_an_existing_data_set_stays_unless_told(source, tmp_path):
    prepare(source, tmp_path / "out")
    with pytest.raises(ValueError, match="exists already"):
        prepare(source, tmp_path / "out")
    prepare(source, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emotion": None}, "lacks the arrays emotion"),
        ({"ferplus_votes": np.zeros((200, 8), np.uint8)}, r"ferplus_votes is uint8 of shape \(200, 8\), expected"),
        ({"usage": np.zeros(200)}, "usage is float64"),
        ({"usage": np.full(200, 3, np.uint8)}, r"usage holds 3, expected 0\.\.2"),
        ({"dup_of": np.full(200, 7, np.int32)}, "dup_of must name the row itself or an earlier one"),
        ({"images_delta": np.zeros((200, 48, 48), np.uint8)}, "the images have sha256 .*, expected"),
        ({"ferplus_name": np.array([{}] * 200)}, "not a readable npz file"),
    ],
)
def test_wrong_arrays_are_named(source, change, message):
    folder, images_sha256 = source
    _, arrays = fixture_arrays()
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    write(folder, arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_fer2013(folder, images_sha256=images_sha256)
    assert str(caught.value).startswith(f"{folder / 'fer2013.npz'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "fer2013.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a readable npz file"):
        read_fer2013(tmp_path / "fer2013.npz")


def test_a_missing_source_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="no such file"):
            read_fer2013(path)


def test_published_images_are_expected_by_default(source):
    with pytest.raises(ValueError, match="another or a damaged set"):
        read_fer2013(source[0])


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fer2013.npz").is_file(), reason=f"{REAL} is absent")
def test_real_data(tmp_path, no_square):
    short = {"num_train_triplets": 3000, "num_eval_triplets": 3000, "progress": False}
    coverage = prepare_ferplus(REAL, tmp_path / "out", label_noise=0.3, **short)
    expected = {
        "train": [3995, 436, 4097, 7215, 4830, 3171, 4965],
        "public_test": [467, 56, 496, 895, 653, 415, 607],
        "private_test": [491, 55, 528, 879, 594, 416, 626],
    }
    for split, per_class in expected.items():
        assert coverage["fer"][split]["kept"] == sum(per_class)
        assert np.bincount(np.load(tmp_path / f"out/labels/fer/{split}.npz")["label"]).tolist() == per_class
        assert [part["kept"] for part in coverage["candidates"][split].values()] == [1000, 1000, 1000]
        # Two halves of the raters agree best where one face has another label, as people do.
        percent = {name: part["percent"] for name, part in coverage["split_half_agreement"][split].items()}
        assert percent["THREE"] < percent["ONE"] < percent["TWO"]
        assert 70 < percent["ALL"] < 80
    assert coverage["faces"]["flagged"]["blank"] == 13
    assert coverage["faces"]["flagged"]["duplicate"] == 35_887 - 34_034
    assert coverage["fer"]["public_test"]["flagged"]["duplicate_in_train"] == 280
    assert coverage["fer"]["private_test"]["flagged"]["duplicate_in_train"] == 288
    noise = coverage["ferplus_noise30"]["train"]
    assert (noise["kept"], noise["changed"], noise["dropped"]["no_strict_majority"]) == (24_024, 7_207, 4_364)


def test_empty_classes_are_warned_of_on_the_screen_and_in_the_coverage(tmp_path, capsys):
    image, arrays = fixture_arrays()
    gone = arrays["ferplus_votes"].argmax(axis=1) == FERPLUS_CLASSES.index("contempt")
    arrays["ferplus_votes"][gone & (arrays["usage"] == 1), 7] = 0
    arrays["emotion"][arrays["usage"] == 2] = 3
    source = write(tmp_path / "source", arrays), hashlib.sha256(image.tobytes()).hexdigest()
    warnings = prepare(source, tmp_path / "out")["warnings"]
    assert warnings == {
        "ferplus public_test": "no face of contempt",
        "fer private_test": "no face of angry, disgust, fear, sad, surprise, neutral",
    }
    assert "warning: no face of contempt in split public_test of ferplus" in capsys.readouterr().out
