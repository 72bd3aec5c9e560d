"""The labels of a list, numbers or words, as indices of classes: of a published set, or of those that a list holds."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from fecnet.prepare.label_base import label_base
from fecnet.prepare.text_rows import whole_number
from fecnet.utils.class_words import EXPRESSIONS, class_word, find_class, unknown_words
from fecnet.utils.errors import DataError

logger = logging.getLogger(__name__)


def is_missing(text: str) -> bool:
    """Whether a field holds nothing; data-frame libraries also write ``nan``."""
    return text.strip().lower() in ("", "nan")


def class_indices(written: Collection[str], classes: Sequence[str], name: str, *, published: int = 0) -> dict[str, int]:
    """Index of the class of each label of a published set; numbers out of range, and missing ones, are not in it.

    Args:
        written: the labels of all rows that are read together: numbers, also as decimals, or words in any form.
        classes: in label order.
        name: of the list, for messages.
        published: the number of the first class in the published list; see ``label_base``.

    Raises:
        DataError: a word names none of the classes, or numbers count from both 0 and 1.
    """
    numbers = {text: whole_number(text) for text in written if not is_missing(text)}
    words = [text for text, number in numbers.items() if number is None]
    if unknown := unknown_words(words, classes):
        last = published + len(classes) - 1
        raise DataError(
            f"{name}: unknown labels {_some(unknown)}; allowed: {', '.join(classes)}, or {published} to {last}"
        )
    base = label_base(
        {number for number in numbers.values() if number is not None}, len(classes), name, published=published
    )
    found = {text: find_class(text, classes) if number is None else number - base for text, number in numbers.items()}
    return {text: index for text, index in found.items() if index is not None and 0 <= index < len(classes)}


def free_classes(written: Collection[str], name: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes that a list holds, and the index of each label: numbers by value, words by name.

    Several forms of one class (``happy``, ``Happiness``) become one class under our word, said in one line; a class in
    one form only keeps its name.

    Raises:
        DataError: numbers beside words of expressions: which number is which word is unknown.
    """
    numbers = {text: whole_number(text) for text in written}
    if written and None not in numbers.values():
        values = sorted({number for number in numbers.values() if number is not None})
        place = {value: index for index, value in enumerate(values)}
        return tuple(map(str, values)), {text: place[number] for text, number in numbers.items() if number is not None}
    words = {text: class_word(text) if number is None else str(number) for text, number in numbers.items()}
    counted = sorted(text for text, number in numbers.items() if number is not None)
    if counted and (named := sorted(text for text, word in words.items() if word in EXPRESSIONS)):
        raise DataError(f"{name}: labels {_some(counted)} beside {_some(named)}; allowed: numbers, or words")
    forms: dict[str, list[str]] = {}
    for text in sorted(words):
        forms.setdefault(words[text], []).append(text)
    for word, texts in sorted(forms.items()):
        if len(texts) > 1:
            logger.info("%s: labels %s are read as class %s", name, _some(texts), word)
    names = {word: texts[0] if len(texts) == 1 else word for word, texts in forms.items()}
    classes = tuple(sorted(names.values()))
    index = {name: place for place, name in enumerate(classes)}
    return classes, {text: index[names[word]] for text, word in words.items()}


def _some(texts: Sequence[str]) -> str:
    """The first ten in quotes."""
    more = f" and {len(texts) - 10} more" if len(texts) > 10 else ""
    return ", ".join(map(repr, texts[:10])) + more
