"""An answer does not depend on the order of rows, of faces inside a triplet or a photo, of raters, or of batches."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fecnet.data.folds import FoldRule, fold_tests
from fecnet.data.label_splits import held_out
from fecnet.data.labels import LabelTable
from fecnet.data.samplers import TripletSampler
from fecnet.data.sharing import order_by_shared_face
from fecnet.evaluation.triplet_accuracy import is_correct, triplet_accuracy
from fecnet.export.agreement import prediction_agreement
from fecnet.faces.detections import choose_face, detections
from fecnet.modeling.criterion.triplet import triplet_loss
from fecnet.prepare.annotations import read_annotations
from fecnet.prepare.votes import odd_and_gap
from fecnet.structures import odd_faces, opposite_distances

SEEDS = st.integers(0, 9999)
few = settings(max_examples=15, deadline=None)


def triplets(rng, num, num_faces):
    return np.stack([rng.permutation(num_faces)[:3] for _ in range(num)])


@few
@given(seed=SEEDS)
def test_faces_inside_a_triplet(seed):
    """Copies and ties among them: accuracy, loss, the odd one and its gap follow the faces, not their places."""
    rng = np.random.default_rng(seed)
    emb = rng.integers(0, 2, (12, 5)).astype(np.float32) + rng.choice([0, 1e-6], (12, 1)).astype(np.float32)
    faces, odd = triplets(rng, 40, 12), rng.integers(0, 3, 40)
    turn = np.stack([rng.permutation(3) for _ in range(40)])
    turned, odd_turned = np.take_along_axis(faces, turn, 1), (turn == odd[:, None]).argmax(1)
    embedding = torch.from_numpy(emb)
    both = ((faces, odd), (turned, odd_turned))
    each, other = (is_correct(opposite_distances(embedding[f]), torch.from_numpy(o)) for f, o in both)
    assert torch.equal(each, other)
    losses = [triplet_loss(embedding[f], torch.from_numpy(o), torch.full((40,), 0.2)) for f, o in both]
    torch.testing.assert_close(*losses)
    guess, guess_turned = (odd_faces(opposite_distances(embedding[f])).numpy() for f in (faces, turned))
    assert np.array_equal(
        guess, np.where(guess_turned < 0, -1, np.take_along_axis(turn, guess_turned[:, None], 1)[:, 0])
    )
    noisy = {"embedding": emb + rng.choice([0, 1], (12, 5)).astype(np.float32)}
    same = [prediction_agreement({"embedding": emb}, noisy, f)["triplets"].same for f in (faces, turned)]
    assert same[0] == same[1]
    share = rng.dirichlet(np.ones(4), 12).round(1)
    (odd_T, gap), (odd_t, gap_t) = (odd_and_gap(share[f]) for f in (faces, turned))
    assert np.allclose(gap, gap_t)
    clear = gap > 0
    assert np.array_equal(odd_T[clear], np.take_along_axis(turn, odd_t[:, None], 1)[clear, 0])
    assert np.array_equal(order_by_shared_face(faces, seed), order_by_shared_face(turned, seed))


@few
@given(seed=SEEDS)
def test_rows_of_triplets(seed):
    rng = np.random.default_rng(seed)
    emb = torch.from_numpy(rng.integers(0, 2, (12, 5)).astype(np.float32))
    faces, odd, kind = triplets(rng, 30, 12), rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    order, rename = rng.permutation(30), rng.permutation(12)
    renamed = torch.empty_like(emb)
    renamed[rename] = emb
    assert triplet_accuracy(emb, faces, odd, kind) == triplet_accuracy(
        renamed, rename[faces][order], odd[order], kind[order]
    )


@few
@given(seed=SEEDS)
def test_batches_of_a_sampler(seed):
    """A batch is the same whichever batches were asked for before it, and whatever the faces' places in a triplet."""
    rng = np.random.default_rng(seed)
    kind, faces = rng.integers(0, 3, 60), triplets(rng, 60, 20)
    options = {"batch_size": 3, "seed": seed, "balance": False, "group_size": 4}
    one, other = (TripletSampler(kind, faces_T3=f, **options) for f in (faces, rng.permuted(faces, axis=1)))
    expected = {number: one.rows(number).tolist() for number in range(1, 100)}
    for number in rng.permutation(np.arange(1, 100)).tolist():
        assert other.rows(number).tolist() == expected[number]


@few
@given(seed=SEEDS)
def test_rows_of_folds(seed):
    """Files of one name in several folders too; a face without a label or a sequence is still the same face."""
    rng = np.random.default_rng(seed)
    records = [
        {
            "source": f"{n % 7}/{n // 7}.png",
            "subject": f"S{rng.integers(6)}",
            "sequence": rng.choice(["", f"q{n // 3}"]),
        }
        for n in range(35)
    ]
    label_N = rng.integers(-1, 3, 35)
    order = rng.permutation(35)

    def tested(order, by):
        table = LabelTable(("a", "b", "c"), np.arange(35), label_N[order])
        rows = [records[n] for n in order]
        if by == "held":
            tests_FM = held_out(table, 0.3, np.array([row["subject"] for row in rows]))[None]
        else:
            tests_FM = fold_tests(table, rows, FoldRule(by, 3, seed))
        return [{rows[m]["source"] for m in np.flatnonzero(test_M)} for test_M in tests_FM]

    for by in ("corrected", "subject", "held"):
        assert tested(np.arange(35), by) == tested(order, by), by


@few
@given(seed=SEEDS)
def test_faces_in_a_photo(seed):
    """Equal scores and equal sizes: the list, and the face that is chosen from it, are the same."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 4, (6, 2)) * 50
    boxes = np.unique(np.concatenate([corner, corner + 40 + 20 * rng.integers(0, 2, (6, 1))], 1), axis=0)
    scores, points = rng.choice([0.8, 0.9], len(boxes)), rng.random((len(boxes), 5, 2))
    order = rng.permutation(len(boxes))
    one, other = detections(boxes, scores, points), detections(boxes[order], scores[order], points[order])
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert choose_face(one) == choose_face(other)
    assert choose_face(one, boxes[0]) == choose_face(other, boxes[0])


def test_raters_and_their_answers(tmp_path):
    """An annotation with its raters in any order is kept or dropped alike, with the same votes."""
    rng = np.random.default_rng(0)
    faces = [f"http://h/{k}.jpg,0.1,0.9,0.1,0.9" for k in range(3)]
    answers = [rng.integers(1, 4, 6).tolist() for _ in range(40)]

    def read(name, turn):
        lines = []
        for row in answers:
            rated = [f"r{k},{answer}" for k, answer in enumerate(row)]
            lines.append(",".join([*faces, "ONE_CLASS_TRIPLET", *(rated[k] for k in turn)]))
        (tmp_path / name).write_text("\n".join(lines))
        return read_annotations({"train": tmp_path / name}, min_agreement=0.5, progress=False)["train"]

    one, other = read("one.csv", range(6)), read("other.csv", rng.permutation(6))
    for name in ("odd_T", "votes_T3", "line_T", "type_T"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert 0 < len(one.odd_T) < 40 and one.coverage["dropped"] == other.coverage["dropped"]
