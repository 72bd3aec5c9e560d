"""FER2013 and CK+ as CSV files of pixels, under any of their names, and FERPlus as its generator writes it."""

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image

from fecnet.data.packed import PackedDataset
from fecnet.prepare.ferplus import prepare_ferplus
from fecnet.prepare.labelled.ckplus import read_ckplus
from fecnet.prepare.labelled.fer2013_labels import read_fer2013_labels
from fecnet.prepare.labelled.ferplus_folders import find_ferplus_lists
from fecnet.utils.errors import DataError
from tests.prepare.test_fer2013_csv import write_csv_files
from tests.prepare.test_ferplus import fixture_arrays
from tests.prepare.test_labelled_layouts import dropped, fer_row, found, pixels, write

NUM_EMOTIONS = 8


def pixel_text(seed):
    return " ".join(map(str, pixels(seed).ravel()))


def pixel_csv(path, emotions, usages=None, header="emotion,pixels,Usage"):
    """A file of faces 0, 1, …; without ``usages`` as the training file of the challenge."""
    rows = [fer_row(emotion, seed, (usages or [""] * 99)[seed]) for seed, emotion in enumerate(emotions)]
    rows = rows if usages else [row.removesuffix(",") for row in rows]
    return write(path, "\n".join([header if usages else "emotion,pixels", *rows, ""]))


ALL_USAGES = ["Training", "PublicTest", "PrivateTest"]


@pytest.mark.parametrize("below", ["", "fer2013", "archive/fer2013"])
@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv", "data.csv"])
def test_one_file_under_any_name_in_a_folder(tmp_path, name, below):
    write(tmp_path / below / "example_submission.csv", "id,emotion\n0,0\n")
    path = pixel_csv(tmp_path / below / name, [3, 6, 0], ALL_USAGES)
    source = read_fer2013_labels(tmp_path)
    splits = ("train", "public_test", "private_test")
    words = ("happy", "neutral", "angry")
    assert found(source) == [(f"{name}#{k}", words[k], splits[k]) for k in range(3)]
    assert found(read_fer2013_labels(path)) == found(source)
    np.testing.assert_array_equal(source.pictures[2].picture, pixels(2))


def test_the_challenge_folder(tmp_path, capsys):
    """Its header names have spaces, its columns another order, and it holds the same faces in three more files."""
    rows = [
        f"{emotion}, {usage}, {pixel_text(k)}"
        for k, (emotion, usage) in enumerate(zip([3, 6, 0], ALL_USAGES, strict=True))
    ]
    write(tmp_path / "icml_face_data.csv", "\n".join(["emotion, Usage, pixels", *rows]))
    pixel_csv(tmp_path / "train.csv", [3])
    write(tmp_path / "test.csv", f"pixels\n{pixel_text(1)}\n")
    write(tmp_path / "example_submission.csv", "emotion\n0\n")
    source = read_fer2013_labels(tmp_path)
    assert [row[1:] for row in found(source)] == [
        ("happy", "train"),
        ("neutral", "public_test"),
        ("angry", "private_test"),
    ]
    assert "reads icml_face_data.csv, which holds all splits; not test.csv, train.csv" in capsys.readouterr().out
    (tmp_path / "icml_face_data.csv").unlink()
    source = read_fer2013_labels(tmp_path)
    assert found(source) == [("train.csv#0", "happy", "train")]
    assert dropped(source) == {"test": {"no_label": 1}}
    with pytest.raises(DataError, match=r"test\.csv: no labels, as in the test set of a challenge; seen: pixels"):
        read_fer2013_labels(tmp_path / "test.csv")


def test_files_that_are_splits_by_their_names(tmp_path):
    pixel_csv(tmp_path / "fer2013_train.csv", [0])
    pixel_csv(tmp_path / "fer2013_test.csv", [1])
    assert [row[1:] for row in found(read_fer2013_labels(tmp_path))] == [("disgust", "test"), ("angry", "train")]


