"""Labelled photos whose faces are detected and aligned, and boxes in lists."""

import csv
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.data.packed import PackedDataset
from fecnet.faces.extract import grey_face
from fecnet.faces.square_faces import load_square
from fecnet.faces.turns import TurningDetector
from fecnet.prepare import extraction as extraction_module
from fecnet.prepare.extraction import Extraction, FaceShards, PhotoFaces
from fecnet.prepare.labelled import face_cutters
from fecnet.prepare.labelled.csv_list import read_csv_list
from fecnet.prepare.labelled.labelled import prepare_labelled
from fecnet.prepare.labelled.labelled_source import LabelledPicture, LabelledSource
from fecnet.utils.errors import DataError
from tests.faces.test_detect import DATA, YUNET, detector_or_skip, needs_faces
from tests.faces.test_extract import Squares, extract_face, photo
from tests.net_fixtures import squares  # noqa: F401  (a fixture)
from tests.nets import noisy, save, train_on

HOW = Extraction(margin=0.3)
AS_IT_IS, WHOLE = Extraction(size=16, detector=""), (float("nan"),) * 4
ALIGN = ("--align", "--margin", "0.3", "--size", "48")


@pytest.fixture
def images(tmp_path):
    """Five photos of bright squares, the last one without."""
    corners = [[(10, 10), (100, 80)], [(150, 20)], [(60, 120), (10, 10)], [(200, 90)], []]
    sides = [[30, 60], [50], [55, 20], [45], []]
    made = [noisy(photo(*c, sides=s), k) for k, (c, s) in enumerate(zip(corners, sides, strict=True))]
    save(tmp_path / "photos", made)
    return made


def write(folder, rows, header="path,label"):
    path = folder / "list.csv"
    path.write_text("\n".join([header, *rows]))
    return path


def pack(path, tmp_path, name="set", extraction=HOW, **keywords):
    keywords = {"size": 48, "workers": 1, "progress": False} | keywords
    return prepare_labelled(
        read_csv_list(path, allow_absolute=True), tmp_path / name, extraction=extraction, **keywords
    )


