"""The layouts of labelled sources, written small and faithful; the real files where they are present."""

import codecs

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.prepare.labelled.affectnet import AFFECTNET_CLASSES, read_affectnet
from fecnet.prepare.labelled.ckplus import CKPLUS_CLASSES, read_ckplus
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.csv_list import read_csv_list
from fecnet.prepare.labelled.expw import EXPW_CLASSES, read_expw
from fecnet.prepare.labelled.fer2013 import FER_CLASSES
from fecnet.prepare.labelled.fer2013_labels import read_fer2013_labels
from fecnet.prepare.labelled.label_files import read_lines, read_table
from fecnet.prepare.labelled.rafdb import RAFDB_CLASSES, read_rafdb
from fecnet.prepare.labelled.readers import READERS
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data"


def save(path, seed=0, size=(12, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    return path


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def found(source):
    """Name, class and split of each picture."""
    return [(picture.source, source.classes[picture.label], picture.split) for picture in source.pictures]


def dropped(source):
    return {split: dict(reasons) for split, reasons in source.dropped.items() if reasons}


def test_folders_with_splits(tmp_path):
    for seed, name in enumerate(("train/zorn/1.jpg", "train/freude/ü 1.PNG", "Validation/zorn/deep/2.jpeg")):
        save(tmp_path / name, seed)
    (tmp_path / "train/neid").mkdir()
    write(tmp_path / "train/zorn/notes.txt", "x")
    save(tmp_path / "train/lost.jpg")
    source = read_folder(tmp_path)
    assert source.classes == ("freude", "neid", "zorn")
    assert found(source) == [
        ("Validation/zorn/deep/2.jpeg", "zorn", "val"),
        ("train/freude/ü 1.PNG", "freude", "train"),
        ("train/zorn/1.jpg", "zorn", "train"),
    ]
    assert dropped(source) == {"train": {"not_a_picture": 1, "not_in_a_class_folder": 1}}


def test_folders_without_splits(tmp_path):
    save(tmp_path / "b/1.png")
    save(tmp_path / "a/1.png")
    assert found(read_folder(tmp_path)) == [("a/1.png", "a", "all"), ("b/1.png", "b", "all")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_csv_list(tmp_path, mark, end):
    lines = [
        "Path,Label,split,subject",
        '"ä, b.png",10,Training,S1',
        "c.png,9,test,",
        ",9,test,",
        "d.png,,fold_1",
        "e,9,a/b",
    ]
    (tmp_path / "list.csv").write_bytes(mark + end.join([*lines, "", ""]).encode())
    source = read_csv_list(tmp_path / "list.csv")
    assert source.classes == ("9", "10")  # by value
    assert found(source) == [("ä, b.png", "10", "train"), ("c.png", "9", "test")]
    assert source.pictures[0].picture == tmp_path / "ä, b.png"
    assert [picture.subject for picture in source.pictures] == ["S1", ""]
    assert dropped(source) == {"test": {"no_path": 1}, "fold_1": {"no_label": 1}, "unknown": {"bad_split": 1}}


def test_csv_list_of_words_without_split(tmp_path):
    source = read_csv_list(write(tmp_path / "list.csv", "label,path\nsad,1.png\nhappy,2.png\n"))
    assert found(source) == [("1.png", "sad", "all"), ("2.png", "happy", "all")]
    assert source.classes == ("happy", "sad")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column path; seen: an empty file"),
        (b"where,label\n", "no column path; seen: where, label; name it with csv --path-column"),
        (b"path,label\na,b\nJos\xe9,1\n", "line 3: not UTF-8 text: a byte 0xe9; save it as UTF-8"),
        (b'path,label\n"a.jpg,happy\nb.jpg,sad\n', "line 3: not CSV: unexpected end of data"),
        (b"path,label\na.jpg,sad\nb,c.jpg,sad\n", "line 3: 3 values for 2 columns; quote values"),
    ],
)
def test_damaged_csv_is_named(tmp_path, content, message):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_csv_list(tmp_path / "list.csv")
    assert str(caught.value).startswith(str(tmp_path / "list.csv"))
    assert "\n" not in str(caught.value)


def test_text_files_that_are_none(tmp_path):
    for read in (read_lines, lambda path: list(read_table(path, ("a",)))):
        with pytest.raises(ValueError, match="a folder; expected: a text file"):
            read(tmp_path)
        with pytest.raises(ValueError, match="no such file"):
            read(tmp_path / "gone")
    with pytest.raises(ValueError, match="empty file"):
        read_lines(write(tmp_path / "empty", "\n \n"))


@pytest.mark.parametrize("below", ["", "basic"])
def test_rafdb(tmp_path, below):
    root = tmp_path / below
    text = "\ufefftrain_00001.jpg 5\r\ntest_0001.jpg 7\r\ntrain_00002.jpg -1\r\ntest_0002.jpg\r\nother.jpg 1\r\n"
    write(root / "EmoLabel/list_patition_label.txt", text)
    source = read_rafdb(tmp_path)
    assert source.classes == RAFDB_CLASSES
    assert found(source) == [
        ("Image/aligned/train_00001_aligned.jpg", "sadness", "train"),
        ("Image/aligned/test_0001_aligned.jpg", "neutral", "test"),
    ]
    assert source.pictures[0].picture == root / "Image/aligned/train_00001_aligned.jpg"
    assert dropped(source) == {"train": {"unknown_label": 1}, "test": {"no_label": 1}, "unknown": {"bad_line": 1}}


def test_ckplus48_folders(tmp_path):
    for name in ("surprise/S010_002_00000014.png", "anger/S010_004_00000017.png"):
        save(tmp_path / name)
    source = read_ckplus(tmp_path)
    assert source.classes == CKPLUS_CLASSES
    assert [(p.source, p.label, p.split, p.subject, p.sequence) for p in source.pictures] == [
        ("anger/S010_004_00000017.png", 0, "all", "S010", "S010_004"),
        ("surprise/S010_002_00000014.png", 5, "all", "S010", "S010_002"),
    ]


def test_ckplus_as_published(tmp_path):
    for frame in range(1, 6):
        save(tmp_path / f"cohn-kanade-images/S005/001/S005_001_{frame:08d}.png", size=(64, 49))
    for sequence in ("002", "003", "004"):
        for frame in (1, 2):
            save(tmp_path / f"cohn-kanade-images/S005/{sequence}/S005_{sequence}_{frame:08d}.png")
    write(tmp_path / "cohn-kanade-images/S005/.DS_Store", "")
    write(tmp_path / "Emotion/S005/001/S005_001_00000005_emotion.txt", "   2.0000000e+00\n")
    (tmp_path / "Emotion/S005/002").mkdir(parents=True)
    write(tmp_path / "Emotion/S005/003/S005_003_00000002_emotion.txt", "0.0000000e+00")
    write(tmp_path / "Emotion/S005/004/S005_004_00000002_emotion.txt", "")
    source = read_ckplus(tmp_path)
    assert found(source) == [(f"S005/001/S005_001_{frame:08d}.png", "contempt", "all") for frame in (3, 4, 5)]
    assert {(picture.subject, picture.sequence) for picture in source.pictures} == {("S005", "S005_001")}
    assert dropped(source) == {"all": {"no_emotion_label": 2, "unknown_label": 4}}


def test_affectnet(tmp_path):
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    rows = [
        "1/a.jpg,4,6,20,22,1;2,1,0.5,-0.25",
        "1/b.jpg,4,6,20,22,1;2,7,-2,-2",
        "1/c.jpg,4,6,20,22,1;2,10,-2,-2",
        "1/d.jpg,4,6,20,22,1;2,9,-2,-2",
        "1/e.jpg,4,6,20,22,1;2,11,0,0",
        "1/f.jpg,nan,6,20,22,1;2,1,0,0",
        "1/g.jpg,4,6,0,22,1;2,1,0,0",
    ]
    write(tmp_path / "training.csv", header + "\n".join(rows))
    write(tmp_path / "validation.csv", "2/v.jpg,0,0,8,8,1;2,0,0,0\n")  # published without a header
    save(tmp_path / "Manually_Annotated_Images/1/a.jpg", size=(40, 40))
    source = read_affectnet(tmp_path)
    assert source.classes == AFFECTNET_CLASSES
    assert found(source) == [
        ("1/a.jpg", "happy", "train"),
        ("1/b.jpg", "contempt", "train"),
        ("2/v.jpg", "neutral", "val"),
    ]
    assert source.pictures[0].box == (4, 6, 24, 28)
    assert source.pictures[0].picture.is_file()
    assert [picture.valence_arousal for picture in source.pictures] == [(0.5, -0.25), None, (0, 0)]
    assert dropped(source) == {"train": {"not_a_face": 1, "uncertain": 1, "unknown_label": 1, "bad_box": 2}}
    assert found(read_affectnet(tmp_path / "training.csv")) == found(source)[:2]
    with pytest.raises(ValueError, match=r"no training\.csv or validation\.csv"):
        read_affectnet(tmp_path / "nowhere")


@pytest.mark.parametrize(("listed", "photos"), [("label.lst", "origin"), ("label/label.lst", "image/origin")])
def test_expw(tmp_path, listed, photos):
    text = "a b.jpg 0 2 1 9 10 60.5 3\na b.jpg 1 2 11 19 10 40 6\nc.jpg 0 2 1 10 9 60 9\nc.jpg 0 2\n"
    write(tmp_path / listed, text)
    save(tmp_path / photos / "a b.jpg", size=(24, 16))
    source = read_expw(tmp_path)
    assert source.classes == EXPW_CLASSES
    assert found(source) == [("a b.jpg", "happy", "all"), ("a b.jpg", "neutral", "all")]
    assert [picture.box for picture in source.pictures] == [(1, 2, 9, 10), (11, 2, 19, 10)]
    assert source.pictures[0].picture == tmp_path / photos / "a b.jpg"
    assert dropped(source) == {"all": {"unknown_label": 1, "bad_line": 1}}
    assert main(["prepare", "expw", str(tmp_path), str(tmp_path / "out"), "--size", "8", "--grey"]) == 0
    assert PackedDataset(tmp_path / "out").faces_NHWC.shape == (2, 8, 8, 1)  # two faces of one photo


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)


