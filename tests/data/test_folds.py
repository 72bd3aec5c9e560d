"""Folds: the published ones to the number, the corrected ones and those of whole groups test every face once."""

from pathlib import Path

import numpy as np
import pytest

from fecnet.data.folds import CORRECTED, PUBLISHED, FoldRule, assign_groups, fold_tests, values_of
from fecnet.data.label_splits import LabelSplits
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset
from fecnet.prepare.labelled.ckplus import CKPLUS_CLASSES, read_ckplus
from tests.classes import write_labelled
from tests.conftest import ROOT

COUNTS = (135, 177, 75, 207, 84, 249, 54)
CKPLUS = ROOT.parent / "shared" / "data" / "ckplus48" / "ckplus48.npz"


def drawn_ckplus(seed=0):
    """As many faces of each class as CK+ has, three a sequence, packed in a random order: labels and records."""
    rng = np.random.default_rng(seed)
    label_N = rng.permutation(np.repeat(np.arange(7), COUNTS))
    records = [None] * len(label_N)
    for label in range(7):
        for number, row in enumerate(rng.permutation(np.flatnonzero(label_N == label)).tolist()):
            subject, sequence = f"S{number // 6:03d}", f"S{number // 6:03d}_{label}_{number // 3:03d}"
            # the folder must not matter: published files lie in folders of subjects, others in those of classes
            source = f"{rng.integers(9)}/{sequence}_{number % 3:08d}.png"
            records[row] = {"source": source, "subject": subject, "sequence": sequence, "key": f"{row}"}
    return LabelTable(CKPLUS_CLASSES, np.arange(len(label_N)), label_N), records


def real_ckplus():
    source = read_ckplus(CKPLUS)
    label_N = np.array([picture.label for picture in source.pictures])
    records = [
        {"source": picture.source, "subject": picture.subject, "sequence": picture.sequence}
        for picture in source.pictures
    ]
    return LabelTable(source.classes, np.arange(len(label_N)), label_N), records


SETS = [
    drawn_ckplus,
    pytest.param(real_ckplus, marks=pytest.mark.skipif(not CKPLUS.is_file(), reason=f"{CKPLUS} is absent")),
]


def published_loop(table, records, fold):
    """What the published code tests (CK.py), index by index; as places in the table."""
    filed = sorted(range(len(table)), key=lambda m: (table.label_M[m], Path(records[table.faces_M[m]]["source"]).name))
    sum_number = [0, 135, 312, 387, 594, 678, 927, 981]
    test_number = [12, 18, 9, 21, 9, 24, 6]
    test_index = []
    for j in range(len(test_number)):
        for k in range(test_number[j]):
            if fold != 10:
                test_index.append(sum_number[j] + (fold - 1) * test_number[j] + k)
            else:
                test_index.append(sum_number[j + 1] - 1 - k)
    return {filed[index] for index in test_index}


def cut(table, records, by, **options):
    return fold_tests(table, records, FoldRule(by, **options))


def by_class(table, chosen_M):
    return np.bincount(table.label_M[chosen_M], minlength=7).tolist()


@pytest.mark.parametrize("read", SETS)
def test_published_folds_to_the_number(read):
    table, records = read()
    tests_FM = cut(table, records, PUBLISHED)
    for fold in range(1, 11):
        assert set(np.flatnonzero(tests_FM[fold - 1]).tolist()) == published_loop(table, records, fold)
    disgust, contempt = table.label_M == 1, table.label_M == 6
    assert by_class(table, tests_FM[0]) == by_class(table, tests_FM[9]) == [12, 18, 9, 21, 9, 24, 6]
    # fear's ninth nine begin at 72 of its 75 faces: 3 of them, and 6 of happy's
    assert by_class(table, tests_FM[8]) == [12, 18, 3, 27, 9, 24, 6]
    assert (tests_FM[8] & contempt).sum() == 6 and (tests_FM[8] & contempt == tests_FM[9] & contempt).all()
    assert (tests_FM[8] & tests_FM[9] & disgust).sum() == 3  # 9 · 18 = 162, 177 − 18 = 159
    times_M = tests_FM.sum(0)
    never, twice = times_M == 0, times_M == 2
    assert by_class(table, never) == [123 - 108, 0, 0, 0, 0, 225 - 216, 0]  # between the ninth's end and the tenth
    assert by_class(table, twice) == [0, 3, 6 + 3, 3 + 6, 6, 0, 6] and times_M.max() == 2


