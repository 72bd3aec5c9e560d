"""Photos through the encoder give the faces that ``fecnet prepare`` makes of them, aligned or as they are."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fecnet
from fecnet.data.packed import PackedDataset
from fecnet.encoder.face_maker import FaceMaker
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.faces import recipe as recipe_module
from fecnet.faces.align import align_face
from fecnet.faces.extract import whole_face
from fecnet.faces.landmark_faces import LandmarkFaces
from fecnet.faces.recipe import FaceRecipe
from fecnet.faces.square_faces import load_square
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.fec import prepare_list
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.labelled import prepare_labelled
from tests.conftest import write_tiny
from tests.faces.test_detect import DATA, YUNET, detector_or_skip, needs_faces
from tests.faces.test_extract import Squares, extract_face, photo
from tests.faces.test_landmark_faces import TemplateDetector
from tests.nets import noisy, save, train_on, write_list


def packed_like_encoded(run, dataset, pictures, rows=None, detector_model="", **options):
    """Compare the vectors of pictures with those of the faces in the packed set."""
    encoder = fecnet.load(run, detector_model=detector_model)
    faces = PackedDataset(dataset).faces_NHWC
    expected = encoder.embed(faces if rows is None else faces[rows])
    assert np.abs(expected[1:] - expected[:-1]).max(axis=1).min() > 1e-4  # else nothing would be shown
    found, status = encoder.embed(pictures, return_status=True, **options)
    assert status == ["ok"] * len(expected)
    assert np.abs(found - expected).max() <= 1e-5
    return encoder


def test_aligned_photos_give_the_packed_faces(aligned):
    run, dataset, pictures, images = aligned
    described = PackedDataset(dataset).description["faces"]
    assert described["align"] and described["detector_name"] == "squares" and described["margin"] == 0.3
    packed_like_encoded(run, dataset, pictures)
    packed_like_encoded(run, dataset, images)


def test_the_largest_face_is_taken_or_the_one_in_the_box(aligned):
    run, _, _, images = aligned
    encoder = fecnet.load(run)
    box = (8, 8, 42, 42)
    small = extract_face(images[0], Squares(), size=48, box=box, margin=0.3).image_HWC
    large = extract_face(images[0], Squares(), size=48).image_HWC
    found = encoder.embed([images[0], images[0]], boxes=[None, box])
    assert np.abs(found - encoder.embed([large, small])).max() <= 1e-5
    assert np.abs(found[0] - found[1]).max() > 1e-4
    ten = noisy(photo(*[(22 * k, 20) for k in range(9)], (220, 100), sides=[15] * 9 + [70]), 9)
    assert len(Squares().detect(ten).scores_K) == 10
    alone = np.where(np.arange(200)[:, None, None] > 60, ten, 0).astype(np.uint8)
    assert np.abs(encoder.embed(ten) - encoder.embed(alone)).max() <= 1e-5
    for boxes in ([None], [None, None, None]):
        with pytest.raises(ValueError, match="boxes: not as many as pictures"):
            encoder.embed(images[:2], boxes=boxes)


def test_a_photo_without_a_face_has_a_status(aligned, tmp_path):
    run, _, pictures, images = aligned
    encoder = fecnet.load(run)
    items = [photo(), images[0], np.zeros((1, 1, 3), np.uint8), tmp_path / "gone.jpg", images[1]]
    vectors, status = encoder.embed(items, return_status=True)
    assert status == ["no_face", "ok", "no_face", "missing_file", "ok"]
    assert np.abs(vectors[[1, 4]] - encoder.embed(images[:2])).max() <= 1e-5
    assert encoder.odd_one_out(pictures[0], items[0], pictures[1]) is None
    _, status = encoder.embed(images[:1], boxes=[(5, 5, 5, 5)], return_status=True)
    assert status == ["bad_box"]


def test_another_detector_or_template_is_refused(aligned, monkeypatch):
    run, _, pictures, _ = aligned
    encoder = fecnet.load(run)
    monkeypatch.setattr(Squares, "name", "squares of another kind")
    with pytest.raises(
        ValueError, match=r"detector: squares of another kind; the faces were found with squares; faces 'whole'"
    ):
        encoder.embed(pictures)
    monkeypatch.undo()
    monkeypatch.setattr(recipe_module, "build_detector", lambda *_, **__: Squares())
    monkeypatch.setattr(recipe_module, "aligned_template", lambda: ((0.5, 0.5),))
    with pytest.raises(ValueError, match="template: the faces were aligned to another template"):
        encoder.embed(pictures)


def test_an_unknown_way_of_making_faces_is_refused(aligned, tmp_path):
    run, _, _, _ = aligned
    checkpoint = find_checkpoint(run, "last")
    meta = json.loads((checkpoint / "meta.json").read_text())
    meta["preprocessing"]["faces"] = {"fit": "whole", "align": True, "lens": 3}
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match=r"meta\.json: faces: lens: made in a way this version does not know"):
        fecnet.load(run)


@pytest.mark.parametrize(("fit", "channels"), [("whole", "rgb"), ("central", "rgb"), ("central", "grey")])
def test_pictures_of_any_size_become_what_prepare_makes_of_them(tmp_path, fit, channels):
    rng = np.random.default_rng(3)
    sizes = [(48, 48), (90, 61), (33, 80), (7, 5), (200, 200), (1, 1), (48, 70)]
    pictures = save(tmp_path / "calm", [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes])
    if fit == "whole":
        files = {"train": write_list(tmp_path, [path.name for path in pictures])}
        prepare_list(files, tmp_path / "calm", tmp_path / "set", extraction=Extraction(48, ""), progress=False)
    else:
        (tmp_path / "moods").mkdir()
        (tmp_path / "calm").rename(tmp_path / "moods" / "calm")
        pictures = [tmp_path / "moods" / "calm" / path.name for path in pictures]
        save(tmp_path / "moods" / "cross", [rng.integers(0, 256, (48, 48, 3), np.uint8) for _ in range(7)])
        source = dataclasses.replace(read_folder(tmp_path / "moods"), size=48)
        prepare_labelled(source, tmp_path / "set", channels=channels, num_train_triplets=8, progress=False)
    split = "train" if fit == "whole" else "all"
    options = ("DATA.TRAIN_SPLIT", split, "DATA.EVAL_SPLITS", f"[{split}]", "DATA.REPORT_SPLITS", f"[{split}]")
    packed_like_encoded(
        train_on(tmp_path / "set", tmp_path, *options),
        tmp_path / "set",
        pictures,
        np.arange(len(pictures)),
        faces="whole",
    )


def test_boxes_of_whole_faces_are_cut_as_in_sets_with_boxes(tmp_path):
    """The labelled sets' squares, black beyond the picture; the lists' squares with repeated edges."""
    encoder = fecnet.load(train_on(write_tiny(tmp_path / "tiny"), tmp_path))
    image_HWC = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)
    boxes = [(20, 10, 60, 70), (90.4, 60.2, 150.0, 99.0), None, (-30, -30, 25, 20)]
    cut = [load_square(image_HWC, box or (), 48, grey=True) for box in boxes]
    found, status = encoder.embed([image_HWC] * 4, faces="whole", boxes=boxes, return_status=True)
    assert status == ["ok"] * 4
    assert np.abs(found - encoder.embed(cut)).max() <= 1e-5
    assert np.abs(found[1:] - found[:-1]).max(axis=1).min() > 1e-4
    bad = [(5, 5, 5, 9), (130, 10, 150, 30), (0, 0, np.nan, 9), (0, 0, 9), (0, 0, 9000, 9000)]
    assert encoder.embed([image_HWC] * 5, faces="whole", boxes=bad, return_status=True)[1] == ["bad_box"] * 5
    stored = np.ascontiguousarray(image_HWC[:48, :48, :1])
    assert np.abs(encoder.embed(stored, faces="whole", boxes=[(8, 8, 40, 40)]) - encoder.embed(stored)).max() > 1e-4

    recipe = FaceRecipe(fit="whole")
    maker = FaceMaker(size=48, channels=["R", "G", "B"], recipe=recipe, origin="net")
    made = list(maker.make([(image_HWC, box) for box in (*boxes[:2], *bad[:2])], faces="whole"))
    assert [face.status for face in made] == ["ok"] * 2 + ["bad_box"] * 2
    for face, box in zip(made[:2], boxes, strict=False):
        assert np.array_equal(face.image_SSC, whole_face(image_HWC, np.array(box), 48).image_HWC)


def test_all_faces_of_a_picture_are_found(aligned, tmp_path):
    """Each as the net takes it; the largest is the one that is taken alone; a picture without one has a row."""
    run, _, pictures, images = aligned
    encoder = fecnet.load(run)
    for picture in (pictures[0], pictures[0].read_bytes(), pictures[0].open("rb"), images[0]):
        small, large = encoder.find_faces(picture)
        assert small.box_4.tolist() == [10, 10, 40, 40] and large.box_4.tolist() == [100, 80, 160, 140]
        assert small.score == pytest.approx(0.9) and (small.status, small.picture) == ("ok", 0)
        for face in (small, large):
            assert np.array_equal(face.image_SSC, align_face(images[0], face.landmarks_52, 48))
    found = encoder.encode([photo(), images[0], tmp_path / "gone.png", images[1]], faces="all")
    assert found.status == ["no_face", "ok", "ok", "missing_file", "ok"]
    assert found.picture_N.tolist() == [0, 1, 1, 2, 3] and found.landmarks_N52.shape == (5, 5, 2)
    assert np.isnan(found.box_N4[[0, 3]]).all() and found.box_N4[2].tolist() == [100, 80, 160, 140]
    assert np.allclose(found.score_N, [np.nan, 0.9, 0.9, np.nan, 0.9], equal_nan=True)
    for faces in ("auto", "largest"):
        (largest,) = encoder.find_faces(images[0], faces=faces)
        assert largest.box_4.tolist() == [100, 80, 160, 140]
        assert np.abs(encoder.embed(images[0], faces=faces) - found.outputs["embedding"][2]).max() <= 1e-5
    assert len(encoder.embed(images, faces="all")) == 8
    assert [face.status for face in encoder.find_faces(photo())] == ["no_face"]
    with pytest.raises(ValueError, match="boxes: given with faces 'all', but a box names one face; allowed: "):
        encoder.embed(images[:1], faces="all", boxes=[(8, 8, 42, 42)])
    with pytest.raises(ValueError, match=r"faces: 'each'; allowed here: auto, largest, all, whole"):
        encoder.embed(images[:1], faces="each")
    with (
        (tmp_path / "a.txt").open("w+") as file,
        pytest.raises(ValueError, match=r"a\.txt: open as text; allowed: .*'rb'"),
    ):
        encoder.embed(file)


def test_a_stored_face_is_looked_at_as_a_photo_if_told_to(aligned):
    run, dataset, _, _ = aligned
    encoder = fecnet.load(run)
    faces = np.array(PackedDataset(dataset).faces_NHWC[:3])
    assert encoder.embed(faces, return_status=True)[1] == ["ok"] * 3
    assert np.array_equal(encoder.embed(faces), encoder.embed(faces, faces="whole"))
    black = np.zeros_like(faces)
    assert encoder.embed(black, return_status=True)[1] == ["ok"] * 3
    assert encoder.embed(black, faces="largest", return_status=True)[1] == ["no_face"] * 3


def test_masks_and_hulls_are_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_module, "build_detector", lambda *_, **__: TemplateDetector())
    rng = np.random.default_rng(4)
    for name in ("calm", "cross"):
        (tmp_path / "moods").mkdir(exist_ok=True)
        save(tmp_path / "moods" / name, [rng.integers(8, 256, (80, 80, 3), np.uint8) for _ in range(5)])
    landmarks = LandmarkFaces(TemplateDetector(), mask=True, hull=True)
    source = dataclasses.replace(read_folder(tmp_path / "moods"), size=48)
    prepare_labelled(source, tmp_path / "set", landmarks=landmarks, num_train_triplets=8, progress=False)
    options = ("DATA.TRAIN_SPLIT", "all", "DATA.EVAL_SPLITS", "[all]", "DATA.REPORT_SPLITS", "[all]")
    run = train_on(tmp_path / "set", tmp_path, *options)
    packed_like_encoded(run, tmp_path / "set", [picture.picture for picture in source.pictures], faces="whole")


def test_a_recipe_survives_json():
    for recipe in (
        FaceRecipe(),
        FaceRecipe(fit="whole"),
        Extraction().recipe(Squares()),
        LandmarkFaces(Squares(), mask=True).recipe,
    ):
        assert FaceRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ValueError, match="faces: fit: made in a way"):
        FaceRecipe.from_dict({})


@needs_faces
@pytest.mark.parametrize("detector", ["mtcnn", "yunet"])
def test_real_photos_are_aligned_as_in_the_packed_set(tmp_path, detector):
    """Seen in another order and company than when the set was made, and by two threads at once."""
    detector_or_skip(detector)
    model = str(YUNET) if detector == "yunet" else ""
    images = sorted((DATA / "faces" / "images").glob("faceapi_*.jpg"))[:3]
    images += sorted((DATA / "faces" / "images").glob("helen_*.jpg"))[:4]
    files = {"train": write_list(tmp_path, [path.name for path in images])}
    how = Extraction(size=112, detector=detector, model=model)
    prepare_list(files, images[0].parent, tmp_path / "set", extraction=how, workers=1, progress=False)
    run = train_on(tmp_path / "set", tmp_path, "DATA.INPUT_SIZE", 96, "DATA.CROP", 0.9)
    encoder = packed_like_encoded(run, tmp_path / "set", images, detector_model=model)
    expected = encoder.embed(PackedDataset(tmp_path / "set").faces_NHWC)
    with ThreadPoolExecutor(2) as pool:
        alone = list(pool.map(lambda path: encoder.embed(path), reversed(images)))
    assert np.abs(np.concatenate(alone)[::-1] - expected).max() <= 1e-5
    if detector == "yunet":
        with pytest.raises(ValueError, match="detector yunet needs a model file"):
            fecnet.load(run).embed(images[0])


@pytest.mark.skipif(not (DATA / "odd_images").is_dir(), reason="shared/data/odd_images is absent")
def test_odd_files_have_a_status_each(aligned):
    encoder = fecnet.load(aligned[0])
    files = sorted(path for path in (DATA / "odd_images").iterdir() if path.suffix not in (".json", ".md"))
    vectors, status = encoder.embed(files, faces="whole", return_status=True)
    there = np.array([word == "ok" for word in status])
    assert 30 < there.sum() < len(files)
    assert np.isfinite(vectors[there]).all() and np.isnan(vectors[~there]).all()
    assert {"truncated", "damaged"} <= set(status)
    whole = status
    _, status = encoder.embed(files, return_status=True)
    assert set(status) - {"ok", "no_face"} == set(whole) - {"ok"}
