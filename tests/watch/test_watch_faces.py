"""The faces of a frame: all of them, each with what the encoder itself says of it, and drawn where they are."""

import itertools

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.config.node import load_config
from fecnet.faces.align import align_face
from fecnet.faces.decode import decode_image
from fecnet.faces.square_faces import load_square
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.fec import prepare_list
from fecnet.runs.training import train_run
from fecnet.watch.drawing import describe, draw_faces
from fecnet.watch.faces import FacePrediction, FaceWatcher
from tests.classes import CLASSES, write_recipe
from tests.faces.test_detect import DATA, detector_or_skip, needs_faces
from tests.faces.test_extract import Squares, extract_face, photo
from tests.nets import noisy, train_on, write_list


def load_kind(folder, kind):
    """An encoder of a net of this kind, trained for two iterations on grey faces that nobody aligned."""
    assert train_run(load_config(write_recipe(folder, kind), ["SOLVER.LENGTH", "2"]), recipe=kind) == 0
    return fecnet.load(folder / "result" / kind)


def ten_faces():
    return noisy(photo(*[(30 * k, 11 * k) for k in range(10)], sides=[22 + k // 2 for k in range(10)]), 9)


def test_each_face_has_the_vector_of_its_box(aligned):
    encoder = fecnet.load(aligned[0])
    for image_HWC, num in ((aligned[3][0], 2), (ten_faces(), 10), (photo(), 0), (np.zeros((1, 1, 3), np.uint8), 0)):
        faces = FaceWatcher(encoder).process(image_HWC)
        assert len(faces) == num
        for place, face in enumerate(faces):
            assert face.status == "ok" and face.expression is None
            cut = extract_face(image_HWC, Squares(), size=48, box=face.box_4, margin=0.3).image_HWC
            near = encoder.embed([cut, align_face(image_HWC, Squares().detect(image_HWC).landmarks_K52[place], 48)])
            assert np.abs(face.embedding_D - near[1]).max() <= 1e-5  # as prepare makes its faces
            assert np.abs(face.embedding_D - near[0]).max() <= 0.2  # and of boxes, which another crop is made of
        expected = encoder.encode(image_HWC, faces="all")
        assert (
            not faces or np.abs(np.stack([f.embedding_D for f in faces]) - expected.outputs["embedding"]).max() <= 1e-5
        )
        vectors = [face.embedding_D for face in faces]
        assert all(np.abs(a - b).max() > 1e-4 for a, b in itertools.pairwise(vectors))


def test_distances_to_the_reference_and_to_the_frame_before(aligned, tmp_path):
    run, _, pictures, images = aligned
    encoder = fecnet.load(run)
    watcher = FaceWatcher(encoder, reference=pictures[0])
    first, then = watcher.process(images[0]), watcher.process(np.roll(images[0], 3, axis=1))
    largest = next(face for face in first if face.box_4[0] == 100)
    assert largest.to_reference == pytest.approx(0, abs=1e-6)
    assert all(face.change is None for face in first)
    for face in then:
        before = next(other for other in first if abs(other.box_4[0] - face.box_4[0]) < 9)
        wanted = np.square(face.embedding_D - before.embedding_D).sum()
        assert face.change == pytest.approx(float(wanted), abs=1e-6)
        wanted = np.square(face.embedding_D - largest.embedding_D).sum()
        assert face.to_reference == pytest.approx(float(wanted), abs=1e-6)
    assert watcher.process(photo()) == []
    assert [face.change for face in watcher.process(images[0])] == [None, None]  # nobody was there
    Image.fromarray(photo()).save(tmp_path / "empty.png")
    with pytest.raises(ValueError, match=r"empty\.png: no face in it that could be compared"):
        FaceWatcher(encoder, reference=tmp_path / "empty.png")


def test_which_faces_are_watched(tmp_path, monkeypatch):
    """All by default, in squares of the detector's box for a net that does not know more, which is told once."""
    monkeypatch.setattr("fecnet.encoder.face_maker.build_detector", lambda *_, **__: Squares())
    warned = []
    monkeypatch.setattr("fecnet.encoder.face_maker.logger.warning", warned.append)
    encoder = load_kind(tmp_path, "classifier")
    image_HWC = noisy(photo((40, 30), (150, 100), sides=[50, 70]), 3)
    faces = FaceWatcher(encoder).process(image_HWC)
    assert len(faces) == 2
    for face in faces:
        found = encoder.classify(load_square(image_HWC, tuple(face.box_4.tolist()), 48, grey=True), faces="whole")
        assert face.expression == found.names[0] in CLASSES
        assert face.probability == pytest.approx(found.probability_NK.max(), abs=0.02)
    (said,) = warned
    assert said.startswith(f"{encoder.name}: its data set does not say how much its pictures show around a face")
    (largest,) = FaceWatcher(encoder, faces="largest").process(image_HWC)
    assert largest.box_4.tolist() == [150, 100, 220, 170]
    (whole,) = FaceWatcher(encoder, faces="whole").process(image_HWC)
    assert whole.box_4.tolist() == [0, 0, 300, 200]
    known = encoder.classify(image_HWC, faces="whole").probability_NK.max()
    assert whole.probability == pytest.approx(known, abs=1e-6)
    with pytest.raises(ValueError, match="the net has no 'embedding'"):
        FaceWatcher(encoder, reference=tmp_path / "any.png")


def test_a_missing_detector_is_told_before_the_first_face(tmp_path, monkeypatch):
    encoder = load_kind(tmp_path, "affect")
    with pytest.raises(ValueError, match="gone"):
        FaceWatcher(fecnet.load(tmp_path / "result" / "affect", detector_model=tmp_path / "gone.onnx"))
    (face,) = FaceWatcher(encoder, faces="whole").process(photo((10, 10)))
    assert describe(face)[1].startswith("valence ")


def seen(box, status="ok", **said):
    return FacePrediction(np.array(box, np.float32), status, **said)


def test_faces_are_drawn_where_they_are():
    image_HWC = np.full((200, 300, 3), 90, np.uint8)
    drawn = draw_faces(image_HWC, [seen((100, 80, 160, 140), expression="glad", probability=0.934)], "3.1 frames/s")
    assert (image_HWC == 90).all() and drawn.shape == image_HWC.shape and drawn.dtype == np.uint8
    lime = (drawn == (0, 255, 0)).all(axis=2)
    assert lime[80, 100:160].all() and lime[80:140, 100].all() and lime[140, 100:160].all() and lime[80:140, 160].all()
    assert (drawn[60:80, 100:160, 1] > 150).any() and not lime[145:].any()  # the text is above the box
    changed = (drawn != 90).any(axis=2)
    assert changed[190:, :60].any() and not changed[:, 250:].any()
    assert (drawn[180:, :90] > 200).all(axis=2).any()  # the corner's text is white
    unanswered = draw_faces(image_HWC, [seen((100, 80, 160, 140), "no_face")])
    assert not (unanswered == (0, 255, 0)).all(axis=2).any() and (unanswered != 90).any()


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (60, 3), (40, 40)])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (-30.5, -20, 90, 70), (30, 30, 200, 200)])
def test_any_box_is_drawn_in_any_frame(shape, box):
    face = seen(box, expression="a class with a long name, ünïcödé 😀 and\nlines", probability=1.0, change=0.5)
    assert draw_faces(np.zeros((*shape, 3), np.uint8), [face], "99.9 frames/s").shape == (*shape, 3)