def fer_row(emotion, seed, usage):
    return f"{emotion},{' '.join(map(str, pixels(seed).ravel()))},{usage}"


def test_fer2013_csv(tmp_path):
    rows = [
        fer_row(3, 0, "Training"),
        fer_row(6, 1, "PublicTest"),
        fer_row(0, 2, "PrivateTest"),
        fer_row(9, 3, "Training"),
        fer_row("", 3, "Training"),
        fer_row(1, 4, "Other"),
        "1,1 2 3,Training",
        fer_row(1, 5, "Training").replace(" ", " 256 ", 1),
    ]
    path = write(tmp_path / "fer2013.csv", "\r\n".join(["emotion,pixels,Usage", *rows]), "utf-8-sig")
    source = read_fer2013_labels(tmp_path)
    assert found(source) == found(read_fer2013_labels(path))
    assert source.classes == FER_CLASSES
    assert found(source) == [
        ("fer2013.csv#0", "happy", "train"),
        ("fer2013.csv#1", "neutral", "public_test"),
        ("fer2013.csv#2", "angry", "private_test"),
    ]
    assert dropped(source) == {
        "train": {"unknown_label": 1, "no_label": 1, "bad_pixels": 2},
        "unknown": {"unknown_split": 1},
    }
    assert main(["prepare", "fer2013", str(path), str(tmp_path / "out")]) == 0
    np.testing.assert_array_equal(
        PackedDataset(tmp_path / "out").faces_NHWC[..., 0], np.stack([pixels(seed) for seed in range(3)])
    )


