"""What ``fecnet data show`` says of sets whose content is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fecnet.cli import main as cli
from fecnet.data.duplicates import comparable, is_training, pixel_groups, pixel_matches, training_splits_of
from fecnet.data.inspect import inspect_dataset
from fecnet.data.packed import PackedDataset
from fecnet.data.sheet import sheet_faces
from fecnet.prepare.ferplus import prepare_ferplus
from tests.data.sets import write_whole

REAL = Path(__file__).parents[3] / "shared" / "data" / "fer2013"


def different_faces():
    return np.random.default_rng(1).integers(256, size=(30, 8, 6, 1), dtype=np.uint8)


def test_groups_of_equal_faces_against_a_loop(monkeypatch):
    image = np.random.default_rng(0).integers(2, size=(200, 2, 1, 3), dtype=np.uint8)  # 64 pictures, many copies
    naive = [min(k for k in range(200) if (image[k] == image[row]).all()) for row in range(200)]
    assert pixel_groups(image).tolist() == naive
    monkeypatch.setattr("fecnet.data.duplicates._CHUNK_BYTES", 50)
    assert pixel_groups(image).tolist() == naive
    assert pixel_groups(image[:0]).tolist() == []


def test_faces_that_stand_among_others_against_a_loop():
    rng = np.random.default_rng(2)
    image = rng.integers(2, size=(200, 2, 1, 3), dtype=np.uint8)
    rows, others = rng.permutation(200)[:90], rng.permutation(200)[:15]
    naive = [any((image[row] == image[other]).all() for other in others) for row in rows]
    assert pixel_matches(image, rows, others).tolist() == naive and 0 < sum(naive) < 90
    assert not pixel_matches(image, rows, others[:0]).any()
    assert pixel_matches(image, rows[:1], rows[:1]).tolist() == [True]  # a face of training is its own copy


def test_which_splits_belong_together():
    splits = ["train", "val", "public_test", "fold01_train", "fold01_test", "fold02_train", "fold02_test"]
    assert [split for split in splits if is_training(split)] == ["train", "fold01_train", "fold02_train"]
    assert training_splits_of("public_test", splits) == ["train"]
    assert training_splits_of("fold02_test", splits) == ["fold02_train"]
    assert training_splits_of("holdout", splits) == ["fold01_train", "fold02_train", "train"]
    assert training_splits_of("test", ["test", "constrained"]) == []
    assert not comparable("fold01_test", "fold02_test")


def test_counts(tmp_path):
    found = inspect_dataset(PackedDataset(write_whole(tmp_path / "set")))
    assert found["labels"]["mood"]["test"] == {
        "faces": 12,
        "absent": 1,
        "classes": {"calm": 3, "glad": 4, "cross": 4},
    }
    assert found["triplets"]["train"] == {"one_class": 3, "two_class": 3, "three_class": 3}
    assert found["subjects"]["subjects"] == 10
    assert found["subjects"]["splits"]["labels mood"] == {"train": 6, "test": 4}
    assert found["duplicates"]["unique"] == 30
    assert found["duplicates"]["across"] == found["warnings"] == []


def test_copies_and_leaks(tmp_path):
    image = different_faces()
    image[3] = image[2]  # within train
    image[20] = image[2]  # of test, in train
    image[21] = image[22] = image[9]
    found = inspect_dataset(PackedDataset(write_whole(tmp_path / "set", image=image, subjects=False)))
    copies = found["duplicates"]
    assert (copies["unique"], copies["copies"]) == (26, 4)
    assert {"use": "labels mood", "split": "train", "faces": 18, "copies": 1} in copies["within"]
    assert {"use": "labels mood", "split": "test", "faces": 12, "copies": 1} in copies["within"]
    assert {"use": "labels mood", "splits": ["train", "test"], "pictures": 2} in copies["across"]
    assert "labels mood: 3 of 12 faces of test are also in train, pixel for pixel" in found["warnings"]
    assert not any("subjects" in line for line in found["warnings"])


def test_a_subject_in_both_splits(tmp_path):
    path = write_whole(tmp_path / "set")
    text = (path / "faces.csv").read_text()
    (path / "faces.csv").write_text(text.replace(",p9,", ",p0,"))  # three faces of test
    found = inspect_dataset(PackedDataset(path))
    line = "labels mood: 3 of 12 faces of test show 1 subjects who are also in train"
    assert line in found["warnings"]
    leak = next(leak for leak in found["leaks"] if leak["use"] == "labels mood")
    assert (leak["same_pixels"], leak["same_subject"], leak["subjects"]) == (0, 3, 1)


def test_how_many_subjects_are_in_both_splits_is_said_of_none_too(tmp_path, capsys):
    path = write_whole(tmp_path / "set")
    text = (path / "faces.csv").read_text()
    for change, said in (
        (text, "subjects in train and test: 0\n"),
        (text.replace(",p9,", ",p0,"), "subjects in train and test: 1\n"),
        (text.replace(",p9,", ",,"), "subjects in train and test: 0 (known of 27 of their 30 faces)\n"),
    ):
        (path / "faces.csv").write_text(change)
        assert cli.main(["data", "show", str(path)]) == 0
        assert said in capsys.readouterr().out
    assert cli.main(["data", "show", str(write_whole(tmp_path / "unknown", subjects=False))]) == 0
    said = capsys.readouterr().out
    assert "subjects: unknown" in said and "subjects in" not in said


def test_rows_of_faces_that_do_not_fit_are_refused(tmp_path):
    path = write_whole(tmp_path / "set")
    lines = (path / "faces.csv").read_text().splitlines()
    (path / "faces.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"faces\.csv: 29 rows for 30 faces"):
        inspect_dataset(PackedDataset(path))


def test_text(tmp_path, capsys):
    image = different_faces()
    image[20] = image[2]
    path = write_whole(tmp_path / "set", image=image)
    assert cli.main(["data", "show", str(path), "--sheet", str(tmp_path / "sheet.png")]) == 0
    said = capsys.readouterr().out
    assert f"{path}: 30 faces, 8×6, grey\n" in said
    assert "  glad    4  36.4%  " + "#" * 40 + "\n" in said
    assert "  calm    3  27.3%  " + "#" * 30 + "\n" in said
    assert "  absent  1\n" in said
    assert "  train    3    3      3    9\n" in said
    assert "subjects: 10, known of 30 faces" in said
    assert "dropped: blurred 1\n" in said
    assert "WARNING: labels mood: 1 of 12 faces of test are also in train, pixel for pixel\n" in said
    assert "from top to bottom: mood calm, mood glad, mood cross" in said
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (12 * (6 + 2) + 2, 3 * (8 + 2 + 13) + 2)


def test_json_holds_all_of_it(tmp_path, capsys):
    path = write_whole(tmp_path / "set")
    assert cli.main(["data", "show", str(path), "--json", "-", "--sheet", str(tmp_path / "sheet.png")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == inspect_dataset(PackedDataset(path))
    assert said["coverage"]["faces"]["dropped"] == {"blurred": 1}


def test_splits_without_a_name_for_training_are_told(tmp_path):
    path = write_whole(tmp_path / "set")
    described = json.loads((path / "dataset.json").read_text())
    described["splits"]["first"] = described["splits"].pop("train")
    (path / "dataset.json").write_text(json.dumps(described))
    for folder in ("triplets", "labels/mood"):
        (path / folder / "train.npz").rename(path / folder / "first.npz")
    found = inspect_dataset(PackedDataset(path))
    assert found["warnings"] == ["no split is named as a training split (first, test): leakage is not checked"]


def test_the_sheet_shows_each_class_in_its_row(tmp_path):
    dataset = PackedDataset(write_whole(tmp_path / "set"))
    pictures, captions, names = sheet_faces(dataset, 4)
    assert names == ["mood calm", "mood glad", "mood cross"]
    label = {row: k for split in ("train", "test") for row, k in zip(*_rows_and_labels(dataset, split), strict=True)}
    assert pictures.shape == (12, 8, 6, 1)
    for k, picture in enumerate(pictures):
        (row,) = np.flatnonzero((dataset.faces_NHWC == picture).all(axis=(1, 2, 3)))
        assert label[row] == k // 4
        assert captions[k] == (names[k // 4].removeprefix("mood ")[:4] if k % 4 == 0 else str(row))
    pictures, captions, _ = sheet_faces(dataset, 12)
    assert (pictures[11] == 255).all()  # calm has fewer than twelve
    assert captions[11] == ""


def _rows_and_labels(dataset, split):
    table = dataset.labels("mood", split)
    return table.faces_M.tolist(), table.label_M.tolist()


def test_the_sheet_of_a_set_without_labels(tiny):
    pictures, captions, names = sheet_faces(PackedDataset(tiny), 12)
    assert len(pictures) == len(captions) == 60
    assert names[0] == "faces 0..11"


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "fer2013.npz").is_file(), reason=f"{REAL} is absent")
def test_the_copies_of_fer2013(tmp_path, no_square):
    prepare_ferplus(REAL, tmp_path / "out", num_train_triplets=3000, num_eval_triplets=3000, progress=False)
    found = inspect_dataset(PackedDataset(tmp_path / "out"))
    assert found["duplicates"]["unique"] == 34_034
    leaked = {leak["split"]: leak["same_pixels"] for leak in found["leaks"] if leak["use"] == "labels fer"}
    assert leaked == {"public_test": 280, "private_test": 288}
    dataset = PackedDataset(tmp_path / "out")
    train, *tests = [dataset.labels("fer", split).faces_M for split in ("train", "public_test", "private_test")]
    assert [pixel_matches(dataset.faces_NHWC, rows, train).sum() for rows in tests] == [280, 288]
    # The triplets leave such faces out.
    assert {leak["same_pixels"] for leak in found["leaks"] if leak["use"] == "triplets"} == {0}
