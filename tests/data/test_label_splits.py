"""Splits of labelled faces: what is held out is never trained on, whole subjects where they are known."""

import numpy as np
import pytest

from fecnet.data.label_splits import LabelSplits, held_out, select
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset
from tests.classes import write_labelled


def splits(path, hold_out=0.25):
    return LabelSplits(PackedDataset(path), "mood", train_split="train", hold_out=hold_out)


@pytest.mark.parametrize("subjects", [True, False])
def test_held_out_and_trained_on_make_the_split(tmp_path, subjects):
    path = write_labelled(tmp_path / "set", subjects=subjects)
    held, rest = (splits(path).table(split) for split in ("hold_out", "train"))
    assert sorted([*held.faces_M, *rest.faces_M]) == list(range(40))
    assert len(held) in range(8, 13)
    if subjects:  # four faces of each
        assert not {face // 4 for face in held.faces_M} & {face // 4 for face in rest.faces_M}
    else:
        share = np.bincount(held.label_M + 1) / np.bincount(np.concatenate([held.label_M, rest.label_M]) + 1)
        np.testing.assert_allclose(share, 0.25, atol=0.09)  # a face more or less
    assert held.distribution_MK.shape == (len(held), 3)
    again = splits(path).table("hold_out")
    assert again.faces_M.tolist() == held.faces_M.tolist()
    assert splits(path).table("test").faces_M.tolist() == list(range(52, 64))
    assert len(splits(path, hold_out=0.0).table("train")) == 40


def test_subjects_of_many_faces_are_held_out_whole_and_near_the_share():
    sizes = np.random.default_rng(0).integers(1, 40, 60)
    subjects = np.repeat([f"p{k}" for k in range(60)], sizes)
    table = LabelTable(("a", "b"), np.arange(len(subjects)), np.zeros(len(subjects), np.int64))
    held_M = held_out(table, 0.2, subjects)
    assert not set(subjects[held_M]) & set(subjects[~held_M])
    assert abs(held_M.mean() - 0.2) < 40 / len(subjects)


def test_subjects_of_some_faces_alone_hold_nothing_out():
    table = LabelTable(("a", "b"), np.arange(8), np.zeros(8, np.int64))
    with pytest.raises(ValueError, match=r"DATA\.HOLD_OUT: of 8 faces 1 have no subject .*; allowed: subjects for all"):
        held_out(table, 0.5, np.array(["p0", "p0", "p1", "p1", "p2", "p2", "p3", ""]))


def test_faces_without_a_majority_are_left_out_where_asked(tmp_path):
    path = write_labelled(tmp_path / "set")  # votes of 0.7 for the label
    assert len(splits(path, 0).table("test", min_share=0.5)) == 10  # two have no label
    with pytest.raises(ValueError, match="set: no face is left in split 'test' of 'mood'"):
        splits(path, 0).table("test", min_share=0.7)


def test_selected_rows_keep_their_columns():
    share = np.eye(3, dtype=np.float32)
    table = LabelTable(("a", "b", "c"), np.array([5, 6, 7]), np.array([0, 1, 2]), distribution_MK=share)
    kept = select(table, np.array([True, False, True]))
    assert kept.faces_M.tolist() == [5, 7] and kept.label_M.tolist() == [0, 2]
    assert kept.distribution_MK.argmax(1).tolist() == [0, 2] and kept.valence_arousal_M2 is None
