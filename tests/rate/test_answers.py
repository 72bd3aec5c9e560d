"""Tasks and answers: who is asked what, an answer counts once, and what is given, excluded or left is kept track of."""

import itertools

import numpy as np
import pytest

from fecnet.rate import tasks
from fecnet.rate.answers import AnswerConflict, AnswerRefused, GivenAnswer, take_answer
from fecnet.rate.raters import exclude, find_rater, hash_token, invite, is_open_link, open_link
from fecnet.rate.rounds import more_triplets
from fecnet.rate.tasks import progress_of, tasks_from
from fecnet.rate.votes import read_votes
from fecnet.utils.errors import DataError, UserError
from tests.rate.studies import answer_all, check_counts, first_face, invited, key, make_study, write_classes


@pytest.fixture
def study(tmp_path):
    with make_study(tmp_path, triplets=20) as made:
        yield made


ROUNDS = "SELECT round FROM tasks JOIN triplets ON triplets.id = triplet WHERE rater = ? ORDER BY number"


def count(study, what="answers WHERE replaced_at IS NULL"):
    return study.rows(f"SELECT count(*) FROM {what}")[0][0]


def first_task(study, rater):
    return tasks_from(study, rater.id)[0]


def test_each_triplet_gets_as_many_answers_as_it_wants(study):
    raters = invited(study, 5)
    while sum(answer_all(study, rater, limit=1) for rater in raters):  # in turn
        check_counts(study)
    assert count(study) == 60
    assert set(read_votes(study).votes_T3.sum(axis=1)) == {3}
    check_counts(study)
    per_rater = "SELECT count(*), count(DISTINCT triplet) FROM tasks GROUP BY rater"
    assert all(tasks == triplets for tasks, triplets in map(tuple, study.rows(per_rater)))


def test_the_votes_are_for_the_faces_chosen(study):
    for rater in invited(study, 3):
        answer_all(study, rater)
    votes = read_votes(study)
    assert votes.votes_T3.tolist() == [[3, 0, 0]] * 20  # all chose the face with the lowest number
    assert (np.diff(votes.faces_T3, axis=1) > 0).all()


def test_the_order_of_the_faces_is_random_per_rater_and_stays(study):
    one, other = invited(study, 2)
    first = tasks_from(study, one.id)
    assert first == tasks_from(study, one.id)
    tasks_from(study, other.id)
    rows = study.rows("SELECT x.shown, y.shown FROM tasks x JOIN tasks y USING (triplet) WHERE x.rater < y.rater")
    assert len(rows) == 10  # what one has begun the other is asked first
    assert sum(a != b for a, b in rows) >= 1
    orders = [tasks.shown_order(0, rater, triplet, 0) for rater in range(60) for triplet in range(60)]
    counts = [orders.count(order) for order in map("".join, itertools.permutations("012"))]
    assert sum(counts) == 3600 and min(counts) > 500


def test_the_same_key_is_stored_once(study):
    (rater,) = invited(study)
    task = first_task(study, rater)
    given = GivenAnswer(task.number, key(), 2, 1.25)
    assert take_answer(study, rater, given) == take_answer(study, rater, given)
    assert count(study, "answers") == 1
    with pytest.raises(AnswerConflict, match="key: that of another answer"):
        take_answer(study, rater, GivenAnswer(task.number, given.key, 0, 1.25))


def test_an_answer_is_changed_only_by_one_who_has_seen_it(study):
    (rater,) = invited(study)
    task = first_task(study, rater)
    first = take_answer(study, rater, GivenAnswer(task.number, key(), 2, 1.0))
    with pytest.raises(AnswerConflict, match="answered already, in another window") as raised:
        take_answer(study, rater, GivenAnswer(task.number, key(), 0, 1.0))
    assert raised.value.answer == first
    take_answer(study, rater, GivenAnswer(task.number, key(), 0, 1.0, replaces=first))
    assert (count(study, "answers"), count(study)) == (2, 1)
    (shown,) = tasks_from(study, rater.id, task.number)[:1]
    assert shown.place == 0


def test_cannot_tell_is_an_answer_without_a_vote(study):
    (rater,) = invited(study)
    answer_all(study, rater, lambda faces: None)
    votes = read_votes(study)
    assert votes.votes_T3.tolist() == [[0, 0, 0]] * 20
    assert progress_of(study, rater.id) == tasks.Progress(20, 20)


@pytest.mark.parametrize(
    "fault",
    [
        {"number": 0},
        {"number": True},
        {"number": 1.0},
        {"number": 1 << 70},
        {"key": "short"},
        {"key": "a" * 65},
        {"key": "a b c d e f"},
        {"key": None},
        {"place": 3},
        {"place": -1},
        {"place": "0"},
        {"place": True},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": "1"},
        {"seconds": 1e9},
        {"replaces": "x"},
    ],
)
def test_what_is_no_answer_is_refused(fault):
    with pytest.raises(UserError):
        GivenAnswer(**({"number": 1, "key": "12345678", "place": 1, "seconds": 1.0} | fault))


def test_tasks_of_others_are_not_there(study):
    one, other = invited(study, 2)
    task = first_task(study, one)
    with pytest.raises(UserError, match="no such task of this rater"):
        take_answer(study, other, GivenAnswer(task.number, key(), 1, 1.0))


