"""The configuration: defaults, a YAML recipe and ``KEY VALUE`` overrides, merged, validated and frozen.

All errors are collected and raised in one ``ConfigError``, one line each for the first twenty, naming the file or
override, the key and the value.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from easydict import EasyDict

from fecnet.config.defaults import _C
from fecnet.config.yaml_text import parse_yaml, read_yaml
from fecnet.utils.errors import ConfigError
from fecnet.utils.shown import cut, shown


class _ReadOnly:
    """Makes the mutating methods of dict raise. Not in Frozen: EasyDict turns the methods of a subclass into keys."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the configuration is frozen; give the value in the recipe or as KEY VALUE")

    update = pop = setdefault = popitem = clear = __delitem__ = __delattr__ = __ior__ = _refuse


class Frozen(_ReadOnly, EasyDict):
    """A read-only ``EasyDict`` with keys as attributes."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            frozen = Frozen(value) if isinstance(value, Mapping) else value
            dict.__setitem__(self, key, frozen)
            object.__setattr__(self, key, frozen)

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse()

    def __setitem__(self, name: str, value: Any) -> None:
        self._refuse()


def load_config(
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    *,
    base_name: str = "base",
) -> Frozen:
    """Resolve the configuration.

    Args:
        path: a YAML recipe, or None for the defaults alone.
        overrides: ``KEY VALUE`` pairs in one flat list, such as ``["SOLVER.BASE_LR", "1e-3"]``; values are YAML.
        base: configuration merged into the defaults first, such as that of a resumed run; keys missing from an older
            one get their defaults.
        base_name: where ``base`` comes from, for error messages.

    Returns:
        The frozen configuration with every key.

    Raises:
        ConfigError: unreadable file, unknown keys, values of a wrong type; the first twenty errors, one line each.
    """
    values = plain(_C)
    problems: list[str] = []
    if base is not None:
        _merge(values, base, base_name, problems)
    if path is not None:
        _merge(values, _read(Path(path)), str(path), problems)
    if len(overrides) % 2:
        problems.append(f"override {shown(overrides[-1])}: no value follows; give KEY VALUE pairs")
    texts = {key for key, value in flatten(values) if isinstance(value, str)}
    for key, text in zip(overrides[::2], overrides[1::2], strict=False):
        _merge(values, _nested(key, text if key in texts else parse_yaml(text)), "override", problems)
    problems += [f"'{key}': {shown(value)}; allowed: {allowed}" for key, value, allowed in _out_of_range(values)]
    if problems:
        further = [f"and {len(problems) - _MOST_TOLD:,} further errors"] if len(problems) > _MOST_TOLD else []
        raise ConfigError("\n".join(problems[:_MOST_TOLD] + further))
    return Frozen(values)


def plain(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested dicts with copied lists, for YAML and for a checkpoint."""
    return {key: plain(value) if isinstance(value, Mapping) else copy.deepcopy(value) for key, value in cfg.items()}


def dump_config(cfg: Mapping[str, Any]) -> str:
    """The configuration as YAML text."""
    return yaml.safe_dump(plain(cfg), sort_keys=False)


