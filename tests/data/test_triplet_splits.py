"""A hold-out of triplets: never trained on, the same for every seed, and honest about the faces it shares."""

import json

import numpy as np
import pytest

from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.data.triplet_splits import describe_hold_out, split_triplets
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.run_page.disagreement import disagreement_section
from fecnet.run_page.run_record import RunRecord
from fecnet.runs.inference import infer_run
from fecnet.runs.training import train_run
from tests.classes import write_labelled

HELD = ("DATA.HOLD_OUT", "0.25", "DATA.EVAL_SPLITS", "[hold_out]", "DATA.REPORT_SPLITS", "[test]")


def rows_of(table):
    columns = (table.faces_T3, table.odd_T[:, None], table.type_T[:, None], table.votes_T3)
    return sorted(map(tuple, np.hstack(columns).tolist()))


def test_held_out_and_trained_on_make_the_split(tiny):
    dataset = PackedDataset(tiny)
    held, rest = (split_triplets(dataset, split, train_split="train", hold_out=0.25) for split in ("hold_out", "train"))
    assert rows_of(held) + rows_of(rest) != rows_of(dataset.triplets("train"))
    assert sorted(rows_of(held) + rows_of(rest)) == rows_of(dataset.triplets("train"))
    assert np.bincount(held.type_T).tolist() == [4, 3, 3]  # of 14, 13 and 13, rounded to even
    again = split_triplets(dataset, "hold_out", train_split="train", hold_out=0.25)
    assert rows_of(again) == rows_of(held)
    test = split_triplets(dataset, "test", train_split="train", hold_out=0.25)
    assert rows_of(test) == rows_of(dataset.triplets("test"))


def test_shared_faces_are_counted():
    def table(*faces):
        faces_T3 = np.array(faces)
        return TripletTable(faces_T3, faces_T3[:, 0], faces_T3[:, 0], faces_T3)

    said = describe_hold_out(table((0, 1, 2), (0, 3, 4)), table((1, 7, 2), (8, 9, 10), (9, 7, 8)))
    assert said.startswith(
        "hold_out: 2 of 5 training triplets; 40% of their 5 faces are also in triplets that are trained on"
    )


@pytest.mark.parametrize(
    ("split", "share", "said"),
    [
        ("hold_out", 0.0, "split 'hold_out': DATA.HOLD_OUT is 0; give its share of 'train'"),
        (
            "train",
            0.01,
            "HOLD_OUT 0.01 of the 40 triplets of 'train' leaves none in split 'hold_out'; allowed: a share",
        ),
        ("hold_out", 0.99, "leaves none in split 'train'; allowed: a share that leaves some in both"),
    ],
)
def test_a_share_that_leaves_nothing_is_refused(tiny, split, share, said):
    with pytest.raises(ValueError, match=said) as error:
        split_triplets(PackedDataset(tiny), split, train_split="train", hold_out=share)
    assert "\n" not in str(error.value)


def test_known_people_are_held_out_when_the_set_is_prepared(tmp_path):
    dataset = PackedDataset(write_labelled(tmp_path / "set", subjects=True))
    said = r"DATA\.HOLD_OUT: 0\.2; allowed with triplets of known subjects, as in .*set: 0; .* --hold-out-subjects$"
    with pytest.raises(ValueError, match=said):
        split_triplets(dataset, "train", train_split="train", hold_out=0.2)


def test_a_hold_out_of_triplets_selects_and_test_is_reported(recipe, capsys):
    assert train_run(load_config(recipe, [*HELD, "NAME", "held"]), recipe="tiny") == 0
    assert "hold_out: 10 of 40 training triplets; " in capsys.readouterr().out
    run = recipe.parent / "result" / "held"
    held = load_info(find_checkpoint(run, "best")).accuracy
    assert held.selection.split == "hold_out"
    assert held.splits["hold_out"]["ALL"]["total"] == 10
    infer_run(str(run))
    assert json.loads((run / "evaluation" / "triplets.json").read_text())["splits"].keys() == {"test"}
    infer_run(str(run), splits=["hold_out", "train"], baselines=True)
    printed = capsys.readouterr().out
    assert "hold_out (the split that selected the best checkpoint)" in printed
    found = json.loads((run / "evaluation" / "triplets.json").read_text())["splits"]
    assert found["train"]["fecnet"]["ALL"]["total"] == 30
    page = str(disagreement_section(RunRecord(run)))
    assert " of 10; " in page and " of 30; " in page
    with pytest.raises(ValueError, match=r"DATA\.HOLD_OUT: 0\.2, trained with 0\.25: it decides which"):
        infer_run(str(run), splits=["hold_out"], overrides=["DATA.HOLD_OUT", "0.2"])
