"""Secrets in links: made at random, compared in constant time."""

from __future__ import annotations

import hmac
import secrets

_BYTES = 24  # 192 bits: 32 characters of a link


def new_token() -> str:
    """A secret that nobody guesses, of letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(_BYTES)


def same_token(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ; nothing equals an empty one."""
    return bool(expected) and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))