def test_files_that_may_each_be_meant_are_refused(tmp_path):
    pixel_csv(tmp_path / "a.csv", [0], ["Training"])
    pixel_csv(tmp_path / "b.csv", [0], ["Training"])
    with pytest.raises(DataError, match=r"a\.csv, b\.csv hold pixels; give one of these files"):
        read_fer2013_labels(tmp_path)
    pixel_csv(tmp_path / "fer2013.csv", [0, 1], ["Training"] * 2)
    assert len(read_fer2013_labels(tmp_path).pictures) == 2


def test_labels_as_decimals_words_and_from_one(tmp_path, capsys):
    def read(emotions):
        return found(read_fer2013_labels(pixel_csv(tmp_path / "fer2013.csv", emotions, ["Training"] * len(emotions))))

    assert [word for _, word, _ in read(["3.0", "6.0", ""])] == ["happy", "neutral"]
    assert [word for _, word, _ in read(["Happiness", "ANGRY"])] == ["happy", "angry"]
    assert [word for _, word, _ in read([1, 7])] == ["angry", "neutral"]
    assert "labels count from 1" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"fer2013\.csv: unknown labels 'bored'; allowed: angry"):
        read(["happy", "bored"])
    with pytest.raises(DataError, match=r"fer2013\.csv: labels 0 and 7"):
        read([0, 7])


CK_WORDS = ["anger", "disgust", "fear", "happy", "sadness", "surprise", "neutral", "contempt"]


@pytest.mark.parametrize("name", ["ckextended.csv", "archive/ckextended.csv", "faces.csv"])
def test_ckplus_as_csv(tmp_path, name, capsys):
    usages = ["Training"] * 6 + ["PublicTest", "PrivateTest"]
    path = pixel_csv(tmp_path / name, range(8), usages)
    for given in (tmp_path, path):
        source = read_ckplus(given)
        assert [word for _, word, _ in found(source)] == CK_WORDS == list(source.classes)
    assert [split for *_, split in found(source)][5:] == ["train", "public_test", "private_test"]
    assert "no subjects" in capsys.readouterr().out


def generated(folder, images, arrays, *, box=True, labels="", pictures=""):
    """What FERPlus's generator writes; rows without a name are left out."""
    names = {0: "FER2013Train", 1: "FER2013Valid", 2: "FER2013Test"}
    lists = {name: [] for name in names.values()}
    for image, usage, name, votes in zip(
        images, arrays["usage"], arrays["ferplus_name"], arrays["ferplus_votes"], strict=True
    ):
        if name:
            place = folder / pictures / names[usage] / name.decode()
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place)
            lists[names[usage]].append([name.decode(), *(["(0, 0, 48, 48)"] if box else []), *votes])
    for name, rows in lists.items():
        place = folder / labels / name / "label.csv"
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return folder


def few():
    """Rows of each split of the fixture: named, none stray, two votes files' worth of faults."""
    images, arrays = fixture_arrays()
    rows = np.r_[1:30, 120:135, 160:175]
    return images[rows], {name: array[rows] for name, array in arrays.items()}


def prepare(source, path, **keywords):
    return prepare_ferplus(source, path, num_train_triplets=30, num_eval_triplets=9, progress=False, **keywords)


