"""Labels of lists as indices of classes: published sets, and sets that a list itself holds."""

import pytest

from fecnet.prepare.labelled.class_labels import class_indices, free_classes, is_missing
from fecnet.prepare.labelled.fer2013 import FER_CLASSES
from fecnet.utils.errors import DataError


@pytest.mark.parametrize(
    ("written", "indices"),
    [
        (["0", "3.0", "6", "9", "-1", "", "nan"], {"0": 0, "3.0": 3, "6": 6}),
        (["1", "7.0", "3"], {"1": 0, "7.0": 6, "3": 2}),  # counted from 1
        (["Anger", "HAPPY", "fearful", "sadness"], {"Anger": 0, "HAPPY": 3, "fearful": 2, "sadness": 4}),
        (["2", "disgusted"], {"2": 2, "disgusted": 1}),
    ],
)
def test_labels_of_a_published_set(written, indices):
    assert class_indices(written, FER_CLASSES, "list") == indices


def test_unknown_words_are_listed():
    with pytest.raises(DataError, match=r"^list: unknown labels 'bored', 'contempt'; allowed: angry, .*, or 0 to 6$"):
        class_indices(["contempt", "happy", "bored"], FER_CLASSES, "list")
    with pytest.raises(DataError, match=r"'3\.5'"):
        class_indices(["3.5"], FER_CLASSES, "list")


def test_counting_from_both_is_refused():
    with pytest.raises(DataError, match="labels 0 and 7"):
        class_indices(["0", "7"], FER_CLASSES, "list")


def test_numbers_keep_their_order_and_their_value():
    classes, index = free_classes(["10", "9.0", "9", "-1"], "list")
    assert classes == ("-1", "9", "10")
    assert index == {"-1": 0, "9": 1, "9.0": 1, "10": 2}


def test_forms_of_a_class_become_one_and_it_is_said(capsys):
    classes, index = free_classes(["happy", "Happiness", "HAPPY", "Sad", "smile", "Smile"], "list")
    assert classes == ("Sad", "happiness", "smile")  # one form keeps its name
    assert [classes[index[text]] for text in ("HAPPY", "Sad", "Smile")] == ["happiness", "Sad", "smile"]
    told = capsys.readouterr().out
    assert "list: labels 'HAPPY', 'Happiness', 'happy' are read as class happiness" in told
    assert "list: labels 'Smile', 'smile' are read as class smile" in told


def test_numbers_beside_expressions_are_refused():
    with pytest.raises(DataError, match=r"list: labels '0', '3.0' beside 'happy'; allowed: numbers, or words"):
        free_classes(["3.0", "0", "happy"], "list")
    with pytest.raises(DataError, match=r"list: labels '1', '10' beside 'other'; allowed"):
        free_classes(["10", "1", "other"], "list")


def test_numbers_that_are_not_whole_are_no_classes():
    with pytest.raises(DataError, match=r"list: labels '-\.5', '0,25', '1{20}'; allowed: whole numbers, or words"):
        free_classes(["1" * 20, "0,25", "-.5", "2"], "list")


def test_words_that_begin_with_numbers_are_in_their_order():
    assert free_classes(["10_x", "2_y", "1_z"], "list")[0] == ("1_z", "2_y", "10_x")
    assert free_classes(["10_x", "2_y", "z"], "list")[0] == ("10_x", "2_y", "z")


def test_what_tables_write_for_nothing():
    assert all(map(is_missing, ("", " ", "NaN", "NA", "N/A", "<NA>", "null", "#N/A")))
    assert not any(map(is_missing, ("None", "0", "neutral")))


def test_many_labels_take_no_time():
    assert len(free_classes([f"x{number / 7}" for number in range(20_000)], "list")[0]) == 20_000