def flatten(cfg: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values, in order."""
    for key, value in cfg.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


_WHOLE = 2**63  # what torch and numpy count with
_MOST_TOLD = 20  # errors that are shown
_LONGEST = 60  # characters of an unknown key that are compared with the known ones

# Ranges of the keys that no ``build.py`` validates.
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "NAME": (lambda value: Path(value).name == value, "one folder name"),
    "SEED": (lambda value: 0 <= value < 2**32, "0..4294967295"),
    "DATA.EVAL_SPLITS": (bool, "at least one split"),
    "DATA.REPORT_SPLITS": (bool, "at least one split"),
    "DATA.TRAIN_MIN_VOTE_SHARE": (lambda value: 0 <= value < 1, "0 or more, below 1"),
    "DATA.EVAL_MIN_VOTE_SHARE": (lambda value: 0 <= value < 1, "0 or more, below 1"),
    "DATA.HOLD_OUT": (lambda value: 0 <= value < 1, "0 or more, below 1"),
    "DATA.FOLD": (lambda value: value >= 0, "0 = none, or more"),
    "DATA.NUM_FOLDS": (lambda value: value >= 2, "2 or more"),
    "DATA.FOLD_SEED": (lambda value: value >= 0, "0 or more"),
    "DATA.EXTRA_LABELS": (lambda value: all(isinstance(item, str) for item in value), "names of label sets"),
    "DATA.TEACHERS": (lambda value: all(isinstance(item, str) for item in value), "runs or checkpoints"),
    "LOSS.EXTRA_WEIGHT": (lambda value: value >= 0, "0 or more"),
    "DATA.INPUT_SIZE": (lambda value: value >= 8, "8 or more pixels"),
    "MODEL.LAYER_CHANNELS": (
        lambda value: all(type(item) is int and item > 0 for item in value),
        "whole numbers above 0",
    ),
    "MODEL.PRETRAINED_PARTS": (lambda value: value in ("backbone", "all"), "backbone, all"),
    "EVAL.PERIOD": (lambda value: value >= 0, "0 = only at the end, or more"),
    "EVAL.BATCH_SIZE": (lambda value: value >= 1, "1 or more"),
    "CHECKPOINT.PERIOD": (lambda value: value >= 0, "0 = only at the end, or more"),
    "CHECKPOINT.KEEP": (lambda value: value >= 0, "0 = all, or more"),
    "LOG.PERIOD": (lambda value: value >= 1, "1 or more"),
}


def _out_of_range(values: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for key, value in flatten(values):
        if key in _RANGES and not _RANGES[key][0](value):
            yield key, value, _RANGES[key][1]
        elif isinstance(value, int) and abs(value) >= _WHOLE:
            yield key, value, "a whole number below 2^63"


def _read(path: Path) -> dict[str, Any]:
    loaded = read_yaml(path)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(loaded).__name__}")
    return loaded


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(values: dict[str, Any], new: Mapping[Any, Any], source: str, problems: list[str], prefix: str = "") -> None:
    for name, value in new.items():
        key = f"{prefix}{name}"
        if name not in values:
            near = _suggestion(key) if len(problems) < _MOST_TOLD else ""  # to look for one takes milliseconds
            problems.append(f"{source}: unknown key '{cut(key)}'{near}")
        elif isinstance(values[name], dict):
            if isinstance(value, Mapping):
                _merge(values[name], value, source, problems, f"{key}.")
            else:
                problems.append(f"{source}: '{key}' is a section of keys, found {shown(value)}")
        else:
            try:
                values[name] = _coerce(value, values[name])
            except ConfigError as error:
                problems.append(f"{source}: '{key}' must be {error}, found {shown(value)}")


def _coerce(value: Any, like: Any) -> Any:
    """Convert ``value`` to the type of the default ``like``: int to float, sequence to list."""
    if isinstance(like, bool):
        if isinstance(value, bool):
            return value
        raise ConfigError("true or false")
    if isinstance(like, int):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        raise ConfigError("a whole number")
    if isinstance(like, float):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        raise ConfigError("a finite number")
    if isinstance(like, list):
        # (40000, 45000) is a string in YAML; it is a common way to write a list.
        if isinstance(value, str) and value.startswith("(") and value.endswith(")"):
            value = parse_yaml(f"[{value[1:-1]}]")
        if not isinstance(value, (list, tuple)):
            raise ConfigError("a list")
        try:
            return [_coerce(item, like[0]) if like else item for item in value]
        except ConfigError as error:
            raise ConfigError(f"a list in which each item is {error}") from None
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise ConfigError("text")


def _suggestion(key: str) -> str:
    known = [name for name, _ in flatten(_C)]
    near = difflib.get_close_matches(key[:_LONGEST], known, n=1, cutoff=0.6)
    if not near:  # the right name in the wrong section
        near = [name for name in known if name.rsplit(".")[-1] == key.rsplit(".")[-1]][:1]
    return f"; did you mean '{near[0]}'?" if near else f"; sections: {', '.join(_C)}"
