"""The measurement of raters at once: the server is killed, and what is lost, doubled or invented is seen."""

import pytest

from benchmarks import rate
from benchmarks.rate_learning import share_needed
from benchmarks.rate_load import Load
from fecnet.rate.answers import GivenAnswer, take_answer
from fecnet.rate.tasks import tasks_from
from tests.rate.studies import invited, make_study


def test_answers_survive_kills(tmp_path):
    kept = rate.measure_kills(tmp_path, 300, 2)
    assert kept["stored"] == kept["acknowledged"] >= 300
    assert {kept[name] for name in ("lost", "twice", "invented", "changed", "errors")} == {0}


def test_both_sides_are_measured_in_turns(tmp_path):
    speed = rate.measure_speed(tmp_path, 2, 60)
    assert speed["answers"] == 120
    assert speed["share_of_sqlite"] == pytest.approx(speed["answers_per_s"] / speed["sqlite_commits_per_s"], rel=0.1)
    assert 20 < speed["memory_mb_last"] < 200  # without torch


@pytest.mark.parametrize("fault", ["lost", "invented", "changed"])
def test_a_fault_is_seen(tmp_path, fault):
    with make_study(tmp_path, triplets=5) as study:
        (rater,) = invited(study)
        task = tasks_from(study, rater.id)[0]
        number = take_answer(study, rater, GivenAnswer(task.number, "key-of-it", 1, 1.0))
    load = Load(0, ["/r/x"], "name")
    told = load.raters[0]
    told.places, told.acknowledged = {"key-of-it": 1}, {"key-of-it": number}
    assert rate.compare(study.path, load)["stored"] == 1
    if fault == "lost":
        told.places["other-key"], told.acknowledged["other-key"] = 0, 2
    elif fault == "invented":
        told.places.clear()
        told.acknowledged.clear()
    else:
        told.places["key-of-it"] = 2
    with pytest.raises(SystemExit, match=f"'{fault}': 1"):
        rate.compare(study.path, load)


def test_the_share_of_answers_needed_by_hand():
    answers = (100, 200, 400)
    baseline = [[40.0, 50.0, 60.0]]
    assert share_needed(answers, baseline, baseline) == {"200": 1.0, "400": 1.0}
    # 50 is reached at 100 answers; 60 halfway from 100 to 200 on a logarithmic scale
    assert share_needed(answers, baseline, [[50.0, 70.0, 70.0]]) == {"200": 0.5, "400": 0.35}
    assert share_needed(answers, baseline, [[30.0, 45.0, 55.0]]) == {"200": 1.41, "400": None}
