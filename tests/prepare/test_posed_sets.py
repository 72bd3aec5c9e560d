"""JAFFE, KDEF and CK+ in folders."""

import pytest

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.prepare.labelled.ckplus import read_ckplus
from fecnet.prepare.labelled.jaffe import read_jaffe
from fecnet.prepare.labelled.kdef import read_kdef
from fecnet.utils.errors import DataError
from tests.prepare.trees import dropped, grow, read

CODES = {"AN": "anger", "DI": "disgust", "HA": "happiness", "NE": "neutral", "SA": "sadness", "SU": "surprise"}


@pytest.mark.parametrize("form", ["{who}.{code}1.39.tiff", "jaffe/{who}.{code}2.140.tiff", "{who}-{code}1-39.png"])
def test_jaffe(tmp_path, form):
    names = {
        form.format(who=who, code=code): (who, word)
        for who in ("KA", "YM")
        for code, word in (CODES | {"FE": "fear"}).items()
    }
    source = read_jaffe(grow(tmp_path, *names, "README_FIRST.txt", "logo.png"))
    assert read(source) == {name: (word, "all", who) for name, (who, word) in names.items()}
    assert dropped(source) == {"all": {"bad_name": 1, "not_a_picture": 1}}


@pytest.mark.parametrize("folder", ["KDEF/{session}F01/", "", "KDEF_and_AKDEF/KDEF/{session}F01/"])
def test_kdef(tmp_path, folder):
    names = {}
    for session in "AB":
        for code, word in (CODES | {"AF": "fear"}).items():
            for angle in ("S", "HL", "FR"):
                names[f"{folder.format(session=session)}{session}F01{code}{angle}.JPG"] = (word, "all", "F01")
    source = read_kdef(grow(tmp_path, *names, "AF31V.JPG"))
    assert read(source) == names
    assert dropped(source) == {"all": {"bad_name": 1}}
    sequences = {picture.sequence for picture in source.pictures}
    assert len(sequences) == 14 and "AF01AF" in sequences  # the angles of one session and expression


def test_the_commands_keep_the_people(tmp_path):
    for name, pictures in {
        "jaffe": ["KA.AN1.39.tiff", "KL.HA1.2.tiff"],
        "kdef": ["AF01ANS.JPG", "BM02HAS.JPG"],
    }.items():
        grow(tmp_path / name, *pictures)
        assert main(["prepare", name, str(tmp_path / name), str(tmp_path / "out" / name), "--size", "8"]) == 0
        data = PackedDataset(tmp_path / "out" / name)
        assert data.labels(name, "all").label_M.tolist() == [0, 3]
        assert data.coverage["warnings"] == {"all": "no face of disgust, fear, neutral, sadness, surprise"}
        assert data.faces_NHWC.shape[3] == (1 if name == "jaffe" else 3)


@pytest.mark.parametrize(
    ("reader", "names", "message"),
    [
        (read_jaffe, ["happy/1.jpg"], "no picture named like KA.AN1.39.tiff; seen: 1.jpg"),
        (read_jaffe, ["sad/KA.AN1.39.tiff"], "named anger in folder sad; allowed: the same class"),
        (read_kdef, ["KA.AN1.39.tiff"], "no picture named like AF01ANS.JPG"),
        (read_kdef, ["afraid/AF01AFS.JPG", "afraid/AF01ANS.JPG"], "named anger in folder afraid"),
        (read_kdef, [], "no picture in it"),
    ],
)
def test_other_names_are_refused(tmp_path, reader, names, message):
    with pytest.raises(DataError, match=message):
        reader(grow(tmp_path, *names, "x.txt"))


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"), 7),
        (("Angry", "CONTEMPTUOUS", "disgusted", "fearful", "happiness", "sad", "surprised"), 7),
        (("CK+48/anger", "CK+48/contempt", "CK+48/disgust", "CK+48/fear", "CK+48/happy", "CK+48/sadness"), 7),
        (("train/anger", "train/neutral", "test/contempt", "test/happy"), 8),
    ],
)
def test_ckplus_folders(tmp_path, folders, classes):
    source = read_ckplus(grow(tmp_path, *(f"{folder}/S010_004_0000001{k}.png" for k, folder in enumerate(folders))))
    assert len(source.classes) == classes
    assert {place[2] for place in read(source).values()} == {"S010"}
    for name, (word, split, _) in read(source).items():
        assert word[:3] == name.split("/")[-2].lower()[:3] and split in (name.split("/")[0], "all")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["anger/1.png", "bored/1.png"], "unknown labels 'bored'; allowed: anger, disgust"),
        (["anger/1.png", "0/1.png"], "class folders 0; allowed: anger, .*, contempt$"),
        (["0/1.png", "1/1.png"], "no folder is named after a class; seen: 0 1; allowed: anger"),
    ],
)
def test_unknown_ckplus_folders_are_listed(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read_ckplus(grow(tmp_path, *names))
