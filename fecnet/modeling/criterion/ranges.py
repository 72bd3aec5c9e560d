"""Range check of the criteria's settings."""

from __future__ import annotations

from fecnet.utils.errors import ConfigError


def check_range(name: str, value: object, is_allowed: bool, allowed: str) -> None:
    """Raise unless ``LOSS.name`` is allowed.

    Raises:
        ConfigError: it is not allowed; the message gives the allowed range.
    """
    if not is_allowed:
        raise ConfigError(f"LOSS.{name}: {value}; allowed: {allowed}")
