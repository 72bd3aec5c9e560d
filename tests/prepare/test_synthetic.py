import csv
import json

import numpy as np
import pytest

from fecnet.data.packed import PackedDataset
from fecnet.data.rater_answers import read_rater_answers
from fecnet.data.verify import verify_dataset
from fecnet.prepare import synthetic
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.structures import TripletType
from fecnet.synthetic import annotators
from fecnet.synthetic.expressions import EXPRESSIONS, sample_expressions, to_perceptual
from fecnet.synthetic.rendering import EXPRESSION_FIELDS, render_faces, resample_capture, sample_identities

SMALL = {
    "size": 24,
    "num_train_identities": 12,
    "num_val_identities": 8,
    "num_test_identities": 8,
    "faces_per_identity": 5,
    "num_train_triplets": 100,
    "num_val_triplets": 40,
    "num_test_triplets": 50,
    "progress": False,
}


def contents(path):
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*.np[yz]")}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "set"
    prepare_synthetic(path, **SMALL)
    return path


def test_same_seed_same_bytes_however_it_is_cut(small_set, tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "_CHUNK", 7)
    monkeypatch.setattr(synthetic.os, "cpu_count", lambda: 1)
    prepare_synthetic(tmp_path / "again", **SMALL)
    assert contents(tmp_path / "again") == contents(small_set)


def test_another_seed_differs_everywhere(small_set, tmp_path):
    prepare_synthetic(tmp_path / "other", seed=1, **SMALL)
    ours, other = contents(small_set), contents(tmp_path / "other")
    assert ours.keys() == other.keys()
    assert all(ours[name] != other[name] for name in ours)


