"""The JSON of ``fecnet evaluate``: what is written is read; what is wrong with a field is one line that names it."""

import copy
import json

import numpy as np
import pytest
import torch

from fecnet.evaluation.affect import affect_accuracy
from fecnet.evaluation.calibration import calibration
from fecnet.evaluation.classification import class_accuracy
from fecnet.evaluation.near_ties import NearTies, class_ties
from fecnet.evaluation.scales import SCALE_EDGES, scale_history, scale_metrics
from fecnet.evaluation.triplet_accuracy import ROWS, TripletAccuracy
from fecnet.runs import evaluated, inference
from fecnet.runs.evaluated import read_table
from fecnet.studies import measured_splits
from fecnet.utils.env import provenance
from fecnet.utils.metrics import read_metrics

CLASSES = ("calm", "glad", "cross")
SHARED = {
    "checkpoint": "net",
    "iteration": 3,
    "data": "set",
    "views": "center",
    "coverage": {},
    "command": "",
    "date": "",
}


def of_classes():
    logits_NK, label_N = torch.eye(3).repeat(2, 1), np.array([0, 1, 2, 0, 0, -1])
    accuracy = class_accuracy(logits_NK, label_N, CLASSES)
    told = {"training_split": "train", "copies_in_training": 1, "without_copies": accuracy.to_dict()}
    told["near_ties"] = class_ties(logits_NK, label_N, 1e-5).to_dict()
    return accuracy.to_dict() | {"calibration": calibration(logits_NK, label_N).to_dict()} | told


def tables():
    found, oracle = (TripletAccuracy((1, 2, 3), (4, 5, 6)).to_dict() for _ in range(2))
    affect = affect_accuracy(torch.rand(4, 2), np.linspace(-1, 1, 8).reshape(4, 2)).to_dict()
    splits = {"triplets": {"fecnet": found, "oracle": oracle}, "classes": of_classes(), "affect": affect}
    spread = {"spread": {"test": {"mean": 1.0, "largest": 2.0, "collapsed": False}, "val": None}}
    spread["near_ties"] = {"test": NearTies(2, 1, 15, 1e-5, (0, 1, 1)).to_dict()}
    return {
        name: {
            **SHARED,
            "provenance": provenance(),
            "splits": {"test": split},
            **(spread if name == "triplets" else {}),
        }
        for name, split in splits.items()
    }


TABLES = tables()


