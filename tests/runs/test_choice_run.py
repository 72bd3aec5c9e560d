"""The learned scale of the choice probabilities, from the training to the checkpoint, the reports and the encoder."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import load_trainer
from fecnet.evaluation.drawing import can_plot
from fecnet.evaluation.triplet_accuracy import AGREEMENT_ROWS
from fecnet.layers.choice import DEFAULT_SCALE
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from tests.classes import write_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    recipe = write_recipe(tmp_path_factory.mktemp("choice"), "choice")
    cfg = load_config(recipe, ["SOLVER.LENGTH", "4", "SOLVER.BASE_LR", "0.02", "EVAL.BEST_METRIC", "last"])
    assert train_run(cfg, recipe=recipe.stem) == 0
    return recipe.parent / "result" / recipe.stem


def test_triplets_without_votes_are_said(tmp_path, caplog):
    recipe = write_recipe(tmp_path, "choice")
    cfg = load_config(recipe, ["SOLVER.LENGTH", "1", "EVAL.BEST_METRIC", "last"])
    path = tmp_path / "moods" / "triplets" / "train.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["votes"][3:] = 0
    np.savez(path, **arrays)
    with caplog.at_level(logging.INFO, "fecnet"):
        assert train_run(cfg, recipe=recipe.stem) == 0
    assert (
        "train: criterion 'choice': 3 of 20 triplets have the votes of raters; of the other 17 the odd face counts as "
        "all raters' choice"
    ) in caplog.messages


@pytest.fixture
def scale(run):
    """As learned at the last iteration."""
    return float(load_trainer(find_checkpoint(run, "last"))["criterion"]["criteria.1.log_scale"].exp())


def test_it_is_logged_and_kept_in_the_checkpoint(run, scale):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    logged = [line["choice_scale"] for line in lines if "choice_scale" in line]
    assert len(logged) == 2 and logged[0] == pytest.approx(DEFAULT_SCALE, rel=0.05) and logged[0] != logged[1]
    assert scale != pytest.approx(DEFAULT_SCALE, rel=0.01)
    info = json.loads((find_checkpoint(run, "last") / "meta.json").read_text())
    assert info["choice_scale"] == pytest.approx(scale, abs=1e-5)


def test_the_encoder_gives_the_probabilities_of_its_scale(run, scale):
    encoder = fecnet.load(run, checkpoint="last")
    assert encoder.choice_scale == pytest.approx(scale, abs=1e-5)
    faces = encoder_faces(run)
    emb_3D = encoder.embed(faces).astype(np.float64)
    powers = [
        np.exp(-encoder.choice_scale * np.square(emb_3D[i] - emb_3D[j]).sum()) for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    found = encoder.odd_one_out(*faces, probability=True)
    np.testing.assert_allclose(found, 0.95 * np.array(powers) / sum(powers) + 0.05 / 3, rtol=1e-5)
    assert found.argmax() == encoder.odd_one_out(*faces)


def encoder_faces(run):
    """Three faces of the run's data set as pictures."""
    faces = PackedDataset(load_config(run / "config.yaml").DATA.PATH).faces_NHWC
    return [np.array(faces[row]) for row in (0, 1, 5)]


def test_evaluation_reports_choices_and_agreement(run, scale, capsys):
    found = infer_run(str(run), checkpoint="last")["triplets"]
    printed = capsys.readouterr().out
    assert f"with the net's scale {scale:.3g}; best on this split: -" in printed
    assert "choices against the raters' vote shares: log-likelihood -" in printed and "raters who agree" in printed
    choices = found["choices"]["test"]
    assert choices["scale"] == pytest.approx(scale, abs=1e-5)
    assert choices["triplets"] == choices["with_votes"] == 20
    assert sum(part["count"] for part in choices["calibration"]["bins"]) == 20
    table = found["splits"]["test"]["fecnet"]
    votes = PackedDataset(load_config(run / "config.yaml").DATA.PATH).triplets("test")
    share = votes.votes_T3[np.arange(20), votes.odd_T] / votes.votes_T3.sum(1)
    counts = [int((share >= 5 / 6).sum()), int(((share < 5 / 6) & (share >= 4 / 6)).sum()), int((share < 4 / 6).sum())]
    assert [table[row]["total"] for row in AGREEMENT_ROWS] == counts
    assert found["rows"][4:] == list(AGREEMENT_ROWS) and ">=5/6" in printed
    if can_plot():
        assert Image.open(run / "evaluation" / "choices_test.png").format == "PNG"