def faces_csv(path):
    with (path / "faces.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_face_of_each_photo_is_aligned_and_what_has_none_is_counted(tmp_path, images, squares):  # noqa: F811
    rows = [f"photos/{k}.png,{'ab'[k % 2]}" for k in range(5)]
    path = write(tmp_path, [rows[1], rows[0], *rows[2:], "photos/9.png,a", rows[0], "list.csv,b"])
    coverage = pack(path, tmp_path)
    assert coverage["faces"]["dropped"] == {"missing_file": 1, "no_face": 1, "not_an_image": 1, "repeated": 1}
    data = PackedDataset(tmp_path / "set")
    expected = [extract_face(images[k], Squares(), size=48).image_HWC for k in (1, 0, 2, 3)]
    np.testing.assert_array_equal(data.faces_NHWC, np.stack(expected))
    assert np.load(tmp_path / "set/labels/label/all.npz")["label"].tolist() == [1, 0, 0, 1]
    assert data.description["faces"] == HOW.recipe(Squares()).to_dict()
    assert data.description["sources"]["faces"] == "squares, margin 0.3, no face: drop"
    assert len(faces_csv(tmp_path / "set")[0]["landmarks"].split()) == 10
    assert not (tmp_path / "set.work").exists()


@pytest.mark.parametrize("channels", ["rgb", "grey"])
def test_a_photo_through_the_encoder_is_its_packed_face(tmp_path, images, squares, channels):  # noqa: F811
    pack(
        write(tmp_path, [f"photos/{k}.png,{'ab'[k % 2]}" for k in range(4)]),
        tmp_path,
        channels=channels,
        num_train_triplets=8,
    )
    faces = PackedDataset(tmp_path / "set").faces_NHWC
    assert faces.shape == (4, 48, 48, 1 if channels == "grey" else 3)
    options = ("DATA.TRAIN_SPLIT", "all", "DATA.EVAL_SPLITS", "[all]", "DATA.REPORT_SPLITS", "[all]")
    encoder = fecnet.load(train_on(tmp_path / "set", tmp_path, *options))
    photos = [tmp_path / "photos" / f"{k}.png" for k in range(4)]
    for face, made in zip(faces, encoder.find_faces(photos, faces="auto"), strict=True):
        np.testing.assert_array_equal(face, made.image_SSC)
    np.testing.assert_allclose(encoder.embed(photos), encoder.embed(faces), atol=1e-5)


def test_the_face_in_the_box_is_that_of_fec_for_the_same_box(tmp_path, images, squares):  # noqa: F811
    """A photo with several faces is decoded once; rows keep their order."""
    boxes = {0: [(8, 8, 42, 42), (98, 82, 163, 141)], 2: [(9, 11, 33, 28)]}
    rows = [f"photos/{k}.png,{'ab'[k % 2]},{','.join(map(str, box))}" for k, of in boxes.items() for box in of]
    pack(write(tmp_path, [*rows, "photos/3.png,a,,,,"], "path,label,Left,top,right,bottom"), tmp_path)
    height, width = images[0].shape[:2]
    as_fec = [
        PhotoFaces(
            tmp_path / f"photos/{k}.png",
            [10 * k + n for n in range(len(of))],
            [(x1 / width, x2 / width, y1 / height, y2 / height) for x1, y1, x2, y2 in of],
        )
        for k, of in boxes.items()
    ]
    shards = FaceShards(tmp_path / "fec", as_fec, replace(HOW, size=48))
    shards.extract(workers=1, progress=False)
    faces = PackedDataset(tmp_path / "set").faces_NHWC
    np.testing.assert_array_equal(faces[:3], np.concatenate([shard["image"] for shard in shards.read()]))
    np.testing.assert_array_equal(faces[3], extract_face(images[3], Squares(), size=48).image_HWC)
    assert [row["box"] for row in faces_csv(tmp_path / "set")] == ["8 8 42 42", "98 82 163 141", "9 11 33 28", ""]


def test_a_hundred_photos_keep_all_processes_busy(tmp_path):
    """They may be large, so their shards are of eight. Up to 32 are one: starting another process would take longer."""
    path = tmp_path / "one.png"
    Image.fromarray(noisy(np.zeros((20, 20, 3), np.uint8), 0)).save(path)
    found = {}
    for num in (32, 93, 600):
        shards = FaceShards(tmp_path / str(num), [PhotoFaces(path, [k], [WHOLE]) for k in range(num)], AS_IT_IS)
        shards.extract(workers=1, progress=False)
        found[num] = [len(shard["face"]) for shard in shards.read()]
    assert found == {32: [32], 93: [8] * 11 + [5], 600: [32] * 18 + [24]}


def test_a_box_is_cut_without_alignment_too(tmp_path, images):
    path = write(tmp_path, ["photos/0.png,a,8,8,42,42", "photos/1.png,b,nan,,,"], "path,label,xmin,ymin,xmax,ymax")
    pack(path, tmp_path, extraction=None)
    faces = PackedDataset(tmp_path / "set").faces_NHWC
    np.testing.assert_array_equal(faces[0], load_square(images[0], (8, 8, 42, 42), 48, grey=False))
    np.testing.assert_array_equal(faces[1], load_square(images[1], (), 48, grey=False))


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("path,label,x1,y1,x2", "a.png,a,1,2,3", "columns x1, y1, x2 of a box without y2; allowed: all four or none"),
        (
            "path,label,x1,y1,x2,y2,left,top,right,bottom",
            "a.png,a,1,2,3,4,1,2,3,4",
            "boxes in x1, y1, x2, y2 and in left",
        ),
        ("path,label,x1,y1,x2,y2", "a.png,a,0.1,0.2,0.3,0.9", "boxes within 0 to 1 in x1, y1, x2, y2; allowed: pixels"),
        ("path,label,x1,y1,x2,y2,x1", "a.png,a,1,2,3,4,5", "column x1 2 times; allowed: once"),
    ],
)
def test_boxes_that_have_no_one_reading_are_refused(tmp_path, header, row, said):
    with pytest.raises(DataError, match=said):
        read_csv_list(write(tmp_path, [row], header))


def test_rows_with_a_broken_box_are_counted(tmp_path):
    rows = ["1,2,x,4", "1,2,,4", "5,2,3,4", "1,2,inf,4", "1,2,1e9,4", "1,2,3,2"]
    source = read_csv_list(write(tmp_path, [f"a.png,a,{row}" for row in [*rows, "1,2,3,4"]], "path,label,x1,y1,x2,y2"))
    assert source.dropped == {"all": {"bad_box": 6}} and [picture.box for picture in source.pictures] == [(1, 2, 3, 4)]


