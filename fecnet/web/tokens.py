"""Secret tokens in links: random, compared in constant time."""

from __future__ import annotations

import hmac
import secrets

_BYTES = 24  # 192 bits: 32 characters of a link


def new_token() -> str:
    """A random secret of letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(_BYTES)


def same_token(given: str, expected: str) -> bool:
    """Whether two secrets are equal, compared in constant time; an empty one equals nothing."""
    return bool(expected) and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))