def test_what_is_said_of_a_face():
    assert describe(seen((0, 0, 9, 9), "no_face")) == ["no_face"]
    assert describe(seen((0, 0, 9, 9))) == []
    face = seen((0, 0, 9, 9), expression="glad", probability=0.934, affect=(0.5, -0.25), to_reference=0.416, change=0.0)
    assert describe(face) == ["glad 93 %", "valence +0.50 arousal -0.25", "to reference 0.42", "change 0.00"]


@needs_faces
def test_real_faces_have_the_vectors_of_their_boxes(tmp_path):
    detector = detector_or_skip("mtcnn")
    images = sorted((DATA / "faces" / "images").glob("faceapi_*.jpg"))[:4]
    files = {"train": write_list(tmp_path, [path.name for path in images])}
    prepare_list(files, images[0].parent, tmp_path / "set", extraction=Extraction(size=112), workers=1, progress=False)
    encoder = fecnet.load(train_on(tmp_path / "set", tmp_path, "DATA.INPUT_SIZE", 96, "DATA.CROP", 0.9))
    watcher = FaceWatcher(encoder, reference=images[0])
    image_HWC = decode_image(DATA / "faces" / "images" / "fnp_multiface.jpg")
    faces = watcher.process(image_HWC)
    assert len(faces) == 6 and all(face.to_reference > 0 for face in faces)
    cut = [align_face(image_HWC, points_52, 112) for points_52 in detector.detect(image_HWC).landmarks_K52]
    embedding_KD = encoder.embed(cut)
    assert np.abs(np.stack([face.embedding_D for face in faces]) - embedding_KD).max() <= 1e-5
    assert watcher.process(np.zeros((1, 1, 3), np.uint8)) == []
    assert watcher.process(np.full((200, 200, 3), 128, np.uint8)) == []
