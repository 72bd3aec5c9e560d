"""Simulated raters: the rule of labels, and how many tasks they answer."""

import pytest

from fecnet.rate.simulated import answer_all, by_labels
from fecnet.utils.errors import DataError
from tests.rate.studies import invited, make_study, write_classes


@pytest.fixture
def study(tmp_path):
    source = write_classes(tmp_path / "classes", {"glad": 6, "cross": 6})
    with make_study(tmp_path, source=source, labelled=True, triplets=20) as study:
        yield study


def answers(study):
    """Label of the chosen face, and those of all three, of each answer."""
    rows = study.rows(
        "SELECT choice, fa.label AS a, fb.label AS b, fc.label AS c FROM answers JOIN tasks ON tasks.id = task "
        "JOIN triplets ON triplets.id = triplet JOIN faces fa ON fa.id = a JOIN faces fb ON fb.id = b "
        "JOIN faces fc ON fc.id = c"
    )
    return [((row["a"], row["b"], row["c"])[row["choice"]], [row["a"], row["b"], row["c"]]) for row in rows]


def test_the_face_of_another_class_is_the_odd_one(study):
    (rater,) = invited(study)
    assert answer_all(study, rater, by_labels(study, error=0.0, seed=0)) == 20
    assert answer_all(study, rater, by_labels(study, error=0.0, seed=0)) == 0
    mixed = [(chosen, labels) for chosen, labels in answers(study) if len({*labels}) == 2]
    assert mixed and all(labels.count(chosen) == 1 for chosen, labels in mixed)


def test_a_share_of_the_answers_is_at_random(study):
    for rater in invited(study, 3):
        answer_all(study, rater, by_labels(study, error=1.0, seed=rater.id))
    right = [labels.count(chosen) == 1 for chosen, labels in answers(study) if len({*labels}) == 2]
    assert 0.1 < sum(right) / len(right) < 0.6


def test_so_many_tasks_at_most(study):
    (rater,) = invited(study)
    assert answer_all(study, rater, lambda faces: None, most=7) == 7
    assert len(study.rows("SELECT 1 FROM answers WHERE choice IS NULL")) == 7


def test_faces_without_labels_are_refused(tmp_path):
    with make_study(tmp_path) as study, pytest.raises(DataError, match="without a label; allowed: "):
        by_labels(study, error=0.1, seed=0)