def test_test_people_are_never_in_training(small_set):
    with (small_set / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    subjects = {}
    for split in ("train", "val", "test"):
        faces = np.load(small_set / "labels" / "synthetic" / f"{split}.npz")["faces"]
        used = np.load(small_set / "triplets" / f"{split}.npz")["faces"]
        assert set(used.flat) <= set(faces)
        subjects[split] = {rows[row]["subject"] for row in faces}
    assert len(subjects["train"]) == 12
    assert len(subjects["test"]) == 8
    assert not subjects["train"] & subjects["test"]
    assert not subjects["val"] & (subjects["train"] | subjects["test"])
    assert len({row["key"] for row in rows}) == len(rows) == 140


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_triplets_are_what_they_claim(small_set, split):
    table = np.load(small_set / "triplets" / f"{split}.npz")
    labelled = np.load(small_set / "labels" / "synthetic" / f"{split}.npz")
    label = dict(zip(labelled["faces"].tolist(), labelled["label"].tolist(), strict=True))
    for faces, kind in zip(table["faces"].tolist(), table["type"].tolist(), strict=True):
        assert len(set(faces)) == 3
        assert len({label[face] for face in faces}) == kind + 1
    counts = np.bincount(table["type"], minlength=3)
    assert counts.max() - counts.min() <= 1
    assert (table["votes"].sum(axis=1) == 6).all()
    assert (table["votes"].max(axis=1) >= 4).all()
    assert (table["votes"].argmax(axis=1) == table["odd"]).all()
    assert set(table["odd"].tolist()) == {0, 1, 2}
    # The votes are the raters' answers, counted.
    for k, votes in enumerate(table["votes"]):
        answers = table["answer"][table["answer_offset"][k] : table["answer_offset"][k + 1]]
        assert (np.bincount(answers, minlength=3) == votes).all()


def test_true_expressions_agree_with_the_raters(small_set):
    expression = np.load(small_set / "expression.npy")
    assert expression.dtype == np.float32
    assert expression.shape == (140, len(EXPRESSION_FIELDS))
    table = np.load(small_set / "triplets" / "train.npz")
    corners = expression[table["faces"]]
    opposite = np.stack([np.linalg.norm(corners[:, a] - corners[:, b], axis=1) for a, b in ((1, 2), (0, 2), (0, 1))], 1)
    assert (opposite.argmin(axis=1) == table["odd"]).mean() > 0.93


def test_coverage_adds_up(small_set):
    described = json.loads((small_set / "dataset.json").read_text())
    triplets = described["coverage"]["triplets"]
    assert triplets["kept"] == 190
    assert triplets["read"] == triplets["kept"] + sum(triplets["dropped"].values())
    assert described["label_sets"]["synthetic"]["classes"] == list(EXPRESSIONS)


def test_too_few_faces_are_refused(tmp_path):
    with pytest.raises(ValueError, match="faces are too few"):
        prepare_synthetic(tmp_path / "set", **SMALL | {"num_test_identities": 1})
    assert list(tmp_path.iterdir()) == []


def test_identity_and_expression_are_independent(monkeypatch):
    monkeypatch.setattr(synthetic, "annotate_triplets", lambda seen, label, num, rng: None)
    split = synthetic._sample_split("train", 0, 0, 600, 5, 0)
    drawn = np.corrcoef(split.identity_NI.T, split.expression_NE.T)
    num = split.identity_NI.shape[1]
    across = np.abs(drawn[:num, num:])
    assert across.max() < 0.09, "3000 faces: a correlation of 0.09 is five standard errors"


def test_photographing_again_keeps_the_person():
    before = sample_identities(3, 0)
    after = resample_capture(before, 1)
    changed = (before != after).all(axis=0)
    assert changed.any()
    first = int(changed.argmax())
    assert (before[:, :first] == after[:, :first]).all()
    assert changed[first:].all()


@pytest.mark.parametrize("field", EXPRESSION_FIELDS)
def test_every_expression_number_shows(field):
    identity = sample_identities(6, 2)
    column = EXPRESSION_FIELDS.index(field)
    low, high = np.zeros((2, 6, len(EXPRESSION_FIELDS)), np.float32)
    high[:, column] = 1.0
    low[:, EXPRESSION_FIELDS.index("mouth_open")] = 0.3 if field == "teeth" else 0.0
    high[:, EXPRESSION_FIELDS.index("mouth_open")] += 0.3 if field == "teeth" else 0.0
    before, after = (render_faces(identity, value, 48).astype(int) for value in (low, high))
    moved = (np.abs(before - after).max(axis=-1) > 20).sum(axis=(1, 2))
    assert (moved >= 8).all(), moved


def test_drawing_does_not_depend_on_the_company():
    identity, (expression, _) = sample_identities(9, 3), sample_expressions(9, 3)
    together = render_faces(identity, expression, 32)
    alone = np.concatenate([render_faces(identity[k : k + 1], expression[k : k + 1], 32) for k in range(9)])
    assert (together == alone).all()


def test_labels_are_balanced_and_expressions_near_their_anchor():
    expression, label = sample_expressions(1200, 0)
    assert (np.bincount(label) == 100).all()
    means = np.stack([to_perceptual(expression[label == k]).mean(axis=0) for k in range(len(EXPRESSIONS))])
    nearest = np.linalg.norm(to_perceptual(expression)[:, None] - means, axis=-1).argmin(axis=1)
    assert (nearest == label).mean() > 0.75


def test_raters_without_noise_name_the_face_outside_the_closest_pair(monkeypatch):
    monkeypatch.setattr(annotators, "ANNOTATOR_NOISE", np.zeros(annotators.NUM_ANNOTATORS))
    seen = np.array([[0.0], [1.0], [5.0]])
    faces = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    answers = annotators.simulate_answers(seen, faces, np.random.default_rng(0))
    assert answers.tolist() == [[2] * 6, [0] * 6, [1] * 6]


def test_candidates_of_every_type_are_drawn_evenly():
    by_label = [np.arange(0, 3), np.arange(3, 7), np.arange(7, 15)]
    label = np.repeat([0, 1, 2], [3, 4, 8])
    for kind in TripletType:
        faces = annotators._sample_candidates(by_label, kind, 3000, np.random.default_rng(0))
        assert (np.sort(faces, axis=1)[:, :-1] < np.sort(faces, axis=1)[:, 1:]).all()
        assert all(len(set(row)) == kind + 1 for row in label[faces].tolist())
        # Labels are equally frequent, so faces of small labels come up more often.
        share = np.bincount(label[faces].flat) / faces.size
        assert np.abs(share - 1 / 3).max() < 0.03


def test_a_crowd_of_twelve_raters_judges_the_training_triplets_alone(tmp_path):
    """Their errors are as large as recorded, copies equal what they copy; val and test are true; the faces stay."""
    prepare_synthetic(tmp_path / "crowd", crowd=True, **SMALL | {"num_train_triplets": 3000})
    prepare_synthetic(tmp_path / "plain", **SMALL | {"num_train_triplets": 3000})
    crowd, plain = (tmp_path / name for name in ("crowd", "plain"))
    assert verify_dataset(crowd).faults == []
    assert np.array_equal(np.load(crowd / "faces.npy"), np.load(plain / "faces.npy"))
    dataset = PackedDataset(crowd)
    perceptual, error_R = dataset.array("expression"), dataset.array("rater_error")
    assert error_R.shape == (12,)
    for split in ("val", "test"):
        table = dataset.triplets(split)
        assert not table.votes_T3.any()
        assert np.array_equal(table.odd_T, annotators.true_odd(perceptual, table.faces_T3))
    answers, table = read_rater_answers(dataset, "train"), dataset.triplets("train")
    assert (np.diff(answers.offset) == 3).all() and (table.votes_T3.max(axis=1) >= 2).all()
    assert dataset.coverage["triplets"]["dropped"]["tie"] == 3000 - len(table) > 100
    wrong_A = annotators.true_odd(perceptual, table.faces_T3)[answers.triplet_A] != answers.choice_A
    by_rater = np.bincount(answers.rater_A, wrong_A) / answers.answers_R
    assert np.corrcoef(by_rater, error_R)[0, 1] > 0.97  # of the kept triplets: somewhat lower
    choice_TR = np.full((len(table), 12), -1)
    choice_TR[answers.triplet_A, answers.rater_A] = answers.choice_A
    for copy, of in ((10, 8), (11, 4)):
        both = (choice_TR[:, copy] >= 0) & (choice_TR[:, of] >= 0)
        assert both.sum() > 50 and (choice_TR[both, copy] == choice_TR[both, of]).all()
