"""Determines the role of each level of a folder tree: split, subject, class, or none.

Level 0 are the folders directly below the source. The roles of all levels are written ``split/class``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from fecnet.prepare.labelled.labelled_source import ALL
from fecnet.prepare.labelled.picture_tree import Parts, PictureTree
from fecnet.prepare.labelled.split_words import name_words, says_nothing, split_name, split_names
from fecnet.utils.class_words import EXPRESSIONS, class_word
from fecnet.utils.errors import DataError

SPLIT, SUBJECT, CLASS, SKIPPED = ROLES = ("split", "subject", "class", "-")
Levels = tuple[str, ...]
UNKNOWN = "unknown"  # the split of a file outside of the folders of splits
_MOST_NAMES = 6  # maximum number of names of a level that a message shows


def parse_levels(text: str) -> Levels:
    """The levels of an option such as ``split/subject/class`` or ``-/class``.

    Raises:
        DataError: another word, a level twice, or no class.
    """
    levels = tuple(word.strip().lower() for word in text.strip().strip("/").split("/"))
    twice = any(levels.count(role) > 1 for role in (SPLIT, SUBJECT, CLASS))
    if not {*levels} <= {*ROLES} or twice or CLASS not in levels:
        allowed = "class once, split and subject at most once, - for a level to skip, such as split/subject/class"
        raise DataError(f"--levels {text}; allowed: {allowed}")
    return levels


def folder_word(parts: Parts, level: int) -> str:
    """The name of a folder without the name of its parent: ``aia/aia_anger`` is ``anger``."""
    name, above = parts[level], parts[level - 1] if level else ""
    inner = name[len(above) :].lstrip(" _-.")
    starts = (
        above and name.lower().startswith(above.lower()) and name[len(above) : len(above) + 1] in (" ", "_", "-", ".")
    )
    return inner if starts and inner else name


def folder_words(tree: PictureTree, level: int) -> list[str]:
    """The distinct words of the folders of a level that hold images, sorted."""
    return sorted({folder_word(parts, level) for parts in tree.pictures if len(parts) > level + 1})


def split_of(parts: Parts, levels: Levels, splits: Mapping[str, str]) -> str:
    """The split of a file; ``unknown`` where it is in no folder of a split."""
    if SPLIT not in levels:
        return ALL
    level = levels.index(SPLIT)
    return splits.get(parts[level], UNKNOWN) if level < len(parts) - 1 else UNKNOWN


def splits_of(tree: PictureTree, levels: Levels) -> dict[str, str]:
    """The split of each folder of the split level: by its words, or its own name where it has no word of a split.

    Raises:
        DataError: a name without such a word that is not allowed as a split, since splits become file names.
    """
    names = tree.names(levels.index(SPLIT)) if SPLIT in levels else []
    known = split_names(names)
    splits = {name: known.get(name) or split_name(name) or name for name in names}
    if bad := [name for name, split in splits.items() if not split.isidentifier()]:
        raise DataError(f"{tree.path}: split folders {_some(bad)}; allowed: letters, digits and underscores")
    return splits


def check_depth(tree: PictureTree, levels: Levels) -> None:
    """Check that at least one image is as deep as the levels.

    Raises:
        DataError: no image is.
    """
    if tree.depth() < len(levels):
        deepest = max(tree.pictures, key=len)
        raise DataError(f"{tree.path}: --levels {'/'.join(levels)}, but the deepest picture is {'/'.join(deepest)}")


def known_levels(tree: PictureTree, holds_classes: Callable[[Sequence[str]], bool], allowed: str) -> Levels:
    """The levels of a set whose classes are known.

    Args:
        tree: the images.
        holds_classes: whether folders of these names are the classes.
        allowed: the classes, for messages.

    Raises:
        DataError: no level has the classes, or the folders above it are not splits.
    """
    classes = next((level for level in range(tree.depth()) if holds_classes(folder_words(tree, level))), None)
    if classes is None:
        seen = _some(tree.names(0)) or "pictures without folders"
        raise DataError(f"{tree.path}: no folder is named after a class; seen: {seen}; allowed: {allowed}")
    for level in range(classes):
        names = tree.names(level)
        others = [name for name in names if name not in split_names(names)]
        if len(names) > 1 and others:
            raise DataError(f"{tree.path}: folders {_some(others)} name no split; allowed: train, val, test, fold_1, …")
    return _with_split(tree, classes, from_level=0)


def free_levels(tree: PictureTree) -> Levels:
    """The levels of a set of any classes.

    Raises:
        DataError: no folder can be a class, or the roles are ambiguous; the message has the option for each case.
    """
    start = _first_level(tree)
    found = [level for level in range(start, tree.depth()) if not _is_split(tree, level) and not _is_plain(tree, level)]
    if not found:
        names = [_some(tree.names(level)) for level in range(tree.depth())]
        seen = f"pictures in folders {', '.join(names)}, which name no class" if names else "pictures without folders"
        raise DataError(f"{tree.path}: {seen}; allowed: <class>/*.jpg or <split>/<class>/*.jpg")
    first, rest = found[0], found[1:]
    names = tree.names(first)
    _refuse_both_in_one(tree, names)
    plain = _with_split(tree, first, start)
    if split_names(names) or any(says_nothing(name) for name in names):  # splits or containers beside other names
        as_splits = [_levels({first: SPLIT, rest[0]: CLASS})] if rest and split_names(names) else []
        _refuse(tree, [plain, *([] if SPLIT in plain else as_splits)])
    if not _is_expressions(tree, first):
        expressions = next((level for level in rest if _is_expressions(tree, level)), None)
        if expressions is not None:
            other = dict(enumerate(_with_split(tree, expressions, start)))
            _refuse(tree, [_levels(other | ({first: SUBJECT} if other[first] == SKIPPED else {})), plain])
        if rest and not any(len(parts) == first + 2 for parts in tree.pictures):  # no images directly in these folders
            _refuse(tree, [plain, _with_split(tree, rest[0], start)])
    return plain


def _refuse_both_in_one(tree: PictureTree, names: Sequence[str]) -> None:
    """Refuse folders such as ``train_happy`` and ``test_happy``, which would become separate classes.

    Raises:
        DataError: all names begin or end with the word of a split, and have other words too.
    """
    for at in (0, -1):
        words = [name_words(name) for name in names]
        splits = {split_name(of[at]) for of in words if len(of) > 1}
        if (
            len(names) > 1
            and all(len(of) > 1 for of in words)
            and None not in splits
            and not all(map(split_name, names))
        ):
            raise DataError(
                f"{tree.path}: folders {_some(names)} name split and class in one; allowed: <split>/<class>"
            )


def _first_level(tree: PictureTree) -> int:
    """The first level below single folders that contain everything, as in unpacked archives."""
    level = 0
    while (
        len(tree.names(level)) == 1
        and not _is_split(tree, level)
        and not _is_expressions(tree, level)
        and all(len(parts) > level + 2 for parts in tree.pictures)
    ):
        level += 1
    return level


def _with_split(tree: PictureTree, classes: int, from_level: int) -> Levels:
    """The levels with the splits, if any, above or below the classes.

    Raises:
        DataError: two levels of splits that disagree; splits below the classes, but not for all images; or several
            folders above the classes, such as ``images`` and ``labels``, one of which has to be chosen.
    """
    for level in range(from_level, classes):
        if len(tree.names(level)) > 1 and _is_plain(tree, level):
            raise DataError(f"{tree.path}: pictures in {_some(tree.names(level))}; give the path of one of them")
    split_levels = [level for level in range(from_level, tree.depth()) if _is_split(tree, level) and level != classes]
    readings = [_levels({level: SPLIT, classes: CLASS}) for level in split_levels]
    if not readings:
        return _levels({classes: CLASS})
    first = split_levels[0]
    if first > classes and any(len(parts) < first + 2 for parts in tree.pictures):
        _refuse(tree, [readings[0], _levels({classes: CLASS})])
    for level, reading in zip(split_levels[1:], readings[1:], strict=True):
        if level < classes and not _agree(tree, first, level):
            _refuse(tree, [readings[0], reading])
    return readings[0]


def _agree(tree: PictureTree, *levels: int) -> bool:
    """Whether the levels name the same split for each image that is below all of them, as in ``Train/Train_Faces``."""
    splits = [split_names(tree.names(level)) for level in levels]
    deep = [parts for parts in tree.pictures if len(parts) > max(levels) + 1]
    return all(len({split[parts[level]] for split, level in zip(splits, levels, strict=True)}) == 1 for parts in deep)


def _levels(roles: dict[int, str]) -> Levels:
    return tuple(roles.get(level, SKIPPED) for level in range(max(roles) + 1))


def _is_split(tree: PictureTree, level: int) -> bool:
    names = tree.names(level)
    return len(split_names(names)) == len(names)


def _is_plain(tree: PictureTree, level: int) -> bool:
    return all(says_nothing(name) for name in tree.names(level))


def _is_expressions(tree: PictureTree, level: int) -> bool:
    return all(class_word(word) in EXPRESSIONS for word in folder_words(tree, level))


def _refuse(tree: PictureTree, readings: Sequence[Levels]) -> NoReturn:
    """Raise an error that shows how each reading would interpret the folders."""
    shown = "; or ".join(f"--levels {'/'.join(levels)}: {describe(tree, levels)}" for levels in readings)
    number = "two readings" if len(readings) > 1 else "folders of splits or containers next to class folders"
    raise DataError(f"{tree.path}: {number}; choose {shown}")


def describe(tree: PictureTree, levels: Levels) -> str:
    """The names of the folders of each role."""
    return ", ".join(f"{role} {_some(tree.names(at))}" for at, role in enumerate(levels) if role != SKIPPED)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return " ".join(names[:_MOST_NAMES]) + more