def leaves(value, key=""):
    """Dotted keys of all that is no mapping, and of the first item of lists."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{key}.{name}" if key else name)
    else:
        yield key
        if isinstance(value, list) and value:
            yield from leaves(value[0], f"{key}.0")


UNREAD = ("coverage", "spread.val", "splits.test.right", "splits.test.without_copies")  # or null
FIELDS = [(name, key) for name, table in TABLES.items() for key in leaves(table) if not key.startswith(UNREAD)]


def change(name, key, value):
    """A table with another value at a dotted key."""
    table = copy.deepcopy(TABLES[name])
    *outer, last = key.split(".")
    part = table
    for step in outer:
        part = part[int(step) if isinstance(part, list) else step]
    part[int(last) if isinstance(part, list) else last] = value
    return table


def told(folder, name, table):
    """What is said of a table, without its file and the end."""
    file = folder / f"{name}.json"
    file.write_text(table if isinstance(table, str) else json.dumps(table))
    with pytest.raises(ValueError) as error:
        read_table(file)
    said, end = str(error.value), "; evaluate the run again with: fecnet evaluate"
    assert said.startswith(f"{file}: ") and said.endswith(end) and "\n" not in said and len(said) < 500
    return said.removeprefix(f"{file}: ").removesuffix(end)


@pytest.mark.parametrize("name", TABLES)
def test_what_is_written_is_read(tmp_path, name):
    (tmp_path / f"{name}.json").write_text(json.dumps(TABLES[name]))
    assert read_table(tmp_path / f"{name}.json") == TABLES[name]


@pytest.mark.parametrize(("name", "key"), FIELDS)
def test_a_field_of_another_type_is_named(tmp_path, name, key):
    said = told(tmp_path, name, change(name, key, {"x": [1]}))
    shown = key.replace(".0", "[0]")
    assert said.startswith((f"'{shown}' is {{'x': [1]}}; allowed: ", f"'{shown}.x' is [1]; allowed: "))


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("triplets", "splits.test.fecnet", {}, "lacks 'splits.test.fecnet.ONE'; allowed: a mapping"),
        (
            "triplets",
            "splits.test.oracle.ALL.right",
            2**600,
            "'splits.test.oracle.ALL.right' is a number of 601 bits",
        ),
        (
            "triplets",
            "splits.test.oracle.ALL.percent",
            float("nan"),
            "'splits.test.oracle.ALL.percent' is nan; allowed",
        ),
        ("triplets", "splits", [], "'splits' is []; allowed: a mapping"),
        ("triplets", "splits.test", {}, "lacks 'splits.test.fecnet.ONE'; allowed: a mapping"),
        ("classes", "splits.test.confusion", [[1, 2, 3]], "'splits.test.confusion' is not a matrix of counts"),
        ("classes", "splits.test.confusion", [[1, 2, 3], [1], [1, 2, 3]], "'splits.test.confusion' is not a matrix"),
        ("classes", "splits.test.confusion.0.0", -1, "'splits.test.confusion' is not a matrix of counts"),
        ("classes", "splits.test.without_copies", {"accuracy": 1}, "lacks 'splits.test.without_copies.mean_class_acc"),
        ("classes", "data", "x" * 10**6, None),
        ("affect", "splits.test.ccc", float("inf"), "'splits.test.ccc' is inf; allowed: finite numbers"),
    ],
)
def test_what_was_seen_and_what_is_allowed_are_told(tmp_path, name, key, value, said):
    if said is None:  # a long text is one
        (tmp_path / f"{name}.json").write_text(json.dumps(change(name, key, value)))
        assert read_table(tmp_path / f"{name}.json")["data"] == value
        return
    assert told(tmp_path, name, change(name, key, value)).startswith(said)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\x00", "1" * 5000, "[" * 100_000, '{"coverage": ' + "[" * 600])
def test_what_is_no_table_is_one_line(tmp_path, text):
    assert told(tmp_path, "classes", text)


def test_the_rows_are_those_of_the_table():
    assert evaluated._ROWS == ROWS


@pytest.mark.parametrize(
    "kept", ["{", "[]", '{"metrics": {"ALL": "much"}, "made_from": {}}', '{"metrics": {"ALL": 7}, "made_from": 3}']
)
def test_a_damaged_measurement_is_told_and_not_taken(tmp_path, caplog, kept):
    file = tmp_path / "measured_val.json"
    assert measured_splits._read(file) == {} and not caplog.records
    file.write_text(kept)
    assert measured_splits._read(file) == {}
    assert str(file) in caplog.text and "measured again" in caplog.text


@pytest.mark.parametrize("line", ['{"iteration": ' + "1" * 5000 + "}", "[" * 100_000, '{"iteration": 1', "7"])
def test_a_damaged_line_of_metrics_is_one_line(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl:1: not a line of metrics with an 'iteration'"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_histograms_of_scales_that_are_none_are_refused(tmp_path):
    """Before anything is pruned: they were a traceback of the plot, after the pruned run was written."""
    file = tmp_path / "metrics.jsonl"
    line = {"iteration": 5, **scale_metrics(torch.rand(9))}
    file.write_text(json.dumps(line) + "\n")
    assert scale_history(file) == [line]
    for wrong in ([1, 2], "many", [[1]] * (len(SCALE_EDGES) - 1), [-1] * (len(SCALE_EDGES) - 1)):
        file.write_text(json.dumps(line | {"scales/histogram": wrong}) + "\n")
        with pytest.raises(
            ValueError, match=r"metrics\.jsonl: 'scales/histogram' at iteration 5 is .*allowed: 60 count"
        ):
            scale_history(file)


class FailingReport:
    name = "triplets"

    def __init__(self, fails):
        self._fails = fails

    def write(self, folder, result):
        (folder / "triplets.json").write_text(json.dumps(result))
        if self._fails:
            raise OSError(28, "no room")
        (folder / "embeddings.npz").write_text(json.dumps(result))
        return ["triplets.json", "embeddings.npz"]


def test_an_evaluation_is_written_whole_or_not_at_all(tmp_path):
    checkpoint, folder = tmp_path / "net" / "checkpoints" / "3", tmp_path / "net" / "evaluation"
    checkpoint.mkdir(parents=True)
    inference._write(checkpoint, [FailingReport(False)], {"triplets": 1})
    (folder / "measured_val.json").write_text("of compare")
    with pytest.raises(OSError, match="no room"):
        inference._write(checkpoint, [FailingReport(True)], {"triplets": 2})
    old = {"triplets.json": "1", "embeddings.npz": "1", "measured_val.json": "of compare"}
    assert {path.name: path.read_text() for path in folder.iterdir()} == old
    inference._write(checkpoint, [FailingReport(False)], {"triplets": 2})
    assert {path.name: path.read_text() for path in folder.iterdir()} == old | dict.fromkeys(list(old)[:2], "2")
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []
