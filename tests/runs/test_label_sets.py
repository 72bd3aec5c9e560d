"""Two label sets on one backbone: trained, evaluated, reported and used side by side."""

import json

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.data.build import build_labels
from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import load_encoder
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.export.export import export_run
from fecnet.modeling.criterion.build import build_criterion
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from fecnet.structures import Batch
from tests.classes import CLASSES, TONES, labels_of, write_labelled, write_recipe

TWO = ("DATA.EXTRA_LABELS", "[tone]")


def settings(recipe, *overrides):
    return load_config(recipe, [*TWO, *(str(item) for item in overrides)])


def train(recipe, *overrides):
    return train_run(settings(recipe, *overrides), recipe=recipe.stem)


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    """A joint net of both label sets, and its recipe."""
    folder = tmp_path_factory.mktemp("two")
    recipe = write_recipe(folder, "joint")
    options = ("SOLVER.LENGTH", 40, "SOLVER.BASE_LR", 0.01, "MODEL.DROPOUT", 0.0, "SOLVER.LABELLED_BATCH_SIZE", 16)
    assert train(recipe, *options, "EVAL.PERIOD", 20, "EVAL.BEST_METRIC", "accuracy_tone") == 0
    return folder / "result" / "joint"


def test_one_net_learns_both_and_each_has_its_tables(joint, capsys):
    info = load_info(find_checkpoint(joint, "best"))
    assert info.label_sets == {"mood": list(CLASSES), "tone": list(TONES)}
    assert info.selection.figure == "accuracy_tone"
    of_val = info.accuracy.splits["val"]
    assert of_val["classes_tone"]["accuracy"] == info.selection.percent and of_val["classes"] == list(CLASSES)
    logged = [json.loads(line) for line in (joint / "metrics.jsonl").read_text().splitlines()]
    assert {"triplet", "cross_entropy", "cross_entropy_tone"} <= logged[0].keys()
    assert any("val/accuracy_tone" in line and "val/accuracy" in line and "val/ALL" in line for line in logged)
    results = infer_run(str(joint))
    printed = capsys.readouterr().out
    assert "classes, %" in printed and "classes of label set 'tone', %" in printed
    written = json.loads((joint / "evaluation" / "tone" / "classes.json").read_text())
    assert written == json.loads(json.dumps(results["tone/classes"]))
    assert written["classes"] == list(TONES) and written["splits"]["test"]["total"] == [2, 4]
    assert written["splits"]["test"]["accuracy"] > 80  # brightness tells it: chance is 67
    assert json.loads((joint / "evaluation" / "classes.json").read_text())["classes"] == list(CLASSES)


def test_an_encoder_classifies_by_either_set(joint):
    encoder = load_encoder(joint)
    faces = np.array(PackedDataset(joint.parents[1] / "moods").faces_NHWC[40:52])
    assert encoder.classes == CLASSES and encoder.label_sets == {"mood": CLASSES, "tone": TONES}
    mood, tone = (encoder.classify(faces, label_set=name) for name in encoder.label_sets)
    assert np.array_equal(mood.probability_NK, encoder.classify(faces).probability_NK)
    assert tone.probability_NK.shape == (12, 2) and set(tone.names) <= set(TONES) and set(mood.names) <= set(CLASSES)
    logits = encoder.encode(faces).outputs["logits_tone"]
    np.testing.assert_allclose(tone.probability_NK, torch.tensor(logits).softmax(1), rtol=1e-6)
    with pytest.raises(ValueError, match="label_set: unknown name 'tones'; allowed: mood, tone"):
        encoder.classify(faces, label_set="tones")


def test_an_exported_file_gives_both(joint, tmp_path):
    export_run(str(joint), "onnx", output=str(tmp_path / "net.onnx"), progress=False)
    encoder = load_encoder(tmp_path / "net.onnx")
    faces = np.array(PackedDataset(joint.parents[1] / "moods").faces_NHWC[40:52])
    np.testing.assert_allclose(
        encoder.classify(faces, label_set="tone").probability_NK,
        load_encoder(joint).classify(faces, label_set="tone").probability_NK,
        atol=1e-5,
    )


def test_faces_of_either_set_are_sampled_and_targets_are_those_of_the_files(tmp_path):
    recipe = write_recipe(tmp_path, "votes")
    dataset = PackedDataset(tmp_path / "moods")
    labels = build_labels(settings(recipe), dataset, ("distribution",))
    rows = np.arange(40)
    tone = np.where(rows % 2 == 0, rows % 3 > 0, -1)
    known = (labels_of(rows) >= 0) | (tone >= 0)
    assert sorted(labels.rows_M) == rows[known].tolist()
    targets = labels.targets(torch.arange(64))
    assert targets["label"][:40].tolist() == labels_of(rows).tolist()
    assert targets["label_tone"].tolist() == [*tone, *[-1] * 24]
    assert targets["distribution"].isnan().any(1)[:40].tolist() == (labels_of(rows) < 0).tolist()
    assert labels.extra_counts["tone"].tolist() == [(tone == 0).sum(), (tone == 1).sum()]


def test_the_loss_is_the_weighted_sum_of_both_cross_entropies(tmp_path):
    cfg = settings(write_recipe(tmp_path, "classifier"), "LOSS.WEIGHTS", "[2.0]", "LOSS.EXTRA_WEIGHT", 0.25)
    criterion = build_criterion(cfg, CLASSES)
    out = {"logits": torch.randn(5, 3), "logits_tone": torch.randn(5, 2)}
    targets = {"label": torch.tensor([0, -1, 2, 1, 1]), "label_tone": torch.tensor([1, 0, -1, -1, 1])}
    batch = Batch(torch.zeros(5, 1, 8, 8), torch.arange(5), torch.arange(5), targets=targets)

    def naive(logits_NK, label_N):
        pairs = zip(logits_NK, label_N.tolist(), strict=True)
        return -sum(row_K.log_softmax(0)[label] for row_K, label in pairs if label >= 0)

    terms = criterion(out, batch)
    torch.testing.assert_close(terms["cross_entropy"], 2 * naive(out["logits"], targets["label"]))
    torch.testing.assert_close(terms["cross_entropy_tone"], 0.25 * naive(out["logits_tone"], targets["label_tone"]))
    counts = {name: float(count) for name, count in criterion.count(batch).items()}
    assert counts == {"cross_entropy": 4, "cross_entropy_tone": 3}


@pytest.mark.parametrize(
    ("kind", "mistake", "said"),
    [
        ("classifier", ("DATA.EXTRA_LABELS", "[age]"), r"no label set 'age'; there are: mood, tone"),
        ("classifier", ("DATA.EXTRA_LABELS", "[mood]"), r"DATA\.EXTRA_LABELS: .*'mood' is named twice; allowed: once"),
        ("classifier", ("DATA.EXTRA_LABELS", "[tone, tone]"), r"'tone' is named twice; allowed: once"),
        ("scn", (), r"DATA\.EXTRA_LABELS: .*MODEL\.HEAD 'scn' .* a head of: classifier, joint, classifier_affect"),
        (
            "joint",
            ("LOSS.CRITERIA", "[triplet]", "LOSS.WEIGHTS", "[1.0]", "MODEL.HEAD", "embedding"),
            r"DATA\.EXTRA_LABELS: \['tone'\], but LOSS\.CRITERIA \['triplet'\] trains no classes",
        ),
        ("classifier", ("DATA.EXTRA_LABELS", "[]", "LOSS.EXTRA_WEIGHT", 2), r"LOSS\.EXTRA_WEIGHT: 2\.0 is not used"),
        ("classifier", ("LOSS.EXTRA_WEIGHT", -1), r"'LOSS\.EXTRA_WEIGHT': -1\.0; allowed: 0 or more"),
        (
            "classifier",
            ("DATA.HOLD_OUT", 0.2, "DATA.EVAL_SPLITS", "[hold_out]"),
            r"DATA\.HOLD_OUT: 0\.2, but the label sets of DATA\.EXTRA_LABELS .* allowed with them: 0",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, kind, mistake, said):
    recipe = write_recipe(tmp_path, kind)
    with pytest.raises(ValueError, match=said) as error:
        train(recipe, *mistake)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "result").exists()


def test_names_are_texts():
    with pytest.raises(ValueError, match=r"'DATA\.EXTRA_LABELS': \[1\]; allowed: names of label sets"):
        load_config(None, ["DATA.EXTRA_LABELS", "[1]"])


def test_a_face_that_one_set_trains_on_and_the_other_evaluates_is_refused(tmp_path):
    path = write_labelled(tmp_path / "moods") / "labels" / "tone" / "val.npz"
    arrays = dict(np.load(path))
    arrays["faces"][:2] = 3, 5
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"face 3 is in 'train' of label set 'mood' and in 'val' of 'tone', as are 2"):
        train(write_recipe(tmp_path, "classifier"))


def test_a_net_is_only_used_with_its_own_sets(joint, tmp_path):
    with pytest.raises(ValueError, match=r"DATA\.EXTRA_LABELS: \[\]; .* was trained on \['tone'\]; allowed: the same"):
        infer_run(str(joint), overrides=["DATA.EXTRA_LABELS", "[]"])
    recipe = write_recipe(tmp_path, "joint")
    weights = find_checkpoint(joint, "best") / "model.safetensors"
    start = ("MODEL.PRETRAINED", weights, "MODEL.PRETRAINED_ON", "moods", "MODEL.PRETRAINED_PARTS", "all")
    with pytest.raises(ValueError, match=r"further label sets of .* are {'tone': .*DATA\.EXTRA_LABELS here: none"):
        train(recipe, *start, "DATA.EXTRA_LABELS", "[]")
