"""AffectNet in the forms people have: arrays of annotations, the lists of the old release, lists of copies."""

import numpy as np
import pytest

from fecnet.prepare.labelled.affectnet import AFFECTNET_CLASSES, read_affectnet
from fecnet.utils.errors import DataError
from tests.prepare.test_labelled_layouts import dropped, found, save, write

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def annotate(folder, name, expression, valence="0.5", arousal="-0.25", image=True):
    """The arrays of a face, as published: strings without a shape."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    values = {"exp": expression, "val": valence, "aro": arousal, "lnd": np.arange(136.0)}
    for kind, value in values.items():
        if value is not None:
            np.save(folder / f"annotations/{name}_{kind}.npy", np.array(value))
    if image:
        save(folder / f"images/{name}.jpg")


def test_arrays_of_annotations(tmp_path):
    train, val = tmp_path / "AffectNet/train_set", tmp_path / "AffectNet/val_set"
    annotate(train, "10", "7")
    annotate(train, "9", "1", "-2", "-2")
    annotate(train, "11", "0", None, None)
    annotate(train, "12", "9")
    annotate(train, "13", "2", image=False)
    annotate(val, "9", np.int64(3), np.float32(0.5), np.array([0.25]))
    save(train / "images/0.jpg")
    write(train / "annotations/.DS_Store", "")
    source = read_affectnet(tmp_path)
    assert source.classes == AFFECTNET_CLASSES
    assert [row[1:] for row in found(source)] == [
        *(("happy", "train"), ("contempt", "train"), ("neutral", "train"), ("sad", "train"), ("surprise", "val")),
    ]
    assert source.pictures[0].source == "AffectNet/train_set/images/9.jpg"
    affect = [picture.valence_arousal for picture in source.pictures]
    assert affect == [None, (0.5, -0.25), None, (0.5, -0.25), (0.5, 0.25)]
    assert [picture.picture.is_file() for picture in source.pictures] == [True, True, True, False, True]
    assert dropped(source) == {"train": {"no_label": 1, "uncertain": 1}}
    assert [row[1:] for row in found(read_affectnet(val))] == [("surprise", "val")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.array("3", dtype=object),
            r"9_exp\.npy: holds Python objects, .*: np\.save\('9_exp\.npy', np\.array\(float",
        ),
        (np.array(["3", "4"]), r"9_exp\.npy: an array of shape \(2,\); allowed: one value"),
        (np.array("bored"), r"unknown labels 'bored'; allowed: neutral, happy"),
    ],
)
def test_arrays_that_hold_something_else_are_named(tmp_path, value, message):
    annotate(tmp_path / "train_set", "9", value)
    with pytest.raises(DataError, match=message) as caught:
        read_affectnet(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lists", ["", "Manually_Annotated_file_lists"])
@pytest.mark.parametrize("images", ["Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images"])
@pytest.mark.parametrize("top", ["", "Manually_Annotated_Images/"])
def test_old_lists_with_and_without_their_top_folders(tmp_path, lists, images, top):
    write(tmp_path / lists / "training.csv", f"{HEADER}\n{top}1/a.jpg,4,6,20,22,1;2,1,0.5,0.5\n")
    write(tmp_path / lists / "validation.csv", f"{top}2/v.jpg,0,0,8,8,1;2,0,0,0\n")
    for name in ("1/a.jpg", "2/v.jpg"):
        save(tmp_path / images / name)
    for given in (tmp_path, tmp_path / lists / "training.csv"):
        source = read_affectnet(given)
        assert found(source)[0] == (f"{top}1/a.jpg", "happy", "train")
        assert all(picture.picture.is_file() for picture in source.pictures)


def test_a_list_in_the_folder_that_its_paths_begin_with(tmp_path):
    write(tmp_path / "AffectNet/training.csv", f"{HEADER}\nAffectNet/1/a.jpg,4,6,20,22,1;2,1.0,0.5,0.5\n")
    save(tmp_path / "AffectNet/1/a.jpg")
    (picture,) = read_affectnet(tmp_path / "AffectNet").pictures
    assert picture.picture.is_file() and picture.label == 1


def test_a_copy_with_columns_of_other_names(tmp_path, capsys):
    rows = [",pth,label,relFCs", "0,anger/1.jpg,surprise,0.8", "1,anger/2.jpg,anger,0.8", "2,none/3.jpg,none,0.8"]
    write(tmp_path / "labels.csv", "\n".join(rows))
    save(tmp_path / "Train/anger/1.jpg")
    save(tmp_path / "Test/anger/2.jpg")
    source = read_affectnet(tmp_path)
    assert found(source) == [("anger/1.jpg", "surprise", "train"), ("anger/2.jpg", "anger", "test")]
    assert dropped(source) == {"all": {"none": 1}}
    told = capsys.readouterr().out
    assert "column 'pth' is read as the path" in told and "column 'label' is read as the label" in told
    save(tmp_path / "Test/anger/1.jpg")
    with pytest.raises(DataError, match=r"the list names anger/1\.jpg; allowed: one image of that path"):
        read_affectnet(tmp_path)


def test_images_of_another_split_are_not_taken(tmp_path):
    """Both splits count their images from 0."""
    for name in ("train", "val"):
        write(tmp_path / f"{name}.csv", "image,expression\n0.jpg,1\n")
        save(tmp_path / name / "0.jpg")
    train, val = read_affectnet(tmp_path).pictures
    assert (train.picture, val.picture) == (tmp_path / "train/0.jpg", tmp_path / "val/0.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.jpg,1\nb.jpg,8\n", "labels to 8, but no 0, 9 or 10: counted from 1"),
        ("path,label\na.jpg,happy\nb.jpg,bored\nc.jpg,sleepy\n", "unknown labels 'bored', 'sleepy'; allowed: neutral"),
        ("path,mood\na.jpg,1\n", "no column expression; seen: path, mood"),
    ],
)
def test_lists_that_mean_something_else_are_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_affectnet(write(tmp_path / "training.csv", text))


def test_two_lists_of_a_split_are_refused(tmp_path):
    for name in ("train.csv", "training.csv"):
        write(tmp_path / name, f"{HEADER}\n")
    with pytest.raises(DataError, match=r"train\.csv, training\.csv; allowed: one list of each split"):
        read_affectnet(tmp_path)


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("x,y,width,height", "4,6,20,22"),
        ("Face X,Face Y,Face W,Face H", "4,6,20,22"),
        ("left,top,right,bottom", "4,6,24.0,28"),
        ("bbox_x1,bbox_y1,bbox_x2,bbox_y2", "4,6,24,28"),
        ("face_xmin,face_ymin,face_xmax,face_ymax", "4,6,24,28"),
    ],
)
def test_boxes_under_other_names_are_read_and_said(tmp_path, capsys, columns, values):
    text = f"image,{columns},exp,val,aro\na.jpg,{values},1,0.5,-0.25\nb.jpg,nan,0,0,0,1,-2,-2\n"
    source = read_affectnet(write(tmp_path / "affectnet_train.csv", text).parent)
    (picture,) = source.pictures
    assert (picture.box, picture.valence_arousal, picture.split) == ((4, 6, 24, 28), (0.5, -0.25), "train")
    assert dropped(source) == {"train": {"bad_box": 1}}
    assert "are read as the boxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("columns", "seen"), [("bbox", "bbox"), ("face_x,face_y", "face_x, face_y"), ("x1,y1,x2", "x1, x2, y1")]
)
def test_boxes_of_an_unknown_form_are_refused(tmp_path, columns, seen):
    text = f"image,{columns},label\na.jpg{',1' * columns.count(',')},1,1\n"
    with pytest.raises(DataError, match=f"columns {seen} seem to be boxes; allowed: face_x, face_y, face_width"):
        read_affectnet(write(tmp_path / "training.csv", text))


@pytest.mark.parametrize("columns", ["width,height", "x", "facial_landmarks", "face_id"])
def test_columns_that_are_no_boxes(tmp_path, columns):
    text = f"image,{columns},label\na.jpg{',1' * columns.count(',')},1,1\n"
    assert read_affectnet(write(tmp_path / "training.csv", text)).pictures[0].box == ()


def test_affect_of_another_scale_is_said(tmp_path, capsys):
    text = "image,label,valence,arousal\na.jpg,1,5,3\nb.jpg,1,-2,-2\nc.jpg,1,0.5,1\n"
    source = read_affectnet(write(tmp_path / "training.csv", text))
    assert [picture.valence_arousal for picture in source.pictures] == [None, None, (0.5, 1)]
    assert "valence or arousal of 1 faces are outside of -1 to 1, not read" in capsys.readouterr().out


def test_a_split_without_its_images_or_annotations_is_counted(tmp_path):
    annotate(tmp_path / "train_set", "1", "1")
    annotate(tmp_path / "val_set", "2", "2", image=False)
    (tmp_path / "val_set/images").rmdir()
    save(tmp_path / "test_set/images/3.jpg")
    source = read_affectnet(tmp_path)
    assert [
        (split, picture.picture.is_file()) for (*_, split), picture in zip(found(source), source.pictures, strict=True)
    ] == [
        ("train", True),
        ("val", False),
    ]
    assert dropped(source) == {"test": {"no_label": 1}}
