"""The encoder: what it says of a picture is what the net says of the same face in the packed set."""

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.config.node import load_config
from fecnet.data.augment import center_view
from fecnet.data.packed import PackedDataset
from fecnet.encoder.pictures import STATUS
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.predict import predict
from fecnet.runs.training import train_run
from fecnet.utils.errors import UserError
from tests.classes import CLASSES, write_recipe
from tests.conftest import write_tiny
from tests.nets import train_on

ODD = {
    "gone.png": "missing_file",
    "folder": "cannot_open",
    "a\0b.png": "cannot_open",  # as a list of photos may hold it
    "text.jpg": "not_an_image",
    "half.png": "truncated",
    "1x1.png": "ok",
    "moving.gif": "ok",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("encoder")


@pytest.fixture(scope="module")
def dataset(place):
    return PackedDataset(write_tiny(place / "tiny"))


@pytest.fixture(scope="module")
def run(dataset, place):
    return train_on(dataset.path, place, "DATA.CROP", 0.9, "DATA.INPUT_SIZE", 40)


@pytest.fixture(scope="module")
def encoder(run):
    return fecnet.load(run, batch_size=7)


@pytest.fixture(scope="module")
def expected(dataset, encoder):
    """What evaluation says of the packed faces."""
    view = partial(center_view, input_size=40, crop=0.9)
    rows = np.arange(len(dataset.faces_NHWC))
    found = predict(
        encoder.net.model, dataset.faces_NHWC, rows, views=[view], batch_size=16, device=torch.device("cpu")
    )
    emb_ND = found["embedding"].numpy()
    assert np.abs(emb_ND[1:] - emb_ND[:-1]).max(axis=1).min() > 1e-3  # else nothing would be shown below
    return emb_ND


@pytest.fixture(scope="module")
def pictures(dataset, place):
    """The faces as files."""
    paths = []
    for row, face_HW1 in enumerate(dataset.faces_NHWC[:9]):
        paths.append(place / f"{row}.png")
        Image.fromarray(face_HW1[..., 0]).save(paths[-1])
    return paths


def close(found, expected):
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5


def test_a_net_measured_on_several_views_is_used_on_them(dataset, tmp_path, expected):
    encoder = fecnet.load(train_on(dataset.path, tmp_path, "DATA.CROP", 0.9, "DATA.INPUT_SIZE", 40, "EVAL.TTA", "flip"))
    faces = np.array(dataset.faces_NHWC[:9])
    found = encoder.embed(faces)
    assert np.abs(found - expected[:9]).max() > 1e-4
    close(encoder.embed(faces[:, :, ::-1]), found)


def test_any_kind_of_picture_gives_the_vector_of_the_packed_face(dataset, encoder, pictures, expected):
    faces = np.array(dataset.faces_NHWC[:9])
    tensor = torch.from_numpy(faces).permute(0, 3, 1, 2)
    close(encoder.embed(dataset.faces_NHWC), expected)
    ways = {
        "paths": pictures,
        "text": [str(path) for path in pictures],
        "arrays": list(faces),
        "iterator": iter(faces),
        "grey": list(faces[..., 0]),
        "colour": np.repeat(faces, 3, axis=3),
        "opaque": np.concatenate([np.repeat(faces, 3, axis=3), np.full_like(faces, 255)], axis=3),
        "tensor": tensor,
        "tensors": list(tensor),
        "grey tensors": [picture[0] for picture in tensor],
        "float": tensor / 255,
        "half": (tensor / 255).half(),
        "batches": [faces[:4], tensor[4:8], pictures[8]],
    }
    for way, items in ways.items():
        found = encoder.embed(items, faces="whole")
        assert np.abs(found - expected[:9]).max() <= 1e-5, way
    close(encoder.embed(pictures[3], faces="whole"), expected[3:4])
    close(encoder.embed(faces[3]), expected[3:4])


def test_transparency_is_laid_on_white_as_in_files(encoder, place):
    rgba = np.random.default_rng(0).integers(0, 256, (48, 48, 4), np.uint8)
    Image.fromarray(rgba).save(place / "clear.png")
    vectors = encoder.embed([rgba, place / "clear.png", rgba[..., :3]], faces="whole")
    close(vectors[:1], vectors[1:2])
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-4


@pytest.mark.parametrize("name", ["cuda", "cuda:3", "mps"])
def test_a_device_that_is_not_there_is_refused_by_every_command_that_takes_one(
    run, name, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = f"'{name}' cannot be used: torch finds no CUDA GPU; allowed here: "
    for options in ({"device": name}, {"detector_device": name}):
        with pytest.raises(UserError, match=re.escape(said)):
            fecnet.load(run, **options)
    Image.new("L", (48, 48)).save(tmp_path / "face.png")
    face, output = str(tmp_path / "face.png"), str(tmp_path / "out")
    for command in (
        ["embed", str(run), face, "--output", output],
        ["watch", str(run), face, "--output", output],
        ["search", "build", str(run), face, "--output", output],
        ["search", "query", output, "--net", str(run), face],
        ["search", "measure", output],
    ):
        assert main([*command, "--device", name]) == 2
        assert capsys.readouterr().err.strip() == f"error: DEVICE: {said}auto, cpu"
    for command in (["embed", str(run), face, "--output", output], ["detect", face]):
        assert main([*command, "--detector-device", name]) == 2
        assert capsys.readouterr().err.strip() == f"error: detector device: {said}cpu"
    for command in (["train", "demo"], ["evaluate", str(run)]):
        assert main([*command, "DEVICE", name]) == 2
        assert capsys.readouterr().err.strip() == f"error: DEVICE: {said}auto, cpu"


def test_stored_faces_that_are_mapped_read_only_give_no_warning(dataset, encoder, expected, recwarn):
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else once a process
    try:
        vectors = encoder.embed(dataset.faces_NHWC[:])
    finally:
        torch.set_warn_always(before)
    assert np.array_equal(vectors, expected) and not list(recwarn)


def test_features_and_all_outputs(encoder, pictures, expected):
    features = encoder.features(pictures, faces="whole")
    assert features.shape == (9, 16) and features.dtype == np.float32
    everything = encoder.encode(pictures, faces="whole")
    assert everything.status == ["ok"] * 9
    assert np.array_equal(everything.outputs["feature"], features)
    close(everything.outputs["embedding"], expected[:9])


def test_no_picture_changes_the_vector_of_another(encoder, dataset, pictures):
    """Not even in the last bits, whichever way it is asked: alone, with others, among pictures without a face."""
    faces = np.array(dataset.faces_NHWC[:20])
    together = encoder.embed(faces)
    for num in (1, 2, 3, 7, 17):
        assert np.array_equal(encoder.embed(faces[:num]), together[:num]), num
    assert np.array_equal(encoder.embed(["gone.png", pictures[3]], faces="whole")[1], together[3])
    assert np.array_equal(encoder.features(faces[4:5]), encoder.features(faces)[4:5])
    assert np.array_equal(encoder.encode(faces[5:6]).outputs["embedding"][0], together[5])
    assert np.array_equal(next(encoder.stream(faces[6:7])).outputs["embedding"][0], together[6])
    assert encoder.distance(faces[0], faces[1]) == float(np.square(together[0] - together[1]).sum())
    soon = encoder.encode(faces[:1], steady=False).outputs["embedding"]
    assert np.abs(soon - together[:1]).max() <= 1e-5


def test_nothing_in_nothing_out(encoder):
    assert encoder.embed([]).shape == (0, 16)
    assert encoder.embed(np.empty((0, 48, 48, 1), np.uint8)).shape == (0, 16)
    assert encoder.embed([], return_status=True)[1] == []


@pytest.fixture
def odd(place):
    (place / "folder").mkdir(exist_ok=True)
    (place / "text.jpg").write_text("<html>gone</html>")
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(place / "whole.png")
    (place / "half.png").write_bytes((place / "whole.png").read_bytes()[:3000])
    Image.fromarray(noise[:1, :1]).save(place / "1x1.png")
    frames = [Image.fromarray(noise), Image.fromarray(255 - noise)]
    frames[0].save(place / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(place / "still.gif")
    return [place / name for name in ODD]


def test_bad_pictures_have_a_status_and_no_vector(encoder, odd, pictures, expected):
    vectors, status = encoder.embed([*odd, pictures[0]], faces="whole", return_status=True)
    assert status == [*ODD.values(), "ok"] and set(status) <= set(STATUS)
    there = np.array([word == "ok" for word in status])
    assert np.isfinite(vectors[there]).all() and np.isnan(vectors[~there]).all()
    close(vectors[-1:], expected[:1])
    assert np.isnan(encoder.embed(odd[:2], faces="whole")).all()  # a batch without any face
    close(vectors[6:7], encoder.embed(odd[6].with_name("still.gif"), faces="whole"))  # of several frames the first


def test_distance_and_odd_one_out_by_hand(encoder, pictures, expected, odd):
    a, b, c = pictures[:3]
    odd_one_out, distance_of = (partial(call, faces="whole") for call in (encoder.odd_one_out, encoder.distance))
    distance = {(i, j): ((expected[i] - expected[j]) ** 2).sum() for i, j in itertools.combinations(range(3), 2)}
    assert distance_of(a, c) == pytest.approx(distance[0, 2], abs=1e-5)
    closest = min(distance, key=distance.get)
    assert odd_one_out(a, b, c) == ({0, 1, 2} - set(closest)).pop()
    assert odd_one_out(a, b, b) == 0 and odd_one_out(b, a, b) == 1 and odd_one_out(b, b, a) == 2
    assert odd_one_out(a, a, a) is None  # nobody is
    assert odd_one_out(a, odd[0], b) is None and np.isnan(distance_of(odd[0], a))
    power = np.exp(-4.0 * np.array([distance[1, 2], distance[0, 2], distance[0, 1]]))  # the default scale
    np.testing.assert_allclose(odd_one_out(a, b, c, probability=True), 0.95 * power / power.sum() + 0.05 / 3, rtol=1e-4)
    np.testing.assert_allclose(odd_one_out(a, a, a, probability=True), [1 / 3] * 3, rtol=1e-12)
    assert np.isnan(odd_one_out(a, odd[0], b, probability=True)).all()
    with pytest.raises(ValueError, match="3 pictures; expected 2, one in each argument"):
        distance_of(pictures[:2], c)
    with pytest.raises(ValueError, match=r"faces: 'all'; allowed here: auto, largest, whole"):
        encoder.distance(a, b, faces="all")


def test_a_stream_is_read_a_batch_at_a_time(encoder, dataset, expected):
    taken = 0

    def endless():
        nonlocal taken
        for face in itertools.cycle(dataset.faces_NHWC):
            taken += 1
            yield face

    stream = encoder.stream(endless())
    for number in range(1, 5):
        part = next(stream)
        close(part.outputs["embedding"], expected[7 * (number - 1) : 7 * number])
        assert taken <= 7 * number + 8
    stream.close()


@pytest.mark.parametrize("shape", [(48, 48, 1), (48, 48), (48, 48, 3), (48, 48, 4), (3, 48, 48)])
def test_a_buffer_may_be_used_again(encoder, dataset, expected, shape):
    """As readers of cameras do: they write each picture over the one before."""
    tensor = shape[0] == 3
    buffer = torch.zeros(shape, dtype=torch.uint8) if tensor else np.zeros(shape, np.uint8)

    def read():
        for face_HW1 in dataset.faces_NHWC[:9]:
            if tensor:
                buffer[:] = torch.from_numpy(np.moveaxis(np.repeat(face_HW1, 3, axis=2), 2, 0).copy())
            elif len(shape) == 2:
                buffer[:] = face_HW1[..., 0]
            else:
                buffer[..., 3:] = 255
                buffer[..., :3] = face_HW1
            yield buffer

    close(encoder.embed(read(), faces="whole"), expected[:9])


def test_threads_do_not_disturb_one_another(encoder, dataset, expected):
    shares = [slice(first, first + 15) for first in range(0, 60, 15)] * 3
    with ThreadPoolExecutor(4) as pool:
        for share, found in zip(shares, pool.map(lambda s: encoder.embed(dataset.faces_NHWC[s]), shares), strict=True):
            close(found, expected[share])


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (np.zeros((48, 48, 1)), r"picture: array of float64 \(48, 48, 1\); allowed: uint8"),
        (np.zeros((48, 48, 5), np.uint8), r"picture: shape \(48, 48, 5\); allowed: .* C of 1, 3 or 4"),
        (np.zeros((48, 48, 2), np.uint8), r"picture: shape \(48, 48, 2\); allowed: .* C of 1, 3 or 4"),
        (np.zeros((0, 48, 3), np.uint8), r"picture: shape \(0, 48, 3\)"),
        (np.zeros(9, np.uint8), r"picture: shape"),
        (torch.zeros(48, 48, 3, dtype=torch.uint8), r"picture: shape \(48, 48, 3\); allowed: .*tensors \(C, H, W\)"),
        (torch.full((1, 48, 48), 1.5), r"picture: float tensor with values 1\.5 to 1\.5; allowed: 0 to 1"),
        (torch.full((1, 48, 48), float("nan")), r"values nan to nan; allowed: 0 to 1"),
        ([None], r"picture: NoneType; allowed: a path, an open file, bytes, a numpy array, a torch tensor, or several"),
    ],
)
def test_what_is_no_picture_is_one_line(encoder, items, said):
    with pytest.raises(ValueError, match=said) as caught:
        encoder.embed(items, faces="whole")
    assert "\n" not in str(caught.value)


def test_what_the_net_lacks_is_told(encoder, run, pictures):
    with pytest.raises(ValueError, match=r"the net has no 'logits'; it has: embedding, feature"):
        encoder.classify(pictures)
    with pytest.raises(ValueError, match=r"checkpoint: unknown name 'first'; allowed: best, last"):
        fecnet.load(run, checkpoint="first")
    with pytest.raises(ValueError, match=r"batch_size: -1; allowed: 1 or more"):
        fecnet.load(run, batch_size=-1)


def test_an_unknown_format_version_is_refused(run, tmp_path):
    checkpoint = find_checkpoint(run, "last")
    meta = json.loads((checkpoint / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(ValueError, match=r"meta\.json: made by a newer fecnet: format 99, "):
        fecnet.load(tmp_path)
    with pytest.raises(ValueError, match="no checkpoint here"):
        fecnet.load(tmp_path / "nothing")


def load_kind(folder, kind):
    """An encoder of a net of this kind, trained for two iterations, and the faces it was trained on."""
    recipe = write_recipe(folder, kind)
    assert train_run(load_config(recipe, ["SOLVER.LENGTH", "2"]), recipe=kind) == 0
    return fecnet.load(folder / "result" / kind), PackedDataset(folder / "moods").faces_NHWC


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("joint", {"embedding": (16,), "logits": (3,)}),
        ("ran", {"logits": (3,), "importance": (), "region_importance": (6,)}),
        ("affect", {"logits": (3,), "valence_arousal": (2,)}),
    ],
)
def test_all_outputs_of_any_net(tmp_path, kind, shapes):
    encoder, faces = load_kind(tmp_path, kind)
    outputs, status = encoder.encode([faces[0], "gone.png", faces[1]], faces="whole")[:2]
    assert status == ["ok", "missing_file", "ok"]
    for name, shape in shapes.items():
        assert outputs[name].shape == (3, *shape)
        assert np.isnan(outputs[name][1]).all() and np.isfinite(outputs[name][[0, 2]]).all()


def test_classes(tmp_path):
    encoder, faces = load_kind(tmp_path, "classifier")
    found = encoder.classify([*faces[:5], tmp_path / "gone.png"])
    assert encoder.classes == CLASSES
    assert found.status == ["ok"] * 5 + ["missing_file"]
    assert found.names == [CLASSES[row.argmax()] for row in found.probability_NK[:5]] + [None]
    logits = torch.from_numpy(encoder.encode(faces[:5]).outputs["logits"])
    assert np.allclose(found.probability_NK[:5], torch.softmax(logits, 1), atol=1e-6)
    assert np.isnan(found.probability_NK[5]).all()
    with pytest.raises(ValueError, match="the net has no 'embedding'; it has: feature, logits"):
        encoder.embed(faces[:1])
