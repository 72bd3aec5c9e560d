"""Lists of images whose columns have other names, and the forms in which their labels are written."""

import pytest

from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.prepare.labelled.csv_list import read_csv_list, read_csv_votes
from fecnet.utils.errors import DataError
from tests.prepare.test_labelled_layouts import dropped, found, save, write


def read(tmp_path, text, **columns):
    return read_csv_list(write(tmp_path / "list.csv", text), **columns)


@pytest.mark.parametrize(("path", "label"), [("image", "emotion"), ("pth", "class"), ("File Name", " Expression ")])
def test_usual_names_are_read_and_said(tmp_path, capsys, path, label):
    source = read(tmp_path, f",{path},{label},relFCs\n0,a.png,happy,0.9\n1,b.png,sad,0.8\n")
    assert found(source) == [("a.png", "happy", "all"), ("b.png", "sad", "all")]
    told = capsys.readouterr().out
    assert f"column '{path.lower()}' is read as the path" in told
    assert f"column '{label.strip().lower()}' is read as the label" in told


def test_the_documented_names_win_in_silence(tmp_path, capsys):
    source = read(tmp_path, "Unnamed: 0,image,path,label,emotion\n0,x.png,a.png,1,happy\n")
    assert found(source) == [("a.png", "1", "all")]
    assert capsys.readouterr().out == ""


def test_several_possible_columns_are_refused_until_one_is_named(tmp_path):
    text = "image,file,expression,emotion\nx.png,a.png,3,happy\n"
    with pytest.raises(DataError, match=r"columns file, image may each be the path; .*csv --path-column"):
        read(tmp_path, text)
    with pytest.raises(DataError, match=r"columns expression, emotion may each be the label; .*csv --label-column"):
        read(tmp_path, text, path_column="file")
    assert found(read(tmp_path, text, path_column="File", label_column="emotion")) == [("a.png", "happy", "all")]
    with pytest.raises(DataError, match=r"list\.csv: no column mood; seen: image, file, expression, emotion"):
        read(tmp_path, text, path_column="file", label_column="mood")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,happy\n", r"no column path; seen: a\.png, happy; name it with csv --path-column"),
        ("emotion,pixels,Usage\n0,1 2,Training\n", "pixels are read by 'fecnet prepare fer2013'"),
        ("path,label,label\na.png,1,2\n", "column label 2 times; allowed: once"),
        ("path,label\na.png,0\nb.png,happy\n", "labels '0' beside 'happy'"),
    ],
)
def test_lists_that_cannot_be_read_are_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_white_space_separates_too(tmp_path):
    assert found(read(tmp_path, "path  label\n'a.png' \t sad\n")) == [("a.png", "sad", "all")]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators(tmp_path, mark):
    assert found(read(tmp_path, f"path{mark}label\nLast, First.png{mark}sad\n")) == [("Last, First.png", "sad", "all")]


def test_decimals_gaps_and_backslashes(tmp_path):
    save(tmp_path / "sub/a.png")
    source = read(tmp_path, "path,label\nsub\\a.png,10.0\nb.png,2.0\nc.png,\nd.png,nan\ne.png,2\n")
    assert source.classes == ("2", "10")
    assert [name for _, name, _ in found(source)] == ["10", "2", "2"]
    assert dropped(source) == {"all": {"no_label": 2}}
    assert source.pictures[0].picture == tmp_path / "sub/a.png"


def test_forms_of_a_class_are_one(tmp_path, capsys):
    source = read(tmp_path, "path,label\na,happy\nb,Happiness\nc,HAPPY\nd,Fear\n")
    assert source.classes == ("Fear", "happiness")
    assert [picture.label for picture in source.pictures] == [1, 1, 1, 0]
    assert "'HAPPY', 'Happiness', 'happy' are read as class happiness" in capsys.readouterr().out


