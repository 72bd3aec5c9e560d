"""A collapsed embedding: training warns once, evaluation gives no accuracy, and it is never the best checkpoint."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.engine.trainer import Periods, RunFiles, Trainer
from fecnet.evaluation.triplet_accuracy import triplet_accuracy
from fecnet.prepare.writer import PackedWriter
from fecnet.run_page.comparison import headline_metrics
from fecnet.run_page.page import _tables
from fecnet.run_page.run_record import RunRecord
from fecnet.runs.inference import infer_run
from fecnet.runs.listing import describe_run
from fecnet.runs.training import train_run
from fecnet.utils.logging import MetricsFile
from fecnet.utils.signals import StopOnSignal
from tests.checkpoints import describe

FACES_T3, ODD_T, TYPE_T = np.array([[0, 1, 2]] * 9), np.array([2, 2, 2, 2, 2, 0, 1, 1, 0]), np.arange(9) % 3


class Training:
    """A trainer whose net is a list of spreads and of embeddings, one an iteration."""

    def __init__(self, tmp_path, spreads, embeddings):
        self.best, self.feedback = [], []
        stepper = SimpleNamespace(
            step=lambda *_: None,
            read_terms=lambda: {"loss": 1.0, "spread": spreads[self.trainer.progress.iteration - 1]},
            learning_rate=0.1,
            check_finite=lambda: None,
            inference_model=torch.nn.Identity(),
            schedule=SimpleNamespace(feedback=self.feedback.append),
            state_dict=dict,
            load_state_dict=lambda state: None,
        )
        self.trainer = Trainer(
            stepper,
            lambda first, last: ((number, []) for number in range(first, last + 1)),
            None,
            lambda _: {
                "val": triplet_accuracy(embeddings[self.trainer.progress.iteration - 1], FACES_T3, ODD_T, TYPE_T)
            },
            info=describe(),
            periods=Periods(last=len(spreads), log=1, evaluate=1, save=1),
        )
        tensorboard = SimpleNamespace(write=lambda values: None, close=lambda: None)
        self.files = RunFiles(self, MetricsFile(tmp_path / "metrics.jsonl", 0), tensorboard)

    def save(self, info, *, weights, trainer, best):  # as a checkpointer does
        self.best += [info.iteration] if best else []
        self.state = trainer

    def finish(self):
        pass

    def run(self):
        with StopOnSignal() as stop:
            assert self.trainer.train(self.files, stop) == 0
        return self


def spaced(by):
    """Three faces, of which the third is the odd one, ``by`` and about twice that apart."""
    return torch.tensor([[0.0], [by], [3 * by]])


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_training_warns_once_below_a_hundredth_of_the_first_spread_and_says_what_helps(tmp_path, caplog):
    training = Training(tmp_path, [0.8, 0.3, 0.009, 0.007, 1e-8, 0.5, 1e-8], [spaced(1)] * 7).run()
    (said,) = warnings(caplog)
    assert said.startswith(
        "iteration 4: the embedding collapses: squared distances between the faces of a triplet are 0.007 on average, "
        "0.8 at the start; what helps: a smaller SOLVER.BASE_LR, "
    )
    assert all(key in said for key in ("MODEL.BATCH_NORM", "LOSS.MARGIN_", "SOLVER.WARMUP"))
    resumed = Training(tmp_path, [1e-9], [spaced(1)])
    resumed.trainer.load_state_dict(training.state | {"progress": training.state["progress"] | {"iteration": 0}})
    resumed.run()
    assert len(warnings(caplog)) == 1  # the run has been told


def test_a_net_that_begins_collapsed_is_warned_of(tmp_path, caplog):
    Training(tmp_path, [9e-7, 9e-7], [spaced(1)] * 2).run()
    (said,) = warnings(caplog)
    assert said.startswith("iteration 1: the embedding collapses")


def test_a_collapsed_embedding_is_never_the_best(tmp_path, caplog):
    """Rounding errors of a collapsed embedding agree with the annotators on 55.6 %, the net before it on 22.2 %."""
    upside_down = torch.tensor([[0.0], [3.0], [2.5]])
    training = Training(tmp_path, [1.0] * 3, [upside_down, spaced(3e-4), spaced(1)])
    assert training.run().best == [1, 3]
    assert training.feedback == [22.2222, float("-inf"), 55.5556]  # of the plateau schedule
    (said,) = warnings(caplog)
    assert said.startswith("iteration 2: val: collapsed: all distances between faces are below 1e-06 (largest 8.1e-07)")
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["val/ALL"] for line in logged if "val/ALL" in line] == [22.2222, None, 55.5556]


@pytest.fixture
def collapsed(recipe, tmp_path):
    """A recipe whose faces are all one face."""
    rng = np.random.default_rng(0)
    with PackedWriter(tmp_path / "one", num_faces=9, height=48, width=48, channels=("grey",)) as writer:
        face_HWC = rng.integers(0, 256, (48, 48, 1), np.uint8)
        writer.add_faces(np.stack([face_HWC] * 9), [{"key": str(k), "source": f"one:{k}"} for k in range(9)])
        for split in ("train", "val", "test"):
            faces_T3 = np.stack([rng.permutation(9)[:3] for _ in range(8)])
            votes = np.ones((8, 3), np.int64)
            writer.add_triplets(split, faces_T3=faces_T3, odd_T=ODD_T[:8], type_T=TYPE_T[:8], votes_T3=votes)
        writer.set_coverage({"faces": {"read": 9, "kept": 9}})
    return load_config(recipe, ["DATA.PATH", str(tmp_path / "one"), "SOLVER.LENGTH", "2", "SOLVER.BATCH_SIZE", "6"])


def test_a_collapsed_run_says_so_wherever_its_accuracy_stood(collapsed, tmp_path, capsys):
    assert train_run(collapsed, recipe="one") == 0
    said = capsys.readouterr().out
    assert "no evaluation selects, the last iteration is used" in said
    folder = tmp_path / "result" / "one"
    assert not (folder / "checkpoints" / "best").exists() and find_checkpoint(folder, "best").name == "2"
    table = infer_run(str(folder))["triplets"]
    said = capsys.readouterr().out
    line = "ties are not counted as right, and an accuracy would mean nothing"
    assert f"fecnet: collapsed: all distances between faces are below 1e-06 (largest 0); {line}" in said
    assert "spread:" not in said
    assert table["spread"]["test"] == {"mean": 0.0, "largest": 0.0, "collapsed": True}
    assert table["splits"]["test"]["fecnet"]["ALL"] == {"right": 0, "total": 8, "percent": None}
    record = RunRecord(folder)
    assert headline_metrics(record) == [("test", "–", "triplet accuracy (the embedding has collapsed)")]
    assert line in "".join(map(str, _tables(record)))
    assert describe_run(record)[3] == "-"
