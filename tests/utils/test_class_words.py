"""Forms of class words, and whole numbers as tables write them."""

import pytest

from fecnet.prepare.labelled.fer2013 import FER_CLASSES
from fecnet.prepare.text_rows import whole_number
from fecnet.utils.class_words import class_word, find_class, unknown_words


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *(("Angry", "anger"), ("ANGER", "anger"), (" fearful ", "fear"), ("0_angry", "anger"), ("03-Fear", "fear")),
        *(("happiness", "happiness"), ("Surprised", "surprise"), ("contemptuous", "contempt"), ("smile_2", "smile 2")),
        *(("3", "3"), ("No_Expression", "neutral"), ("disgusted", "disgust"), ("VERY-Happy", "very happy")),
    ],
)
def test_forms_of_a_word(text, word):
    assert class_word(text) == word


def test_classes_are_found_in_the_order_given():
    assert [find_class(word, FER_CLASSES) for word in ("anger", "Happiness", "fearful", "contempt")] == [0, 3, 2, None]
    assert unknown_words(["sadness", "bored", "contempt", "bored"], FER_CLASSES) == ["bored", "contempt"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("3", 3), ("3.0", 3), (" 7. ", 7), ("-2.00", -2), ("3.5", None), ("", None), ("nan", None), ("1e", None)),
        *(("1.000000000000000000e+00", 1), ("2,0", 2), ("2,000", None), ("2.5e0", None), ("1e300", None)),
    ],
)
def test_whole_numbers(text, number):
    assert whole_number(text) == number