@pytest.mark.parametrize(
    ("box", "labels", "pictures"),
    [(True, "", ""), (False, "data", "data"), (True, "FERPlus/Labels", "FERPlus/Images")],
)
def test_ferplus_as_its_generator_writes_it(tmp_path, box, labels, pictures):
    images, arrays = few()
    source = generated(tmp_path / "in", images, arrays, box=box, labels=labels, pictures=pictures)
    coverage = prepare(source, tmp_path / "out")
    data = PackedDataset(tmp_path / "out")
    np.testing.assert_array_equal(data.faces_NHWC[..., 0], images[1:])  # row 1 of the fixture has no name
    assert set(data.description["label_sets"]) == {"ferplus"}
    table = data.labels("ferplus", "public_test")
    votes = arrays["ferplus_votes"][29:44, :NUM_EMOTIONS]
    np.testing.assert_array_equal(table.label_M, votes.argmax(axis=1))
    np.testing.assert_allclose(table.distribution_MK, votes / votes.sum(axis=1, keepdims=True), rtol=1e-6)
    assert coverage["faces"]["flagged"]["duplicate"] == 3 and len(data.triplets("private_test"))
    with (tmp_path / "out/faces.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["source"] == "FER2013Train/fer0000002.png"


def test_lists_of_the_repository_without_images_are_passed_over(tmp_path):
    images, arrays = few()
    source = write_csv_files(tmp_path / "in", arrays, images)
    write(source / "FERPlus/data/FER2013Train/label.csv", "fer0000002.png,10,0,0,0,0,0,0,0,0,0\n")
    sha256 = hashlib.sha256(images.tobytes()).hexdigest()
    assert prepare(source, tmp_path / "out", images_sha256=sha256)["faces"]["read"] == len(images)


def test_the_generator_and_the_two_files_give_the_same(tmp_path):
    images, arrays = (array for array in few())
    keep = arrays["ferplus_name"] != b""
    images, arrays = images[keep], {name: array[keep] for name, array in arrays.items()}
    sha256 = hashlib.sha256(images.tobytes()).hexdigest()
    prepare(write_csv_files(tmp_path / "csv", arrays, images), tmp_path / "a", images_sha256=sha256)
    prepare(generated(tmp_path / "folders", images, arrays), tmp_path / "b")
    for file in ("faces.npy", "labels/ferplus/train.npz", "triplets/train.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_an_image_listed_twice_has_the_votes_of_its_last_row(tmp_path, capsys):
    images, arrays = few()
    arrays["ferplus_name"][5] = arrays["ferplus_name"][20]
    source = generated(tmp_path / "in", images, arrays)  # image 20 replaces image 5
    prepare(source, tmp_path / "out")
    assert "label.csv: 1 images are listed twice; the last row of each counts" in capsys.readouterr().out
    faces = PackedDataset(tmp_path / "out").faces_NHWC[..., 0]
    np.testing.assert_array_equal(faces, np.delete(images, [0, 5], axis=0))


def test_generated_folders_that_do_not_fit_are_named(tmp_path):
    images, arrays = few()
    source = generated(tmp_path / "in", images, arrays)
    lost = source / "FER2013Train/fer0000002.png"
    lost.rename(lost.with_suffix(".gone"))
    with pytest.raises(DataError, match=r"label\.csv: line 1: .*No such file .*fer0000002\.png"):
        prepare(source, tmp_path / "out")
    Image.new("L", (64, 64)).save(lost)
    with pytest.raises(DataError, match=r"fer0000002\.png: 64×64 pixels; allowed: 48×48"):
        prepare(source, tmp_path / "out")
    with pytest.raises(DataError, match="FERPlus, which has votes but no labels of FER2013; read it by"):
        read_fer2013_labels(source)


@pytest.mark.parametrize("form", ["[{}]", "{}.0"])
def test_pixels_as_other_libraries_write_them(tmp_path, form):
    text = pixel_text(1)
    text = form.format(text.replace(" ", ", " if form[0] == "[" else ".0 "))
    source = read_fer2013_labels(write(tmp_path / "fer2013.csv", f'emotion,pixels,Usage\n1,"{text}",Training\n'))
    np.testing.assert_array_equal(source.pictures[0].picture, pixels(1))
    bad = write(tmp_path / "fer2013.csv", f"emotion,pixels,Usage\n1,{pixel_text(1)}.5,Training\n")
    assert dropped(read_fer2013_labels(bad)) == {"train": {"bad_pixels": 1}}


def test_a_list_without_column_names_is_named(tmp_path):
    write(tmp_path / "fer2013.csv", f"1,{pixel_text(1)},Training\n")
    with pytest.raises(
        DataError, match=r"fer2013\.csv: no column pixels; seen: 1, .*; allowed: emotion, pixels, Usage"
    ):
        read_fer2013_labels(tmp_path)


def test_a_folder_of_the_generator_without_its_list_is_said(tmp_path, capsys):
    generated(tmp_path, *few())
    (tmp_path / "FER2013Test/label.csv").unlink()
    assert set(find_ferplus_lists(tmp_path)) == {"FER2013Train", "FER2013Valid"}
    assert "FER2013Test: warning: no label.csv, not read" in capsys.readouterr().out