def test_nothing_is_taken_while_the_study_is_stopped(study):
    (rater,) = invited(study)
    task = first_task(study, rater)
    study.set(stopped=True)
    with pytest.raises(AnswerRefused, match="the study is paused"):
        take_answer(study, rater, GivenAnswer(task.number, key(), 1, 1.0))
    (other,) = invited(study)
    assert tasks_from(study, other.id) == []
    study.set(stopped=False)
    take_answer(study, rater, GivenAnswer(task.number, key(), 1, 1.0))


def test_an_excluded_rater_does_not_count_and_others_are_asked(study):
    bad, *others = invited(study, 4)
    answer_all(study, bad)
    exclude(study, bad.id)
    exclude(study, bad.id)  # twice is once
    check_counts(study)
    with pytest.raises(AnswerRefused, match="no longer in use"):
        take_answer(study, bad, GivenAnswer(1, key(), 1, 1.0, replaces=1))
    assert sum(answer_all(study, rater) for rater in others) == 60
    assert count(study) == 80  # kept
    assert read_votes(study).votes_T3.sum() == 60
    exclude(study, bad.id, excluded=False)
    check_counts(study)
    assert read_votes(study).votes_T3.sum() == 80
    with pytest.raises(DataError, match="no rater 9"):
        exclude(study, 9)


def test_what_is_left_unanswered_is_asked_of_another(study, monkeypatch):
    lazy, *others = invited(study, 4)
    kept = tasks_from(study, lazy.id)
    for rater in others:
        answer_all(study, rater)
    assert count(study) == 50  # ten are still the lazy one's
    monkeypatch.setattr(tasks, "PATIENCE_S", -1.0)
    assert answer_all(study, others[0]) + answer_all(study, others[1]) + answer_all(study, others[2]) == 10
    check_counts(study)
    take_answer(study, lazy, GivenAnswer(kept[0].number, key(), 1, 1.0))  # comes after all
    check_counts(study)
    assert count(study) == 61


def test_a_limit_per_rater(tmp_path):
    with make_study(tmp_path, triplets=20, per_rater=7) as study:
        (rater,) = invited(study)
        assert progress_of(study, rater.id) == tasks.Progress(0, 7)
        assert answer_all(study, rater) == 7
        assert progress_of(study, rater.id) == tasks.Progress(7, 7)


def test_controls_come_in_between(tmp_path):
    source = write_classes(tmp_path / "classes", {"anger": 8, "happy": 8, "sad": 8})
    plan = {"strategy": "typed", "triplets": 60, "controls": 3, "control_every": 5}
    with make_study(tmp_path, source=source, **plan) as study:
        (rater,) = invited(study)
        assert answer_all(study, rater) == 60 + 14  # so many for sixty in between
        rows = study.rows(
            "SELECT number, again, known FROM tasks JOIN triplets ON triplets.id = triplet "
            "WHERE again = 1 OR known IS NOT NULL ORDER BY number"
        )
        assert [row["number"] for row in rows] == [*range(5, 75, 5)]
        assert sum(row["known"] is not None for row in rows) == 3
        repeats = study.rows(
            "SELECT x.number - y.number FROM tasks x JOIN tasks y USING (rater, triplet) WHERE x.again > y.again"
        )
        assert len(repeats) == 11 and min(row[0] for row in repeats) >= 8
        assert read_votes(study).votes_T3.sum() == 60  # controls are no votes
        check_counts(study)


def test_informative_triplets_are_asked_until_two_raters_agree(tmp_path):
    class Net:
        def check_output(self, name):
            pass

        def embed(self, items, **_):
            angle = np.linspace(0, 3, len(list(items)))
            return np.stack([np.cos(angle), np.sin(angle)], axis=1), ["ok"] * len(angle)

    with make_study(tmp_path, num_photos=9, triplets=12, strategy="informative", encoder=Net(), raters=5) as study:
        one, two, *others = invited(study, 7)
        answer_all(study, one)
        answer_all(study, two, lambda faces: first_face(faces) if min(faces) > 1 else faces.index(max(faces)))
        votes = read_votes(study)
        split = {
            row for row, face in zip(votes.triplet_T.tolist(), votes.faces_T3[:, 0].tolist(), strict=True) if not face
        }
        assert split and len(split) < 12
        for rater in others:
            answer_all(study, rater)
        votes = read_votes(study)
        for triplet, votes_3 in zip(votes.triplet_T.tolist(), votes.votes_T3.tolist(), strict=True):
            assert votes_3 == ([2, 0, 1] if triplet in split else [2, 0, 0])
        check_counts(study)


def test_a_new_round_is_asked_first(study):
    (rater,) = invited(study)
    answer_all(study, rater, limit=10)
    more_triplets(study, 5, strategy="random")
    answer_all(study, rater, limit=10)  # five of the first round were given already
    asked = [
        row[0] for row in study.rows("SELECT round FROM tasks JOIN triplets ON triplets.id = triplet ORDER BY number")
    ]
    assert asked[10:15] == [2] * 5 or asked[:20].count(2) == 5


def test_tokens_are_stored_as_hashes_only(study):
    (rater, token), (_, other) = invite(study, 2)
    assert find_rater(study, token) == rater and token != other
    assert find_rater(study, token[:-1]) is None and find_rater(study, "") is None
    stored = study.rows("SELECT token_hash FROM raters WHERE id = ?", rater.id)[0][0]
    assert stored == hash_token(token) and token.encode() not in (study.path / "study.db").read_bytes()
    first = open_link(study)
    second = open_link(study)
    assert is_open_link(study, second) and not is_open_link(study, first) and not is_open_link(study, "")
    with pytest.raises(DataError, match="0 raters; allowed: 1 to 10,000"):
        invite(study, 0)
