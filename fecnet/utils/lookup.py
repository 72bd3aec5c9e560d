"""Choices by name: the one place that words the error for a wrong name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from fecnet.utils.errors import ConfigError

T = TypeVar("T")


def lookup(choices: Mapping[str, T], name: str, *, key: str) -> T:
    """The choice called ``name``.

    Args:
        choices: everything allowed, by name.
        name: what the user asked for.
        key: config key the name came from, for the error.

    Raises:
        ConfigError: no such name; the message lists the allowed ones in alphabetical order.
    """
    if name not in choices:
        raise ConfigError(f"{key}: unknown name {name!r}; allowed: {', '.join(sorted(choices))}")
    return choices[name]
