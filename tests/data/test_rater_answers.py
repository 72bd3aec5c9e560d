"""Answers of raters: read from a packed set, gathered for some triplets, told and refused in one line."""

import json

import numpy as np
import pytest

from fecnet.cli import main as cli
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_answers import answer_notes, read_rater_answers
from fecnet.utils.errors import DataError
from tests.data.sets import change_arrays, put, write_whole

ANSWERS = ("answer_offset", "annotator", "answer")


@pytest.fixture
def whole(tmp_path):
    return write_whole(tmp_path / "set")


@pytest.fixture
def file(whole):
    return whole / "triplets" / "train.npz"


def answers_of(file):
    return read_rater_answers(PackedDataset(file.parents[1]), "train")


def test_answers_of_some_triplets_stand_in_their_order(file):
    # three answers each, but one for triplet 1, none for triplet 2
    change_arrays(
        file,
        answer_offset=lambda offset: np.array([0, 3, 4, 4, 7, 10, 13, 16, 19, 22]),
        annotator=lambda array: np.r_[[5, 7, 9], [7], np.tile([5, 7, 9], 6)],
        answer=lambda array: np.r_[[0, 1, 2], [2], np.tile([1, 1, 0], 6)].astype(np.int8),
        votes=lambda votes: np.array([[1, 1, 1], [0, 0, 1], [0, 0, 0], *[[1, 2, 0]] * 6]),
        odd=lambda odd: np.array([0, 2, 0, 1, 1, 1, 1, 1, 0]),
    )
    answers = answers_of(file)
    assert answers.number_R.tolist() == [5, 7, 9] and answers.answers_R.tolist() == [7, 8, 7]
    found = answers.of_triplets(np.array([3, 2, 1, 0]))
    assert found.triplet_P.tolist() == [0, 0, 0, 2, 3, 3, 3]
    assert found.rater_P.tolist() == [0, 1, 2, 1, 0, 1, 2]
    assert found.choice_P.tolist() == [1, 1, 0, 2, 0, 1, 2]
    assert answer_notes(answers) == [
        "1 triplets without an answer",
        "1 triplets whose answers contradict 'odd': another face has more",
    ]


def test_raters_of_one_answer_unknown_and_repeated_ones_are_told(file):
    annotator = np.tile([0, 1, 2], 9)
    annotator[:8] = [-1, -1, 3, 0, 0, 2, 0, -1]  # rater 3 answers once, rater 0 triplet 1 twice
    change_arrays(file, annotator=lambda _: annotator)
    answers = answers_of(file)
    assert answers.names == ["unknown", "rater 0", "rater 1", "rater 2", "rater 3"] and answers.unknown == 0
    assert answers.answers_R.tolist() == [5, 7, 6, 8, 1]
    assert [note for note in answer_notes(answers) if "odd" not in note] == [
        "2 answers of raters who answer a triplet twice, which count as anonymous",
        "1 raters with one answer, whose reliability cannot be estimated",
        "5 anonymous answers, which count as one unknown rater",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict.fromkeys(ANSWERS), "no answers of single raters, at most their votes; allowed: a split with answer_off"),
        ({"annotator": None}, "lacks annotator; allowed: all of answer_offset, annotator, answer, or none"),
        (
            {
                "answer_offset": lambda offset: np.arange(10),
                "annotator": lambda array: np.full(9, 4),
                "answer": lambda array: (np.arange(9) % 3).astype(np.int8),
                "votes": lambda votes: np.tile(np.eye(3, dtype=np.uint8), (3, 1)),
            },
            "all 9 answers are of rater 4; allowed: two raters or more",
        ),
        ({"annotator": lambda array: array * 0 - 1}, "all 27 answers are of unknown raters; allowed: two raters"),
        ({"annotator": lambda array: np.arange(27)}, "none of 27 raters answers twice; allowed: two answers or more"),
        ({"annotator": put(0, -2)}, "'annotator' holds -2; allowed: 0 or more, or -1 for unknown raters"),
        ({"votes": put(0, [0, 0, 9])}, r"triplet 0: votes \[0, 0, 9\], answers .*; allowed: the same"),
        (
            {
                "answer": lambda array: np.tile(np.array([0, 1, 1], np.int8), 9),
                "votes": lambda votes: np.tile([1, 2, 0], (9, 1)),
            },
            r"none of 27 answers is face 3 of its triplet; allowed: answers to which of three faces is the odd one",
        ),
    ],
)
def test_what_says_nothing_of_raters_is_refused(file, changes, said, capsys):
    change_arrays(file, **changes)
    with pytest.raises(DataError, match=rf"train\.npz: {said}"):
        answers_of(file)
    assert cli.main(["data", "raters", str(file.parents[1])]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_split_that_is_not_there(whole, capsys):
    assert cli.main(["data", "raters", str(whole), "--split", "val"]) == 2
    assert "no triplet split 'val'; there are: test, train" in capsys.readouterr().err


def test_the_command_prints_writes_and_draws(file, tmp_path, capsys):
    whole = file.parents[1]
    change_arrays(file, annotator=put(0, 3))
    plot, target = tmp_path / "plots" / "raters.png", tmp_path / "raters.json"
    assert cli.main(["data", "raters", str(whole), "--plot", str(plot), "--json", str(target)]) == 0
    first, warning, _, header, *rows = capsys.readouterr().out.splitlines()
    assert first == f"{whole}, train: 27 answers to 9 triplets"
    assert warning == "WARNING: 1 raters with one answer, whose reliability cannot be estimated"
    assert header.split() == ["rater", "answers", "agreement", "reliability"]
    assert sorted(row[:7] for row in rows) == ["rater 0", "rater 1", "rater 2", "rater 3"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    found = json.loads(target.read_text())
    assert found["answers"] == 27 and found["notes"] == [warning.removeprefix("WARNING: ")]
    assert [(row["name"], row["answers"], row["ability"]) for row in found["raters"]] == [
        *(("rater 0", 8, None), ("rater 1", 9, None), ("rater 2", 9, None), ("rater 3", 1, None))
    ]
    assert cli.main(["data", "raters", str(whole), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == found
