"""Choices by name, with one error message for an unknown name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from fecnet.utils.errors import ConfigError
from fecnet.utils.shown import shown

T = TypeVar("T")


def lookup(choices: Mapping[str, T], name: str, *, key: str) -> T:
    """The choice with this name.

    Args:
        choices: everything allowed, by name.
        name: the name given by the user.
        key: configuration key of the name, for the error message.

    Raises:
        ConfigError: no such name; the message lists the allowed ones in alphabetical order.
    """
    if name not in choices:
        raise ConfigError(f"{key}: unknown name {shown(name)}; allowed: {', '.join(sorted(choices))}")
    return choices[name]
