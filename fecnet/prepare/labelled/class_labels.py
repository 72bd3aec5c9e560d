"""Converts the labels of a list, numbers or words, to class indices: of a published set, or of the classes found."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Sequence

import numpy as np

from fecnet.prepare.label_base import label_base
from fecnet.prepare.text_rows import whole_number
from fecnet.utils.class_words import class_word, find_class, unknown_words
from fecnet.utils.errors import DataError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

_MISSING = {"", "nan", "na", "n/a", "#n/a", "<na>", "null"}  # missing values of pandas, R, spreadsheets and databases
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def is_missing(text: str) -> bool:
    """Whether a field is empty or one of the usual words for a missing value."""
    return text.strip().lower() in _MISSING


def class_indices(written: Collection[str], classes: Sequence[str], name: str, *, published: int = 0) -> dict[str, int]:
    """Index of the class of each label of a published set; numbers out of range, and missing ones, are not in it.

    Args:
        written: the labels of all rows that are read together: numbers, also as decimals, or words in any form.
        classes: names in label order.
        name: name of the list, for messages.
        published: the number of the first class in the published list; see ``label_base``.

    Raises:
        DataError: a word is none of the classes, or the numbers may start at 0 as well as at 1.
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
    """The classes of a list, and the index of each label: numbers are sorted by value, words by name.

    Synonyms (``happy``, ``Happiness``) become one class under fecnet's name, which is logged; a class with one name
    keeps it. Words that all begin with a number (``0_angry``) are sorted by that.

    Raises:
        DataError: both numbers and words, whose correspondence is unknown; or numbers that are not whole.
    """
    numbers = {text: whole_number(text) for text in written}
    if written and None not in numbers.values():
        values = sorted({number for number in numbers.values() if number is not None})
        place = {value: index for index, value in enumerate(values)}
        return tuple(map(str, values)), {text: place[number] for text, number in numbers.items() if number is not None}
    named = sorted(text for text, number in numbers.items() if number is None)
    if broken := [text for text in named if _NUMBER.fullmatch(text.strip())]:
        raise DataError(f"{name}: labels {_some(broken)}; allowed: whole numbers, or words")
    if counted := sorted(numbers.keys() - {*named}):
        raise DataError(f"{name}: labels {_some(counted)} beside {_some(named)}; allowed: numbers, or words")
    words = {text: class_word(text) for text in named}
    forms: dict[str, list[str]] = {}
    for text in sorted(words):
        forms.setdefault(words[text], []).append(text)
    for word, texts in sorted(forms.items()):
        if len(texts) > 1:
            logger.info("%s: labels %s are read as class %s", name, _some(texts), word)
    names = {word: texts[0] if len(texts) == 1 else word for word, texts in forms.items()}
    classes = tuple(sorted(names.values(), key=_order(names.values())))
    index = {name: place for place, name in enumerate(classes)}
    return classes, {text: index[names[word]] for text, word in words.items()}


def empty_classes(classes: Sequence[str], label_M: np.ndarray) -> str:
    """The classes without a face, as a warning; an empty text where there are none.

    A net can neither learn such a class nor be evaluated on it.

    Args:
        classes: names in label order.
        label_M: the labels of a split, shape (M,).
    """
    counts_K = np.bincount(label_M, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts_K, strict=True) if not count]
    return f"no face of {', '.join(empty)}" if empty else ""


def _order(names: Collection[str]) -> Callable[[str], tuple[int, str]]:
    """The sorting key: the numbers at the beginning of the names, if all have one, else the names."""
    numbers = {name: found[0] for name in names if (found := re.match(r"\d{1,18}(?=[ _.-])", name))}
    whole = len(numbers) == len({*names})
    return lambda name: (int(numbers[name]) if whole else 0, name)


def _some(texts: Sequence[str]) -> str:
    """The first ten in quotes."""
    more = f" and {len(texts) - 10} more" if len(texts) > 10 else ""
    return ", ".join(shown(text, 60) for text in texts[:10]) + more
