"""Whether neighbours are persons or expressions, on embeddings that are one, the other, or neither."""

import re

import numpy as np
import pytest

from fecnet.evaluation.identity_leak import Share, explain_leak, format_leak, identity_leak
from fecnet.evaluation.retrieval import retrieval

LABEL, PERSON = (part.ravel() for part in np.meshgrid(np.arange(5), np.arange(8).repeat(2)))  # 8 people, 5 classes


def leak_of(embedding, num=3):
    subject = np.array([f"S{k}" for k in PERSON])
    queries = np.arange(len(LABEL))
    found = retrieval(embedding.astype(np.float32), LABEL, tuple("abcde"), queries, num=num, subject_N=subject)
    return identity_leak(found.query_Q, found.alike_Q22, LABEL, subject)


def test_an_embedding_of_persons_leaks():
    leak = leak_of(np.eye(8)[PERSON] * 10)
    assert leak["subject"].percent == 100
    assert leak["subject"].chance == pytest.approx(100 * 9 / 79)
    assert leak["subject_in_other_classes"].percent == 100
    assert leak["subject_in_other_classes"].chance == pytest.approx(100 * 8 / 64)
    assert leak["class_of_others"].neighbours == 0 and leak["class_of_others"].percent is None


def test_an_embedding_of_expressions_does_not():
    rng = np.random.default_rng(0)
    leak = leak_of(np.eye(5)[LABEL] * 10 + 0.01 * rng.normal(size=(80, 5)))
    assert leak["class"].percent == 100 and leak["class"].chance == pytest.approx(100 * 15 / 79)
    assert leak["subject_in_class"].chance == pytest.approx(100 * 1 / 15)
    assert leak["subject_in_class"].times < 2
    assert leak["subject_in_other_classes"].neighbours == 0
    assert leak["class_of_others"].percent == 100


def test_chance_gives_chance():
    """Of noise every share is what chance gives, within what 80 × 40 neighbours allow."""
    leak = leak_of(np.random.default_rng(1).normal(size=(80, 6)), num=40)
    for share in leak.values():
        assert share.percent == pytest.approx(share.chance, rel=0.12)


def test_chance_weighs_faces_as_their_neighbours_were_counted():
    """Four faces by hand: a of person 1 twice, b of persons 1 and 2; one neighbour each."""
    label, person = np.array([0, 0, 1, 1]), np.array([1, 1, 1, 2])
    near = np.array([1, 2, 0, 2])
    alike = np.zeros((4, 2, 2))
    alike[np.arange(4), (label[near] == label).astype(int), (person[near] == person).astype(int)] = 1
    leak = identity_leak(np.arange(4), alike, label, person)
    assert leak["subject"].to_dict() == {
        "neighbours": 4,
        "percent": 75,
        "chance": pytest.approx(100 * (2 + 2 + 2 + 0) / 3 / 4),
        "times": pytest.approx(1.5),
    }
    # 0→1 and 3→2 have the same class; another person's are 0 of 1 for face 0 and 1 of 1 for face 3
    assert (leak["subject_in_class"].neighbours, leak["subject_in_class"].percent) == (2, 50)
    assert leak["subject_in_class"].chance == pytest.approx(100 * (1 + 0) / 2)
    # 1→2 and 2→0 have another class: person 1 has 1 of 2 such faces for face 1, and 2 of 2 for face 2
    assert leak["subject_in_other_classes"].percent == 100
    assert leak["subject_in_other_classes"].chance == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert re.search(r"^same subject +4 +75\.0 +50\.0 +1\.5$", format_leak(leak), re.MULTILINE)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (
            Share(40, 30.0, 10.0),
            "of the same subject 3.0 times as often as by chance: above 1, the embedding distinguishes people",
        ),
        (Share(40, 10.2, 10.0), "1.0 times as often as by chance: up to 1, the embedding does not show who"),
        (Share(40, 0.0, 10.0), "0.0 times as often as by chance: up to 1, the embedding does not show who"),
        (Share(0, None, None), "cannot be judged: no nearest face shows another expression"),
        (Share(40, 0.0, 0.0), "cannot be judged: no subject of these queries shows more than one expression"),
    ],
)
def test_a_sentence_says_what_the_shares_mean(share, said):
    assert said in explain_leak({"subject_in_other_classes": share})