@pytest.mark.parametrize("read", SETS)
@pytest.mark.parametrize("num_folds", [10, 3])
def test_mended_folds_test_every_face_once(read, num_folds):
    table, records = read()
    tests_FM = cut(table, records, CORRECTED, num_folds=num_folds)
    assert (tests_FM.sum(0) == 1).all()
    sequence_M = values_of(table, records, "sequence")
    for test_M in tests_FM:
        assert not set(sequence_M[test_M]) & set(sequence_M[~test_M])
    for label, faces in enumerate(COUNTS):
        tested_F = tests_FM[:, table.label_M == label].sum(1)
        assert set(tested_F) <= {3 * (faces // 3 // num_folds), 3 * (faces // 3 // num_folds) + 3}
    if num_folds == 10:  # in file order
        filed = sorted(np.flatnonzero(table.label_M == 0), key=lambda m: Path(records[m]["source"]).name)
        assert (np.diff(tests_FM[:, filed].argmax(0)) >= 0).all()


def test_mended_folds_of_faces_without_sequence_and_label():
    label_M = np.array([0, 0, 0, 0, 1, 1, -1])
    records = [{"source": f"{7 - row}.png", "sequence": ""} for row in range(7)]
    tests_FM = cut(LabelTable(("a", "b"), np.arange(7), label_M), records, CORRECTED, num_folds=2)
    assert [np.flatnonzero(test_M).tolist() for test_M in tests_FM] == [[2, 3, 5], [0, 1, 4]]


@pytest.mark.parametrize("read", SETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_nobody_is_on_both_sides(read, seed):
    table, records = read()
    tests_FM = cut(table, records, "subject", seed=seed)
    assert (tests_FM.sum(0) == 1).all()
    subject_M = values_of(table, records, "subject")
    for test_M in tests_FM:
        assert not set(subject_M[test_M]) & set(subject_M[~test_M])
    assert (tests_FM == cut(table, records, "subject", seed=seed)).all()
    assert (tests_FM != cut(table, records, "subject", seed=2)).any()


@pytest.mark.skipif(not CKPLUS.is_file(), reason=f"{CKPLUS} is absent")
def test_folds_of_whole_people_are_balanced_on_real_ckplus():
    table, records = real_ckplus()
    tests_FM = cut(table, records, "subject")
    counts_FK = np.array([by_class(table, test_M) for test_M in tests_FM])
    assert np.abs(counts_FK - np.array(COUNTS) / 10).max() <= 4  # a sequence more or less
    assert np.abs(counts_FK.sum(1) - 98.1).max() <= 10


def test_dealt_as_scikit_learn_deals():
    """Without ties its folds are these, but for their numbers."""
    splitter = pytest.importorskip("sklearn.model_selection").StratifiedGroupKFold(4)
    rng = np.random.default_rng(0)
    for _ in range(5):
        counts_GK = rng.integers(0, 400, (25, 3))
        group_M = np.repeat(np.arange(25), counts_GK.sum(1))
        label_M = np.concatenate([np.repeat(np.arange(3), counts) for counts in counts_GK])
        theirs = {frozenset(group_M[test].tolist()) for _, test in splitter.split(label_M, label_M, group_M)}
        fold_G = assign_groups(counts_GK, 4)
        assert {frozenset(np.flatnonzero(fold_G == fold).tolist()) for fold in range(4)} == theirs


def test_dealt_by_hand():
    """The two groups of one class come first and apart; then each fold gets what it lacks of the other."""
    counts_GK = np.array([[0, 2], [8, 0], [0, 2], [8, 0]])
    fold_G = assign_groups(counts_GK, 2)
    assert {fold_G[1], fold_G[3]} == {0, 1} and {fold_G[0], fold_G[2]} == {0, 1}
    # a class that nobody has changes nothing
    assert assign_groups(np.insert(counts_GK, 1, 0, axis=1), 2).tolist() == fold_G.tolist()


def test_any_column_is_kept_whole():
    rng = np.random.default_rng(0)
    records = [{"source": f"{row}", "sequence": "", "camera": f"c{row % 7}"} for row in range(60)]
    label_M = rng.integers(-1, 2, 60)
    tests_FM = cut(LabelTable(("a", "b"), np.arange(60), label_M), records, "camera", num_folds=3)
    assert (tests_FM.sum(0) == 1).all()
    for test_M in tests_FM:
        assert not set(np.flatnonzero(test_M) % 7) & set(np.flatnonzero(~test_M) % 7)


@pytest.mark.parametrize(
    ("by", "options", "said"),
    [
        (
            "camera",
            {},
            r"DATA\.FOLD_BY: 'camera' is no column of faces\.csv; allowed: published, corrected, source, subject",
        ),
        ("subject", {"num_folds": 50}, r"DATA\.NUM_FOLDS: 50, but the faces have 42 different 'subject'; allowed.*42$"),
        (PUBLISHED, {"num_folds": 5}, r"DATA\.NUM_FOLDS: 5; allowed with 'published': 10"),
    ],
)
def test_folds_that_cannot_be_made_are_one_line(by, options, said):
    table, records = drawn_ckplus()
    with pytest.raises(ValueError, match=said):
        cut(table, records, by, **options)


def test_faces_that_lack_what_is_asked_for():
    table, records = drawn_ckplus()
    records[3]["subject"] = ""
    with pytest.raises(ValueError, match=r"1 of 981 faces have no 'subject' in faces.csv; columns that all .*sequence"):
        cut(table, records, "subject")
    fewer = LabelTable(table.classes, table.faces_M[1:], table.label_M[1:])
    with pytest.raises(ValueError, match=r"'published' is for CK\+ \(anger 135, .*; allowed here: corrected, subject"):
        cut(fewer, records, PUBLISHED)
    one = [record | {"subject": "S1"} for record in records]
    with pytest.raises(ValueError, match="have 1 different 'subject'; allowed here: none, folds need two or more"):
        cut(table, one, "subject")


def test_a_fold_is_a_split_and_the_hold_out_is_of_the_rest(tmp_path):
    dataset = PackedDataset(write_labelled(tmp_path / "set", subjects=True))

    def rows(split, **options):
        splits = LabelSplits(dataset, "mood", train_split="train", folds=FoldRule("subject", 5), **options)
        return set(splits.table(split).faces_M.tolist())

    tested = [rows("fold", fold=fold) for fold in range(1, 6)]
    assert set.union(*tested) == set(range(40)) and sum(map(len, tested)) == 40
    assert rows("train", fold=2) == set(range(40)) - tested[1]
    parts = [rows(split, fold=2, hold_out=0.25) for split in ("fold", "hold_out", "train")]
    assert parts[0] == tested[1] and set.union(*parts) == set(range(40)) and sum(map(len, parts)) == 40
    people = [{row // 4 for row in part} for part in parts]
    assert all(len(part) for part in people) and sum(map(len, people)) == 10
    assert rows("test", fold=2) == set(range(52, 64)) and rows("train") == set(range(40))
    with pytest.raises(ValueError, match=r"split 'fold': DATA\.FOLD is 0; allowed: its number, 1\.\.5"):
        rows("fold")
    with pytest.raises(ValueError, match=r"DATA\.FOLD: 6; allowed: 1\.\.5 \(DATA\.NUM_FOLDS\), or 0 for none"):
        rows("fold", fold=6)
