"""What a user can cause to go wrong, as classes of its own."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake that a user can cause and mend: shown as one line, exit code 2."""
