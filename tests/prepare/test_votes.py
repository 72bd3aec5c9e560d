import math

import numpy as np
import pytest

from fecnet.prepare import votes
from fecnet.prepare.votes import odd_and_gap, pair_distances, split_half_agreement, vote_triplets
from fecnet.structures import TripletType

NAMES = {"ONE": TripletType.ONE_CLASS, "TWO": TripletType.TWO_CLASS, "THREE": TripletType.THREE_CLASS}


def vote_table(num_faces, num_classes=8, seed=0):
    """Ten votes per face around a main class, as raters give them."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(num_classes, 0.3), num_faces)
    return rng.multinomial(10, share)


def naive_distance(p, q):
    return sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(p, q, strict=True))


def naive_odd_and_gap(p0, p1, p2):
    """The face that is not in the closest pair; how far the second-closest pair is behind."""
    by_odd = [naive_distance(p1, p2), naive_distance(p0, p2), naive_distance(p0, p1)]
    first, second, _ = sorted(by_odd)
    return by_odd.index(first), second - first


def draw(num_triplets, num_faces=400, seed=3, **keywords):
    table = vote_table(num_faces)
    label_N = table.argmax(axis=1)
    rows_N = np.arange(num_faces) * 2 + 5  # rows of faces.npy are not the indices
    arrays, counts = vote_triplets(
        table / 10, label_N, rows_N, num_triplets=num_triplets, seed=seed, progress=False, **keywords
    )
    return table / 10, label_N, arrays, counts


def test_distance_by_hand():
    # a and b: (1 − 0.8)² + (0 − 0.6)² = 0.4;  a and c share nothing: 2;  b and c: 0.8² + 0.6² + 1 = 2
    a, b, c = (1, 0, 0), (0.64, 0.36, 0), (0, 0, 1)
    np.testing.assert_allclose(pair_distances(np.array([[a, b, c]])), [[2, 2, 0.4]])
    odd_T, gap_T = odd_and_gap(np.array([[a, b, c], [c, b, a], [a, c, b]]))
    assert odd_T.tolist() == [2, 0, 1]
    np.testing.assert_allclose(gap_T, 1.6)


def test_kept_triplets_equal_a_naive_loop():
    distribution, label_N, arrays, _ = draw(601)
    for faces, odd, kind in zip(arrays["faces_T3"], arrays["odd_T"], arrays["type_T"], strict=True):
        index = (faces - 5) // 2
        expected_odd, gap = naive_odd_and_gap(*distribution[index])
        assert odd == expected_odd
        assert gap > 0.25
        assert kind == len(set(label_N[index])) - 1
    assert not arrays["votes_T3"].any()


def test_equal_distances_are_a_tie_in_spite_of_rounding():
    # Three permutations of one distribution: equal on paper, summed in different orders.
    p = np.array([0.7, 0.2, 0.1])
    _, gap_T = odd_and_gap(np.array([[p, np.roll(p, 1), np.roll(p, 2)]]))
    assert gap_T.tolist() == [0.0]


@pytest.mark.parametrize(("t", "kept"), [(0.625, 0), (0.6249, 1)])
def test_a_gap_of_exactly_the_minimum_is_not_enough(t, kept):
    # distances 2 − 2·0.75 = 0.5, 2 − 2t = 0.75 at t = 0.625, 2 − 1.5t: the gap is 0.25, then a little more
    distribution = np.array([[1, 0, 0], [0.75**2, 1 - 0.75**2, 0], [t**2, 0, 1 - t**2]])
    label_N, rows_N = np.zeros(3, int), np.arange(3)
    arrays, counts = vote_triplets(distribution, label_N, rows_N, num_triplets=1, seed=0, progress=False)
    assert len(arrays["odd_T"]) == counts["ONE"]["kept"] == kept
    assert counts["ONE"]["small_gap"] == 1 - kept


def test_no_set_of_three_twice_and_no_face_twice_in_one():
    _, _, arrays, counts = draw(3000, num_faces=60)
    sorted_T3 = np.sort(arrays["faces_T3"], axis=1)
    assert (np.diff(sorted_T3, axis=1) > 0).all()
    assert len(np.unique(sorted_T3, axis=0)) == len(sorted_T3)
    assert sum(part["repeated"] for part in counts.values()) > 0  # the rule had something to do


def test_types_are_balanced_and_the_first_get_the_remainder():
    _, _, arrays, counts = draw(602)
    assert np.bincount(arrays["type_T"]).tolist() == [201, 201, 200]
    assert [part["wanted"] for part in counts.values()] == [201, 201, 200]


@pytest.mark.parametrize(("num_triplets", "num_faces"), [(601, 400), (5000, 40), (0, 40)])
def test_every_candidate_is_counted_once(num_triplets, num_faces):
    _, _, arrays, counts = draw(num_triplets, num_faces=num_faces)
    for name, part in counts.items():
        assert part["kept"] == (arrays["type_T"] == NAMES[name]).sum()
        assert part["candidates"] == sum(part[reason] for reason in ("kept", "repeated", "small_gap", "surplus"))
        assert part["short"] == part["wanted"] - part["kept"]


def test_all_triplets_of_few_faces_are_found_and_the_rest_reported_short():
    # Two faces per label: no one-class triplet; 2·2 + 2·2 sets of two labels, and no third label.
    distribution = np.array([[1, 0], [0.5, 0.5], [0, 1], [0.4, 0.6]])
    label_N, rows_N = np.array([0, 0, 1, 1]), np.arange(4)
    arrays, counts = vote_triplets(distribution, label_N, rows_N, num_triplets=60, seed=0, min_gap=-1, progress=False)
    assert [part["kept"] for part in counts.values()] == [0, 4, 0]
    assert [part["short"] for part in counts.values()] == [20, 16, 20]
    assert len(np.unique(np.sort(arrays["faces_T3"], axis=1), axis=0)) == 4


def test_the_seed_decides():
    first, same, other = (draw(300, seed=seed)[2] for seed in (3, 3, 4))
    for name, array in first.items():
        np.testing.assert_array_equal(array, same[name])
    assert (first["faces_T3"] != other["faces_T3"]).any()


def test_the_odd_face_is_in_no_favoured_place():
    _, _, arrays, _ = draw(3000)
    assert (np.abs(np.bincount(arrays["odd_T"], minlength=3) / 3000 - 1 / 3) < 0.05).all()


def test_rare_labels_appear_by_the_square_root_of_their_number():
    count_K = np.array([900, 100, 0])
    drawn_C3 = votes._sample_labels(count_K, TripletType.ONE_CLASS, 20_000, np.random.default_rng(0))
    share_K = np.bincount(drawn_C3[:, 0], minlength=3) / 20_000
    np.testing.assert_allclose(share_K, [0.75, 0.25, 0], atol=0.02)  # 30 : 10 : 0


def test_halves_add_up_and_are_fair():
    table = np.array([[10, 0, 0], [5, 4, 0], [2, 0, 6]]).repeat(4000, axis=0)
    half, rest = votes._halve(table, np.random.default_rng(0))
    np.testing.assert_array_equal(half + rest, table)
    assert (half >= 0).all() and (rest >= 0).all()
    np.testing.assert_array_equal(half.sum(axis=1), table.sum(axis=1) // 2)
    expected = table[::4000] * np.array([[5 / 10], [4 / 9], [4 / 8]])  # drawn without replacement: n // 2 of n
    np.testing.assert_allclose(half.reshape(3, 4000, 3).mean(axis=1), expected, atol=0.05)


def test_split_half_agreement_equals_a_naive_loop(monkeypatch):
    table = vote_table(30, num_classes=4)
    rng = np.random.default_rng(1)
    faces_T3 = np.stack([rng.permutation(30)[:3] for _ in range(200)])
    odd_T, type_T = rng.integers(3, size=200), rng.integers(3, size=200)
    halves = [votes._halve(table, np.random.default_rng(seed)) for seed in range(4)]
    remaining = iter(halves)
    monkeypatch.setattr(votes, "_halve", lambda table, rng: next(remaining))
    found = split_half_agreement(table, faces_T3, odd_T, type_T, seed=0, repeats=4, progress=False)

    expected = {name: dict.fromkeys(("correct", "counted", "no_answer", "matches_all_votes"), 0) for name in found}
    for predictor, judge in halves:
        for faces, odd, kind in zip(faces_T3, odd_T, type_T, strict=True):
            guess, guess_gap = naive_odd_and_gap(*(predictor[face] / predictor[face].sum() for face in faces))
            truth, truth_gap = naive_odd_and_gap(*(judge[face] / judge[face].sum() for face in faces))
            for part in (expected[list(NAMES)[kind]], expected["ALL"]):
                part["counted"] += truth_gap > 1e-9
                part["no_answer"] += truth_gap <= 1e-9
                part["correct"] += truth_gap > 1e-9 and guess_gap > 1e-9 and guess == truth
                part["matches_all_votes"] += guess_gap > 1e-9 and guess == odd
    for name, part in expected.items():
        percent = found[name].pop("percent")
        assert found[name] == part
        assert percent == round(100 * part["correct"] / part["counted"], 2)


def test_unanimous_raters_agree_fully():
    table = np.eye(3, dtype=np.int64)[[0, 0, 1, 1, 2, 2]] * 10
    faces_T3 = np.array([[0, 1, 2], [3, 4, 5], [2, 0, 3], [0, 2, 4]])  # the last ties: nobody answers
    found = split_half_agreement(
        table, faces_T3, np.array([2, 0, 1, 0]), np.array([1, 1, 1, 2]), seed=0, repeats=5, progress=False
    )
    assert found["TWO"] == {"percent": 100.0, "correct": 15, "counted": 15, "no_answer": 0, "matches_all_votes": 15}
    assert found["THREE"] == {"percent": None, "correct": 0, "counted": 0, "no_answer": 5, "matches_all_votes": 0}
    assert found["ALL"] == {"percent": 100.0, "correct": 15, "counted": 15, "no_answer": 5, "matches_all_votes": 15}