def test_splits_and_subjects_under_other_names(tmp_path, capsys):
    source = read(tmp_path, "path,label,Usage,person\na,1,Training,S1\nb,2,PublicTest,S2\n")
    assert [split for *_, split in found(source)] == ["train", "public_test"]
    assert [picture.subject for picture in source.pictures] == ["S1", "S2"]
    assert "column 'usage' is read as the split" in capsys.readouterr().out
    source = read(tmp_path, "path,label,set\na,1,5\nb,2,7\n")  # a set of something else
    assert {split for *_, split in found(source)} == {"all"}
    assert "column 'set' is not read as the split, since it contains '5'" in capsys.readouterr().out


def test_the_command_names_columns(tmp_path):
    for seed, name in enumerate("ab"):
        save(tmp_path / f"{name}.png", seed)
    write(tmp_path / "list.csv", "where,mood,happy,sad\na.png,happy,3,1\nb.png,Sad,0,4\n")
    columns = ["--path-column", "where", "--label-column", "mood"]
    command = ["prepare", "csv", str(tmp_path / "list.csv"), str(tmp_path / "out")]
    assert main([*command, *columns]) == 0
    assert PackedDataset(tmp_path / "out").labels("label", "all").classes == ("Sad", "happy")
    assert main([*command, "--votes", "happy,sad", *columns[:2], "--overwrite"]) == 0
    assert main([*command, "--votes", "happy,sad", *columns, "--overwrite"]) == 2
    assert len(read_csv_votes(tmp_path / "list.csv", ["happy", "sad"], "where").pictures) == 2


def test_splits_beside_other_words_are_refused(tmp_path):
    """Else one stray word would put training and test faces together."""
    with pytest.raises(DataError, match=r"column usage holds 'Training' and 'extra'; allowed: only names of splits"):
        read(tmp_path, "path,label,Usage\na,1,Training\nb,2,PublicTest\nc,2,extra\n")


def test_fields_that_hold_nothing(tmp_path, capsys):
    text = "path,label,split,subject\na,1,train,nan\nb,2,nan,\nnan,2,train,S\nd,NA,train,S\ne,2,train,'S'\nf,1,0,S\n"
    source = read(tmp_path, text)
    assert [(picture.source, picture.subject) for picture in source.pictures] == [("a", ""), ("e", "S")]
    assert dropped(source) == {"unknown": {"bad_split": 2}, "train": {"no_path": 1, "no_label": 1}}
    assert "line 7: split '0' is not read" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["/data/a.png", "C:\\data\\a.png", "\\\\server\\a.png"])
def test_absolute_paths_are_asked_for(tmp_path, name):
    file = write(tmp_path / "list.csv", f"path,happy,sad\nb.png,3,1\n{name},0,4\n")
    with pytest.raises(DataError, match=r"list\.csv: line 3: an absolute path: .*a\.png; .*, or --allow-absolute"):
        read_csv_votes(file, ["happy", "sad"])
    assert len(read_csv_votes(file, ["happy", "sad"], allow_absolute=True).pictures) == 2


def test_the_command_takes_absolute_paths(tmp_path):
    image = save(tmp_path / "pictures/a.png")
    write(tmp_path / "list.csv", f"path,label\n{image},happy\n")
    command = ["prepare", "csv", str(tmp_path / "list.csv"), str(tmp_path / "out"), "--size", "8"]
    assert main(command) == 2
    assert main([*command, "--allow-absolute"]) == 0


def test_one_path_in_several_forms(tmp_path):
    save(tmp_path / "x/a.png")
    source = read(tmp_path, "path,label\nx/a.png,happy\n./x/a.png,sad\nx\\a.png,sad\nfile://x/a.png,sad\n")
    assert {picture.source for picture in source.pictures} == {"x/a.png"}
    assert dropped(source) == {"all": {"bad_path": 1}}


def test_two_columns_of_votes_for_one_class_are_refused(tmp_path):
    with pytest.raises(DataError, match="votes: 'happy,sad,happiness'; allowed: two or more different classes"):
        read_csv_votes(write(tmp_path / "list.csv", "path,happy,sad,happiness\n"), ["happy", "sad", "happiness"])