def test_without_a_face_the_box_or_the_whole_photo_is_kept_where_asked(tmp_path, images, squares):  # noqa: F811
    rows = ["photos/4.png,a,,,,", "photos/4.png,b,200,100,240,150", "photos/1.png,a,,,,"]
    pack(write(tmp_path, rows, "path,label,x1,y1,x2,y2"), tmp_path, extraction=replace(HOW, no_face="box"))
    faces, rows = PackedDataset(tmp_path / "set").faces_NHWC, faces_csv(tmp_path / "set")
    assert [row["flags"].split()[-1:] for row in rows] == [["unaligned"], ["unaligned"], []]
    whole = extract_face(images[4], Squares(), size=48, no_face="box").image_HWC
    np.testing.assert_array_equal(faces[0], whole)


def test_photos_on_their_side_are_turned_where_asked(tmp_path, monkeypatch):
    turned = np.rot90(noisy(photo((150, 20), sides=[50]), 1))

    class Upright(Squares):
        """Finds faces in wide photos only."""

        def detect(self, image_HWC):
            return super().detect(image_HWC if image_HWC.shape[1] > image_HWC.shape[0] else np.zeros_like(image_HWC))

    def build(*_, try_turns, **__):
        return TurningDetector(Upright()) if try_turns else Upright()

    monkeypatch.setattr(extraction_module, "build_detector", build)
    save(tmp_path / "photos", [turned])
    path = write(tmp_path, ["photos/0.png,a"])
    with pytest.raises(DataError, match=r"list\.csv: no readable picture; no_face 1"):
        pack(path, tmp_path)
    assert not list(tmp_path.glob("set*"))  # a source of which nothing could be used leaves nothing
    pack(path, tmp_path, extraction=replace(HOW, try_turns=True))
    assert faces_csv(tmp_path / "set")[0]["flags"].startswith("turned_")
    assert PackedDataset(tmp_path / "set").description["faces"]["try_turns"]


