"""The table of our nets beside packages: right scores, copies left out, absent packages told; and how faces are fed."""

import json
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import record, shipped, shipped_ckplus, shipped_models
from benchmarks.opponents import (
    face_api,
    face_emotion_recognition,
    facial_emotion_recognition,
    human_models,
    package,
    resizing,
    tfjs,
    what_the_face,
)
from benchmarks.opponents.package import FER_CLASSES, Absent, Opponent
from fecnet.data.labels import LabelTable
from fecnet.prepare.writer import PackedWriter

FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
UNCLEAR = 5  # the row on which the votes are divided
LEVEL = 20  # of brightness between the classes that the fake says


def write_set(path, split, said, label_sets, triplets=(), subjects=None, copies=()):
    """Faces of which the fake says the class ``said``; label sets as name: (classes, {row: word})."""
    image = np.repeat(np.array(said, np.uint8) * LEVEL, 48 * 48).reshape(-1, 48, 48, 1)
    records = [
        {"key": f"{k:03d}", "source": f"x#{k}", "flags": "duplicate_in_train" * (k in copies)} for k in range(len(said))
    ]
    for record_of, subject in zip(records, subjects or (), strict=bool(subjects)):
        record_of["subject"] = subject
    with PackedWriter(path, num_faces=len(said), height=48, width=48, channels=["grey"]) as writer:
        writer.add_faces(image, records)
        for name, (classes, words) in label_sets.items():
            labels = np.array([classes.index(word) for word in words.values()])
            shares = np.eye(len(classes))[labels]
            shares[np.array(list(words)) == UNCLEAR] = 1 / len(classes)
            rows = np.array(list(words))
            writer.add_labels(name, split, classes=classes, faces_M=rows, label_M=labels, distribution_MK=shares)
        if triplets:
            faces_T3, odd_T, type_T = (np.array(part) for part in zip(*triplets, strict=True))
            votes_T3 = np.zeros((len(triplets), 3), np.uint8)
            writer.add_triplets(split, faces_T3=faces_T3, odd_T=odd_T, type_T=type_T, votes_T3=votes_T3)
        writer.set_sources({"pictures": "abc"})
        writer.set_coverage({})


