"""The names of expression classes: one table of synonyms for all readers, since data sets name classes differently."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Names of each class; the first is the one that fecnet uses. No numbers: their meaning depends on the data set.
_FORMS = (
    ("neutral", "neutrality", "no expression"),
    ("anger", "angry"),
    ("contempt", "contemptuous"),
    ("disgust", "disgusted"),
    ("fear", "fearful", "afraid", "scared"),
    ("happiness", "happy", "joy", "joyful"),
    ("sadness", "sad"),
    ("surprise", "surprised"),
)
EXPRESSIONS = tuple(forms[0] for forms in _FORMS)
_CLASS_OF = {form: forms[0] for forms in _FORMS for form in forms}
_NUMBERED = re.compile(r"^\d+[ _.-]+|[ _.-]+\d+$")  # 0_angry, 03-fear, happy_2


def class_word(text: str) -> str:
    """The standard name of an expression class (``Angry``, ``0_angry`` → ``anger``); other text is only normalised."""
    word = " ".join(text.strip().lower().replace("_", " ").replace("-", " ").split())
    bare = _NUMBERED.sub("", text.strip().lower())
    return _CLASS_OF.get(word) or _CLASS_OF.get(bare) or word


def find_class(text: str, classes: Sequence[str]) -> int | None:
    """Index of the class that ``text`` names, by any of its synonyms in any case; None if it names none."""
    words, word = [class_word(name) for name in classes], class_word(text)
    return words.index(word) if word in words else None


def unknown_words(texts: Iterable[str], classes: Sequence[str]) -> list[str]:
    """The distinct texts that name none of ``classes``, sorted."""
    return sorted({text for text in texts if find_class(text, classes) is None})
