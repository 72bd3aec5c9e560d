"""The benchmark of SCN's cure: what it counts, and that it trains, goes on and refuses on a handful of faces."""

import numpy as np
import pytest
import torch

from benchmarks import relabelling
from fecnet.data.labels import LabelTable
from fecnet.prepare.labelled.fer2013 import FERPLUS_CLASSES
from fecnet.prepare.labelled.label_noise import SplitLabels, write_label_noise
from fecnet.prepare.writer import PackedWriter
from tests.inline_runs import inline_runs  # noqa: F401  (a fixture)

SPLITS = {"train": range(0, 64), "public_test": range(64, 80), "private_test": range(80, 96)}


def test_relabels_are_counted_by_hand():
    clean = LabelTable(("a", "b", "c"), np.arange(12), np.arange(12) % 3)
    rows = np.arange(2, 12)  # right labels 2 0 1 2 0 1 2 0 1 2
    given = LabelTable(clean.classes, rows, np.array([0, 1, 2, 2, 0, 1, 2, 0, 1, 2]))  # rows 2, 3, 4 are wrong
    # row 2 is cured, row 3 becomes wrong otherwise, row 6 was right and is spoilt; row 4 stays wrong
    changed = {"row": torch.tensor([2, 3, 6]), "label": torch.tensor([2, 2, 1])}
    assert relabelling.count_relabels(given, clean, changed) == {
        "labels": 10,
        "wrong_percent": 30.0,
        "relabelled": 3,
        "of_these_wrong_before_percent": 66.67,
        "of_these_right_after_percent": 33.33,
        "wrong_at_the_end_percent": 30.0,
    }
    nothing = {name: torch.zeros(0, dtype=torch.int64) for name in ("row", "label")}
    found = relabelling.count_relabels(given, clean, nothing)
    assert (found["relabelled"], found["of_these_wrong_before_percent"]) == (0, None)
    assert found["wrong_at_the_end_percent"] == 30.0


def test_differences_are_taken_within_each_seed():
    def of(*percent):
        return [{"percent": {"test": value}, "labels": {"relabelled": 10, "of": None}} for value in percent]

    found = relabelling.over_seeds({"ce": of(60, 70, 80), "scn": of(61, 71, 81), "scn_relabel": of(64, 73, 85)})
    assert found["percent"]["ce"]["test"] == {"mean": 70, "sd": 10, "each": [60, 70, 80]}
    assert found["points"]["scn_relabel - ce"]["test"] == {"mean": 4, "sd": 1, "each": [4, 3, 5]}
    assert found["points"]["scn - ce"]["test"] == {"mean": 1, "sd": 0, "each": [1, 1, 1]}
    assert found["points"]["scn_relabel - scn"]["test"]["each"] == [3, 2, 4]
    assert found["labels"] == {"relabelled": {"mean": 10, "sd": 0, "each": [10, 10, 10]}}


def write_set(path):
    """Grey faces of the eight classes, told apart by their brightness, and a third of the training labels wrong."""
    rng = np.random.default_rng(0)
    label_N = np.arange(96) % len(FERPLUS_CLASSES)
    image = (30 * label_N[:, None, None, None] + rng.integers(0, 20, (96, 48, 48, 1))).astype(np.uint8)
    share_NK = 0.7 * np.eye(len(FERPLUS_CLASSES))[label_N] + 0.3 / len(FERPLUS_CLASSES)
    with PackedWriter(path, num_faces=96, height=48, width=48, channels=["grey"]) as writer:
        writer.add_faces(image, [{"key": f"{row:03d}", "source": f"random:{row}"} for row in range(96)])
        clean = {
            split: SplitLabels(np.array(rows), label_N[list(rows)], share_NK[list(rows)])
            for split, rows in SPLITS.items()
        }
        for split, labels in clean.items():
            writer.add_labels("ferplus", split, classes=FERPLUS_CLASSES, **labels._asdict())
        writer.set_coverage(write_label_noise(writer, "ferplus", FERPLUS_CLASSES, clean, rate=0.3, seed=0))


@pytest.mark.usefixtures("inline_runs")
def test_runs_are_trained_once_and_read_back(tmp_path):
    write_set(tmp_path / "data")
    short = ["SOLVER.LENGTH", "2", "LOSS.SCN_RELABEL_AFTER", "0.5", "LOSS.SCN_MARGIN_2", "0", "SOLVER.BATCH_SIZE", "16"]
    options = [*short, "SOLVER.WARMUP", "0", "DATA.PATH", str(tmp_path / "data"), "DEVICE", "cpu"]
    found = relabelling.measure(tmp_path / "runs", options, seeds=[3], jobs=2)
    for name, runs in found["runs"].items():
        assert [(run["seed"], run["iterations"]) for run in runs] == [(3, 8)], name
        assert runs[0]["percent"].keys() == {"public_test", "private_test"}
        assert ("labels" in runs[0]) == (name == "scn_relabel")
    labels = found["runs"]["scn_relabel"][0]["labels"]
    assert (labels["labels"], labels["wrong_percent"]) == (64, round(100 * 19 / 64, 2))
    assert labels["relabelled"] > 0
    assert found["over_seeds"]["percent"]["ce"]["private_test"]["sd"] is None

    again = relabelling.measure(tmp_path / "runs", options, seeds=[3], jobs=2)
    assert again == found  # seconds of training too: nothing was trained anew
    with pytest.raises(ValueError, match=r"'SOLVER\.BASE_LR'.*give another folder"):
        relabelling.measure(tmp_path / "runs", [*options, "SOLVER.BASE_LR", "1e-4"], seeds=[3], jobs=1)