def sure(faces_NHW):
    """The fake's probabilities: all for the class that the brightness says."""
    return np.eye(len(FER_CLASSES), dtype=np.float32)[faces_NHW[:, 0, 0] // LEVEL]


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A package that is here, one that is not, and no net of ours."""
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(250_000))
    there = SimpleNamespace(load=lambda folder: Opponent("fake 1.0", FER_CLASSES, "MIT", weights, "numpy", sure))
    monkeypatch.setitem(sys.modules, "benchmarks.opponents.fake", there)
    monkeypatch.setattr(shipped_models, "OPPONENTS", ("fake", "fer"))
    monkeypatch.setattr(shipped_models, "_SECONDS", 0)
    monkeypatch.setattr(package, "sys", SimpleNamespace(path=[]))
    monkeypatch.setattr(shipped, "ROOT", tmp_path)
    monkeypatch.setattr(shipped, "shipped_names", lambda: [])


@pytest.fixture
def ferplus(tmp_path):
    # the fake says: angry, disgust, fear, happy, sad, surprise, neutral, angry
    votes = {0: "anger", 1: "disgust", 2: "happiness", 3: "happiness", UNCLEAR: "neutral", 7: "contempt"}
    labels = {"ferplus": (FERPLUS, votes), "fer": (FER_CLASSES, {0: "angry", 1: "fear", 6: "neutral"})}
    # one of a type right, one a tie, one wrong; a second one of the last type is beyond the equal share
    triplets = [((0, 7, 1), 2, 1), ((1, 2, 3), 0, 2), ((0, 7, 3), 0, 0), ((3, 7, 0), 0, 0)]
    write_set(tmp_path / "datasets/ferplus", "private_test", [0, 1, 2, 3, 4, 5, 6, 0], labels, triplets, copies=(0,))
    return labels


def test_scores_by_hand_and_the_reason_of_an_absent_package(monkeypatch, fake, ferplus, capsys):
    monkeypatch.setattr(shipped, "NUM_TRIPLETS", 3)
    measured = shipped.run(quick=False, opponents="nowhere")
    row = measured["models"]["fake 1.0"]
    third = pytest.approx(100 / 3, abs=1e-3)
    assert (row["triplets"], row["triplets_by_classes"]) == (third, third) and measured["triplets"] == 3
    assert (row["ferplus"], row["ferplus_without_copies"]) == (60, 50)  # contempt is wrong, divided votes do not count
    assert (row["fer"], row["fer_without_copies"]) == (pytest.approx(200 / 3, abs=1e-3), 50)
    assert (row["megabytes"], row["licence"], row["runs_in"]) == (0.25, "MIT", "numpy") and row["faces_per_s"] > 0
    assert measured["faces"] == {"ferplus": 5, "fer": 3} and measured["copies"] == {"ferplus": 1, "fer": 1}
    assert measured["triplets_with_copies"] == 2
    reason = "not installed: pip install --no-deps --target nowhere fer"
    assert measured["not_measured"] == {"fer": reason}
    assert f"fer: not measured: {reason}" in capsys.readouterr().out


def test_our_net_has_an_embedding_and_a_head_of_its_own(monkeypatch, fake, ferplus, tmp_path):
    """Its embedding knows what its classes do not: every face is apart, and those of one brightness are close."""

    def encode(faces_NHWC):
        level_N = faces_NHWC[:, 0, 0, 0].astype(np.float32)
        fer_NK = np.eye(7, dtype=np.float32)[[0, 2, 0, 0, 6, 0]]  # of the faces 0, 1, 2, 3, 6, 7
        zeros_NK = np.zeros((len(level_N), 8), np.float32)
        return SimpleNamespace(outputs={"embedding": level_N[:, None], "logits": zeros_NK, "logits_fer": 9 * fer_NK})

    encoder = SimpleNamespace(label_sets={"ferplus": FERPLUS, "fer": FER_CLASSES}, encode=encode)
    monkeypatch.setattr(shipped_models, "load_encoder", lambda net, device: encoder)
    monkeypatch.setattr(shipped_models, "find_checkpoint", lambda net, which: tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    monkeypatch.setattr(shipped, "some_triplets", lambda table, num: table)
    row = shipped.run(quick=False, nets=["runs/mine"])["models"]["mine"]
    assert (row["triplets"], row["fer"]) == (50, pytest.approx(100))
    assert row["triplets_by_classes"] is None  # all probabilities are equal: collapsed


def test_only_the_private_split_is_recorded_and_a_quick_run_measures_nothing(monkeypatch, fake, tmp_path, capsys):
    assert shipped.run(quick=True) == {}
    with pytest.raises(SystemExit, match="datasets/ferplus is absent: fecnet prepare ferplus"):
        shipped.run(quick=False)
    labels = {"ferplus": (FERPLUS, {0: "anger"}), "fer": (FER_CLASSES, {0: "angry"})}
    write_set(tmp_path / "datasets/ferplus", "public_test", [0, 1, 1], labels, [((0, 1, 2), 0, 1)])
    threads = torch.get_num_threads()
    arguments = ["benchmarks", "shipped", "--split", "public_test", "--opponents", "nowhere"]
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    for quick in ([], ["--quick"]):
        monkeypatch.setattr(sys, "argv", [*arguments, *quick])
        command.main()
    assert "fake 1.0: 3 faces" in capsys.readouterr().out and not (tmp_path / "results").exists()
    assert torch.get_num_threads() == threads


def test_ckplus_by_hand(monkeypatch, fake, tmp_path):
    """Two frames of each person. Nearest to each are its own frames, and of other people those of the other class."""
    words = ("anger", "disgust", "fear", "happy", "sadness", "surprise", "contempt")
    said = [0, 0, 0, 0, 3, 3, 3, 3, 5, 5]
    own = dict(enumerate([*["anger"] * 2, *["disgust"] * 2] * 2 + ["contempt"] * 2))
    path = tmp_path / "datasets/ckplus"
    write_set(path, "all", said, {"ckplus": (words, own)}, subjects=[*"AABBCCDDEE"])
    monkeypatch.setattr(shipped_ckplus, "NUM_TRIPLETS", 20)
    monkeypatch.setattr(shipped_ckplus, "NEIGHBOURS", 1)
    models, _ = shipped_models.opponents_in(tmp_path)
    found = shipped_ckplus.measure_ckplus(models, path)
    assert (found["faces"], found["people"], found["faces_of_shared_classes"]) == (10, 5, 8)
    row = found["models"]["fake 1.0"]
    assert (row["classes"], row["k_nn"]) == (25, 0)  # the two faces of A are told, contempt is not asked for
    with pytest.raises(SystemExit, match="datasets/ckplus is absent"):
        shipped_ckplus.measure_ckplus(models, tmp_path / "none")


def test_triplets_of_labels_are_of_three_people():
    table, subject_N = LabelTable(("a", "b"), np.arange(12), np.repeat([0, 1], 6)), np.array([*"AABBCCAADDEE"])
    faces_T3, odd_T = shipped_ckplus.triplets_of_others(table, subject_N)
    assert len(odd_T) > 10
    assert all(len(set(people)) == 3 for people in subject_N[faces_T3])
    others = [np.delete(label, odd) for label, odd in zip(table.label_M[faces_T3], odd_T, strict=True)]
    assert all(one == two for one, two in others)


# the packages


def test_packages_of_pip_and_npm_are_found_where_they_are_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "sys", SimpleNamespace(path=[]))
    about = tmp_path / "fer-25.10.3.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: fer\nVersion: 25.10.3\nLicense: UNKNOWN\n")
    found = package.python_package(tmp_path, "fer")
    assert found == package.Package("fer 25.10.3", "not stated", tmp_path)
    about.write_text(about.read_text() + "Classifier: License :: OSI Approved :: MIT License\n")
    assert package.python_package(tmp_path, "fer").licence == "MIT License"
    with pytest.raises(Absent, match=r"fer 25.10.3 has no fer/data/x"):
        found.file("fer/data/x")
    with pytest.raises(Absent, match=r"not installed: npm install --ignore-scripts --prefix .* @a/b"):
        package.node_package(tmp_path, "@a/b")
    (tmp_path / "node_modules/@a/b").mkdir(parents=True)
    (tmp_path / "node_modules/@a/b/package.json").write_text('{"version": "1.2", "license": "MIT"}')
    assert package.node_package(tmp_path, "@a/b").title == "@a/b 1.2"
    with pytest.raises(Absent, match="No module named 'no_such_module'; pip install such"):
        package.library("no_such_module", "such")


def test_every_opponent_that_is_not_installed_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "sys", SimpleNamespace(path=[]))
    models, absent = shipped_models.opponents_in(tmp_path)
    assert not models and len(absent) == len(shipped_models.OPPONENTS)
    assert all(reason.startswith("not installed: ") for reason in absent.values())


def test_bilinear_without_pixel_centres_by_hand():
    face_NHW = np.array([[[0, 10], [20, 30]]], np.uint8)
    expected = [[0, 5, 10, 10], [10, 15, 20, 20], [20, 25, 30, 30], [20, 25, 30, 30]]
    found = resizing.legacy_bilinear(face_NHW, 4)
    assert found.dtype == np.float32 and found[0].tolist() == expected


@pytest.mark.parametrize(
    ("module", "name", "file", "wrap"),
    [
        (
            facial_emotion_recognition,
            "facial-emotion-recognition",
            "facial_emotion_recognition/model/model.pkl",
            lambda net: {"network": net.state_dict(), "accuracy": 0.5},
        ),
        (
            what_the_face,
            "what-the-face-classification",
            "what_the_face_classification/active_model.pth",
            lambda net: net.state_dict(),
        ),
    ],
)
def test_a_net_of_torch_reads_its_weights(tmp_path, module, name, file, wrap):
    about = tmp_path / f"{name.replace('-', '_')}-1.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (tmp_path / file).parent.mkdir(parents=True)
    net = module.Net().eval()
    torch.save(wrap(net), tmp_path / file)
    opponent = module.load(tmp_path)
    faces_NHW = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    image = torch.from_numpy(faces_NHW)[:, None] / 255
    image = image * 2 - 1 if module is facial_emotion_recognition else image
    expected = net(image).softmax(1).detach().numpy()
    np.testing.assert_allclose(opponent.probability(faces_NHW), expected, atol=1e-6)


def test_weights_of_a_yolo_from_the_state_of_its_modules():
    inner = SimpleNamespace(held=[(), {"_parameters": {"weight": torch.ones(2), "bias": None}, "_modules": {}}])
    state = {"_modules": {"model": SimpleNamespace(held=[(), {"_modules": {"0": inner}}])}, "_buffers": {}}
    assert [name for name, _ in face_emotion_recognition._tensors(state)] == ["model.0.weight"]


def write_graph(folder, nodes, weights, **more):
    """A model of TensorFlow.js; weights as name: array."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [{"name": name, "shape": list(value.shape), "dtype": "float32"} for name, value in weights.items()]
    (folder / "emotion.bin").write_bytes(b"".join(value.astype("<f4").tobytes() for value in weights.values()))
    graph = {"modelTopology": {"node": nodes}, "weightsManifest": [{"paths": ["emotion.bin"], "weights": listed}]}
    (folder / "emotion.json").write_text(json.dumps(graph | more))
    return folder / "emotion.json"


def listed(*numbers):
    return {"list": {"i": list(map(str, numbers))}}


SAME, RELU = {"s": "U0FNRQ=="}, {"list": {"s": ["Qmlhc0FkZA==", "UmVsdQ=="]}}  # BiasAdd, Relu


def test_a_graph_of_tensorflow_js_by_hand(tmp_path):
    """A convolution that picks the pixel in its corner, halved in size, then the largest, then two classes."""
    corner = np.zeros((2, 2, 1, 2))
    corner[0, 0, 0] = 1, -1
    nodes = [
        {"name": "in", "op": "Placeholder"},
        {
            "name": "conv",
            "op": "_FusedConv2D",
            "input": ["in", "filters", "bias"],
            "attr": {"padding": SAME, "strides": listed(1, 2, 2, 1), "fused_ops": RELU},
        },
        {
            "name": "pool",
            "op": "MaxPool",
            "input": ["conv"],
            "attr": {"padding": SAME, "ksize": listed(1, 3, 3, 1), "strides": listed(1, 2, 2, 1)},
        },
        {"name": "mean", "op": "Mean", "input": ["pool"], "attr": {}},
        {"name": "out", "op": "Identity", "input": ["mean"], "attr": {}},
    ]
    file = write_graph(tmp_path, nodes, {"filters": corner, "bias": np.array([0.5, 0.25])})
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    assert tfjs.graph_model(file)(image).tolist() == [[10.5, 0.25]]  # pixels 0, 2, 8, 10
    nodes[-1]["op"] = "FFT"
    with pytest.raises(Absent, match=r"emotion.json: operations FFT are not known here"):
        tfjs.graph_model(write_graph(tmp_path, nodes, {}))


def test_quantized_weights_and_the_padding_of_tensorflow(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes([0, 4, 255]) + np.array([7], "<f4").tobytes())
    packed = {
        "name": "a",
        "shape": [3],
        "dtype": "float32",
        "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1},
    }
    manifest = [{"paths": ["w.bin"], "weights": [packed, {"name": "b", "shape": [1], "dtype": "float32"}]}]
    found = tfjs.read_weights(tmp_path, manifest)
    assert found["a"].tolist() == [-1, 1, 126.5] and found["b"].tolist() == [7]
    padded = tfjs.same_padding(torch.ones(1, 1, 4, 5), 3, 2)
    assert padded.shape == (1, 1, 5, 7) and padded[0, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 0]


def test_human_models_is_fed_grey_in_minus_one_to_one():
    faces_NHW = np.stack([np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)])
    found = human_models.prepared(faces_NHW)
    assert found.shape == (2, 64, 64, 1) and found[0, 0, 0] == -1 and found[1, 0, 0] == pytest.approx(0.9998)


def test_face_api_adds_up_its_blocks():
    """Filters of zero leave the biases: rectified first, then sums of the others, rectified."""
    weights = {"fc/weights": torch.eye(256, 7), "fc/bias": torch.zeros(7)}
    widths = (3, 32, 64, 128, 256)
    for block, (width, wider) in enumerate(pairwise(widths)):
        for layer, bias in enumerate((-5.0, 2.0, -1.0, 0.5)):
            name, given = f"dense{block}/conv{layer}", wider if layer else width
            weights[f"{name}/bias"] = torch.full((wider,), bias)
            weights[f"{name}/depthwise_filter"] = torch.zeros(3, 3, given, 1)
            weights[f"{name}/pointwise_filter"] = torch.zeros(1, 1, given, wider)
    weights["dense0/conv0/filters"] = torch.zeros(3, 3, 3, 32)
    assert face_api.forward(weights, torch.rand(1, 3, 112, 112)).tolist() == [[1.5] * 7]
