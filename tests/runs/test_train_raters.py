"""Runs that learn from the answers of single raters: what they learned is told, resume is exact, votes are refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from fecnet.cli import main as cli
from fecnet.config.node import load_config
from fecnet.data.build import build_loader, build_triplets
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_answers import read_rater_answers
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.checkpointer import load_trainer
from fecnet.runs.trained_data import read_answers
from fecnet.runs.training import train_run
from tests.data.sets import change_arrays
from tests.runs.test_train_run import assert_same_run, run_folder

OPTIONS = ["LOSS.CRITERIA", "[rater_choice]", "DATA.WEIGHT_BY_AGREEMENT", "true", "SOLVER.GRAD_ACCUM_STEPS", "2"]


@pytest.fixture
def answered(tiny):
    """The tiny set with the answers of its raters, numbered 3, 5, 7 …, in place of votes alone."""
    rng = np.random.default_rng(0)
    answer_TA = rng.integers(0, 3, (40, 4))
    rater_TA = np.array([rng.permutation(6)[:4] for _ in range(40)]) * 2 + 3
    change_arrays(
        tiny / "triplets" / "train.npz",
        votes=lambda _: (answer_TA[..., None] == np.arange(3)).sum(1).astype(np.uint8),
        answer_offset=lambda _: np.arange(0, 161, 4),
        annotator=lambda _: rater_TA.reshape(-1).astype(np.int32),
        answer=lambda _: answer_TA.reshape(-1).astype(np.int8),
    )
    return tiny


def train(recipe, *overrides, resume=""):
    return train_run(load_config(recipe, [*OPTIONS, *map(str, overrides)]), recipe="tiny", resume=resume)


def test_what_a_run_learned_is_shown_and_a_resumed_run_learns_the_same(recipe, answered, capsys, tmp_path):
    assert train(recipe, "NAME", "whole", "CHECKPOINT.KEEP", 0) == 0
    assert "train: 160 answers of 6 raters; " in capsys.readouterr().out
    stopped = run_folder(recipe, "stopped")
    shutil.copytree(run_folder(recipe, "whole"), stopped)
    shutil.rmtree(stopped / "checkpoints" / "6")
    (stopped / "checkpoints" / "last").write_text("4\n")
    assert train(recipe, "NAME", "stopped", "CHECKPOINT.KEEP", 0, resume=str(stopped)) == 0
    assert_same_run(run_folder(recipe, "whole"), stopped)
    capsys.readouterr()

    raters = ["data", "raters", str(answered), "--run", str(stopped)]
    assert cli.main([*raters, "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)["raters"]
    learned = load_trainer(find_checkpoint(stopped, "best"))["criterion"]["ability_R"].tolist()
    assert [row["name"] for row in rows] == [f"rater {number}" for number in (3, 5, 7, 9, 11, 13)]
    assert [row["ability"] for row in rows] == pytest.approx(learned, abs=1e-4) and len(set(learned)) > 1
    assert cli.main([*raters, "--plot", str(tmp_path / "raters.png")]) == 0
    assert "reliability  ability\n" in capsys.readouterr().out

    assert train_run(load_config(recipe, ["NAME", "hinge", "SOLVER.LENGTH", "1"]), recipe="tiny") == 0
    metrics = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert any("rater_choice" in line for line in metrics)
    for options, said in (
        (["--run", str(run_folder(recipe, "hinge"))], "trained with LOSS.CRITERIA ['triplet']; allowed: a run with ra"),
        (["--run", str(stopped), "--split", "test"], "no answers of single raters"),
    ):
        capsys.readouterr()
        assert cli.main(["data", "raters", str(answered), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_a_run_of_other_answers_is_refused(recipe, answered, capsys):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    change_arrays(answered / "triplets" / "train.npz", annotator=lambda array: array % 4)
    capsys.readouterr()
    assert cli.main(["data", "raters", str(answered), "--run", str(run_folder(recipe))]) == 2
    assert f"trained on other data than {answered}; allowed: a run of this data set" in capsys.readouterr().err


def test_votes_alone_are_refused_before_anything_is_written(recipe):
    with pytest.raises(ValueError, match=r"train\.npz: no answers of single raters, at most their votes; allowed: "):
        train(recipe)
    assert not run_folder(recipe).exists()


@pytest.mark.parametrize("hold_out", [0.0, 0.3])
@pytest.mark.parametrize("world_size", [1, 3])
def test_the_batches_hold_the_answers_to_their_triplets(recipe, answered, world_size, hold_out):
    cfg, dataset = load_config(recipe, [*OPTIONS, "DATA.HOLD_OUT", str(hold_out)]), PackedDataset(answered)
    answers = read_answers(cfg, dataset)
    assert len(answers.number_R) == 6 and len(answers.rater_A) == 4 * len(build_triplets(cfg, dataset, "train"))
    everything = read_rater_answers(dataset, "train")
    table = dataset.triplets("train")
    place_of = {tuple(faces): t for t, faces in enumerate(table.faces_T3.tolist())}
    seen = 0
    for rank in range(world_size):
        given = {"rank": rank, "world_size": world_size, "device": torch.device("cpu")}
        for batch in build_loader(cfg, dataset, **given, answers=answers).gather(2):
            own = batch.triplets.answers
            rows = batch.row_N[batch.triplets.face_B3].tolist()
            for triplet, rater, choice in zip(*(values.tolist() for values in vars(own).values()), strict=True):
                place = place_of[tuple(rows[triplet])]
                known = slice(4 * place, 4 * place + 4)
                assert (rater, choice) in zip(everything.rater_A[known], everything.choice_A[known], strict=True)
                seen += 1
    assert seen == 4 * 8