def test_fer2013_kaggle_folders(tmp_path):
    for name in ("train/happy/1.jpg", "test/angry/2.jpg"):
        save(tmp_path / name, size=(48, 48))
    source = read_fer2013_labels(tmp_path)
    assert source.classes == FER_CLASSES
    assert found(source) == [("test/angry/2.jpg", "angry", "test"), ("train/happy/1.jpg", "happy", "train")]


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize("kind", ["gone", "empty_file", "empty_folder"])
def test_bad_inputs_end_in_one_line(tmp_path, capsys, name, kind):
    (tmp_path / "empty_folder").mkdir()
    (tmp_path / "empty_file").touch()
    assert main(["prepare", name, str(tmp_path / kind), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"error: {tmp_path / kind}")
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_the_command_has_every_reader():
    from fecnet.cli.prepare import _LABELLED

    assert set(_LABELLED) == set(READERS)


def test_the_command(tmp_path, capsys):
    for k in range(30):
        save(tmp_path / f"in/{'train' if k < 20 else 'test'}/{'ab'[k % 2]}/{k}.png", k)
    options = ["--size", "16", "--triplets", "12", "--eval-triplets", "6", "--label-noise", "0.1", "--seed", "3"]
    sheet = tmp_path / "sheet.png"
    command = ["prepare", "folder", str(tmp_path / "in"), str(tmp_path / "out"), *options, "--sheet", str(sheet)]
    assert main(command) == 0
    assert "30 faces of (16, 16, 3)" in capsys.readouterr().out
    data = PackedDataset(tmp_path / "out")
    assert (len(data.triplets("train")), len(data.triplets("test"))) == (12, 6)
    assert set(data.description["label_sets"]) == {"label", "label_noise10"}
    assert sheet.is_file()
    assert main(command) == 2
    assert "exists already; use --overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


CKPLUS = DATA / "ckplus48"


@pytest.mark.skipif(not (CKPLUS / "ckplus48.npz").is_file(), reason=f"{CKPLUS} is absent")
def test_real_ckplus():
    source = read_ckplus(CKPLUS)
    assert np.bincount([picture.label for picture in source.pictures]).tolist() == [135, 177, 75, 207, 84, 249, 54]
    assert len(source.pictures) == 981
    assert len({picture.subject for picture in source.pictures}) == 118
    assert len({picture.sequence for picture in source.pictures}) == 327
    assert {picture.split for picture in source.pictures} == {"all"}


FER2013 = DATA / "fer2013"


@pytest.mark.slow
@pytest.mark.skipif(not (FER2013 / "fer2013.npz").is_file(), reason=f"{FER2013} is absent")
def test_real_fer2013(tmp_path):
    assert main(["prepare", "fer2013", str(FER2013), str(tmp_path / "out")]) == 0
    dataset = PackedDataset(tmp_path / "out")
    coverage, square = dataset.coverage, dataset.description["faces"]["square"]
    assert square["found"] > 150 and square["side"] == pytest.approx(0.93, abs=0.01)
    counts = {"train": [3995, 436, 4097, 7215, 4830, 3171, 4965], "private_test": [491, 55, 528, 879, 594, 416, 626]}
    for split, per_class in counts.items():
        assert np.bincount(np.load(tmp_path / f"out/labels/fer/{split}.npz")["label"]).tolist() == per_class
    assert coverage["faces"]["flagged"]["duplicate"] == 35_887 - 34_034
    assert coverage["fer"]["public_test"]["flagged"]["duplicate_in_train"] == 280
    assert coverage["fer"]["private_test"]["flagged"]["duplicate_in_train"] == 288


def votes_csv(tmp_path, rows, columns="path,split,happy,Sad,neutral"):
    for k in range(len(rows)):
        save(tmp_path / f"{k}.png", k)
    lines = [columns, *(f"{k}.png,{row}" for k, row in enumerate(rows))]
    return write(tmp_path / "votes.csv", "\ufeff" + "\r\n".join(lines) + "\r\n")


def test_csv_of_votes_gives_distributions_and_triplets_of_all_types(tmp_path):
    drawn = np.random.default_rng(0).multinomial(10, [[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]], (20, 3))
    rows = [f"train,{','.join(map(str, votes))}" for votes in drawn.reshape(-1, 3)]
    faults = ["train,5,5,0", "train,0,0,0", "train,-1,2,3", "train,x,2,3", "train,inf,1,1", "a/b,1,0,0"]
    source = votes_csv(tmp_path, rows + faults)
    command = ["prepare", "csv", str(source), str(tmp_path / "out"), "--votes", "neutral,happy,Sad", "--triplets", "30"]
    assert main(command) == 0
    data = PackedDataset(tmp_path / "out")
    table = data.labels("votes", "train")
    assert table.classes == ("neutral", "happy", "Sad")
    shares = drawn.reshape(-1, 3)[:, [2, 0, 1]] / 10
    np.testing.assert_allclose(table.distribution_MK[:60], shares, atol=1e-7)
    assert table.label_M[:60].tolist() == shares.argmax(axis=1).tolist()
    assert table.label_M[60] == 1  # the first of a tie, in the order of the option
    assert np.bincount(data.triplets("train").type_T, minlength=3).tolist() == [10, 10, 10]
    assert 60 not in data.triplets("train").faces_T3
    covered, triplets = data.coverage["votes"], data.coverage["triplets"]["train"]
    assert covered["train"]["dropped"] == {"bad_votes": 3, "no_votes": 1} and covered["unknown"]["read"] == 1
    tied = int((np.sort(drawn.reshape(-1, 3))[:, 1] == drawn.reshape(-1, 3).max(axis=1)).sum()) + 1
    assert triplets["dropped"]["tied_majority"] == tied and triplets["kept"] == 61 - tied
    assert main(["data", "verify", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("votes", ["happy", "happy,happy", "happy,", "happy,split", "happy,angry"])
def test_votes_that_are_no_columns_are_named(tmp_path, capsys, votes):
    source = votes_csv(tmp_path, ["train,1,2,3"])
    assert main(["prepare", "csv", str(source), str(tmp_path / "out"), "--votes", votes]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and ("votes" in told and ("allowed" in told or "no column angry" in told))
    assert not (tmp_path / "out").exists()


def test_labels_of_odd_dashes_are_words(tmp_path):
    source = read_csv_list(write(tmp_path / "list.csv", "path,label\na,--1\nb,-\n"))
    assert source.classes == ("-", "--1")


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/secret.jpg", "C:\\\\secret.jpg", "a/..\\\\secret.jpg"])
def test_published_lists_name_no_picture_outside_their_folder(tmp_path, name):
    affectnet = read_affectnet(write(tmp_path / "training.csv", f"subDirectory_filePath,expression\n{name},1\n"))
    expw = read_expw(write(tmp_path / "label.lst", f"{name} 0 1 1 9 9 50 1\n"))
    assert [dropped(source) for source in (affectnet, expw)] == [{"train": {"bad_path": 1}}, {"all": {"bad_path": 1}}]


@pytest.mark.parametrize("reader", [read_ckplus, read_fer2013_labels])
def test_a_flipped_bit_in_an_npz_is_one_line(tmp_path, reader):
    file = tmp_path / "set.npz"
    np.savez_compressed(file, images=np.arange(60000).astype(np.uint8), images_delta=np.arange(60000).astype(np.uint8))
    data = bytearray(file.read_bytes())
    data[80] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"set.npz") as caught:
        reader(file)
    assert "\n" not in str(caught.value)


def test_ckplus_npz_of_other_kinds_is_one_line(tmp_path):
    arrays = {"images": np.zeros((1, 8, 8), np.uint8), "classes": np.array(["anger"]), "filename": np.array(["a"])}
    np.savez(tmp_path / "x.npz", label=np.array([0.0]), **arrays)
    with pytest.raises(ValueError, match=r"x.npz: label, classes, filename are float64"):
        read_ckplus(tmp_path / "x.npz")


def test_ckplus_as_published_with_other_suffixes_and_gaps(tmp_path):
    for frame, suffix in enumerate(("PNG", "jpg", "png")):
        save(tmp_path / f"cohn-kanade-images/S005/001/S005_001_0000000{frame}.{suffix}")
    for sequence in ("001", "002"):
        write(tmp_path / f"Emotion/S005/{sequence}/S005_{sequence}_00000011_emotion.txt", " 3.0\n")
    source = read_ckplus(tmp_path)
    assert [word for _, word, _ in found(source)] == ["disgust"] * 3
    assert dropped(source) == {"all": {"missing_file": 1}}