def test_an_interrupted_run_resumes_and_photos_that_changed_are_read_again(tmp_path, images, squares, monkeypatch):  # noqa: F811
    monkeypatch.setattr(extraction_module, "_SHARD", 1)
    path = write(tmp_path, [f"photos/{k}.png,{'ab'[k % 2]}" for k in range(4)])
    seen, cut = [], extraction_module.extract_photos

    def stop_at_the_third(photos, *rest):
        seen.append(photos[0].path.name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return cut(photos, *rest)

    monkeypatch.setattr(extraction_module, "extract_photos", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        pack(path, tmp_path)
    assert sorted(found.name for found in tmp_path.glob("*set*")) == ["set.work"]
    Image.fromarray(images[3]).save(tmp_path / "photos/1.png")
    os.utime(tmp_path / "photos/1.png", ns=(1, 1))
    pack(path, tmp_path)
    assert seen == ["0.png", "1.png", "2.png", "1.png", "2.png", "3.png"]
    expected = [extract_face(images[k], Squares(), size=48).image_HWC for k in (0, 3, 2, 3)]
    np.testing.assert_array_equal(PackedDataset(tmp_path / "set").faces_NHWC, np.stack(expected))
    assert not (tmp_path / "set.work").exists()


def test_work_of_others_in_the_folder_stays(tmp_path, images, squares):  # noqa: F811
    (tmp_path / "set.work/download").mkdir(parents=True)
    pack(write(tmp_path, ["photos/0.png,a"]), tmp_path)
    assert [found.name for found in (tmp_path / "set.work").iterdir()] == ["download"]


def test_pixels_and_masks_cannot_be_aligned(tmp_path):
    picture = LabelledPicture("fer2013.csv#1", np.zeros((8, 8), np.uint8), 0, "train")
    source = LabelledSource("fer", tmp_path / "fer2013.csv", ("a", "b"), [picture], 48)
    with pytest.raises(
        DataError, match=r"align: .*fer2013\.csv has cropped faces as pixels; allowed: sources of image"
    ):
        prepare_labelled(source, tmp_path / "set", extraction=HOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--align", "--mask"], "--align: with --mask or --hull, which are made on square crops"),
        (["--detector", "mtcnn"], "--detector mtcnn: nothing to detect; give --align, --mask or --hull with it"),
        (["--margin", "0.2"], "--margin: nothing is aligned; give --align with it"),
        (["--mask", "--no-face", "box"], "--no-face: nothing is aligned; give --align with it"),
        (["--try-turns"], "--try-turns: nothing is aligned; give --align with it"),
        (["--align", "--margin", "9"], "margin: 9.0; allowed: 0..4 of the box's longer side"),
        (["--align", "--detector", "yunet"], "detector yunet needs a model file"),
    ],
)
def test_options_without_what_they_are_for_are_refused_before_reading(tmp_path, capsys, options, said):
    assert main(["prepare", "csv", str(tmp_path / "gone.csv"), str(tmp_path / "set"), *options]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["csv", "folder"])
def test_the_command_aligns_lists_and_folders(tmp_path, images, squares, capsys, source):  # noqa: F811
    given = write(tmp_path, [f"photos/{k}.png,{'ab'[k % 2]}" for k in range(5)])
    if source == "folder":
        given = tmp_path / "sorted"
        for k in range(5):
            (given / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
            (tmp_path / f"photos/{k}.png").rename(given / "ab"[k % 2] / f"{k}.png")
    assert main(["prepare", source, str(given), str(tmp_path / "set"), *ALIGN, "--grey", "--workers", "1"]) == 0
    assert "no_face 1" in capsys.readouterr().out
    order = (0, 2, 1, 3) if source == "folder" else range(4)
    expected = [grey_face(extract_face(images[k], Squares(), size=48).image_HWC) for k in order]
    np.testing.assert_array_equal(PackedDataset(tmp_path / "set").faces_NHWC, np.stack(expected))


@needs_faces
def test_several_workers_write_what_one_does(tmp_path, monkeypatch):
    """Byte for byte, however many threads torch has here; some photos have no face or cannot be read."""
    detector_or_skip("mtcnn")
    monkeypatch.setattr(extraction_module, "_SHARD", 4)
    folder = DATA / "faces/images"
    (tmp_path / "broken.jpg").write_bytes((folder / "afw_255360810_1.jpg").read_bytes()[:5000])
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    faces = ("helen_2988554491_1", "afw_255360810_1", "afw_3684472818_1", "afw_3858593140_1")  # three differ by threads
    photos = [*(f"{folder / name}.jpg" for name in faces), "broken.jpg", "grey.png", "gone.jpg"]
    path = write(tmp_path, [f"{photo},{'ab'[k % 2]}" for k, photo in enumerate(photos)])
    threads, written = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        for workers in (1, 2):
            coverage = pack(path, tmp_path, f"{workers}/set", extraction=Extraction(), workers=workers, size=112)
            files = [file for file in sorted((tmp_path / str(workers)).rglob("*")) if file.is_file()]
            written.append(
                (coverage, {str(file.relative_to(tmp_path / str(workers))): file.read_bytes() for file in files})
            )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert written[0] == written[1]
    assert coverage["faces"]["kept"] == 4 and {"no_face", "missing_file"} <= set(coverage["faces"]["dropped"])


def test_few_images_are_held_ahead_of_the_packing():
    held = []

    def load(number):
        held.append(number)
        return np.zeros(1)

    turn = face_cutters._in_turn(load, iter(range(1000)), 2)
    next(turn)
    assert len(held) <= (2 * 2 + 1) * face_cutters._CHUNK
    assert sum(1 for _ in turn) == 999


@pytest.mark.slow
@needs_faces
def test_all_annotated_faces_are_found_and_aligned_as_fec_aligns_them(tmp_path):
    detector_or_skip("yunet")
    how = Extraction(size=64, detector="yunet", model=str(YUNET), refine=False)  # the fastest one
    entries = json.loads((DATA / "faces/annotations.json").read_text())
    rows = [
        f"{DATA / 'faces/images' / entry['file']},{'ab'[k % 2]},{','.join(map(str, face['box_from_landmarks']))}"
        for entry in entries
        for k, face in enumerate(entry["faces"])
    ]
    coverage = pack(write(tmp_path, rows, "path,label,x1,y1,x2,y2"), tmp_path, size=64, extraction=how)
    assert (coverage["faces"]["read"], coverage["faces"]["kept"]) == (120, 120)
    photos, number = [], 0
    for entry in entries:
        size_4 = np.array([entry["width"], entry["width"], entry["height"], entry["height"]])
        boxes = [np.array(face["box_from_landmarks"])[[0, 2, 1, 3]] / size_4 for face in entry["faces"]]
        faces = list(range(number, number + len(boxes)))
        photos.append(PhotoFaces(DATA / "faces/images" / entry["file"], faces, [box.tolist() for box in boxes]))
        number += len(boxes)
    shards = FaceShards(tmp_path / "fec", photos[::8], how)
    shards.extract(workers=1, progress=False)
    faces_NHWC = PackedDataset(tmp_path / "set").faces_NHWC
    for shard in shards.read():
        np.testing.assert_array_equal(faces_NHWC[shard["face"]], shard["image"])
