"""The one wording for a setting of a criterion that is out of its range."""

from __future__ import annotations

from fecnet.utils.errors import ConfigError


def check_range(name: str, value: object, is_allowed: bool, allowed: str) -> None:
    """Raise unless ``LOSS.name`` is allowed.

    Raises:
        ConfigError: it is not; the message says what is.
    """
    if not is_allowed:
        raise ConfigError(f"LOSS.{name}: {value}; allowed: {allowed}")
