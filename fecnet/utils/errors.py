"""Exceptions for errors that a user can cause.

``run_program`` prints these and ``OSError`` as one line and exits with code 2. Any other exception is a bug in fecnet:
no code catches it, and ``run_program`` prints its traceback and exits with code 1.
"""

from __future__ import annotations

from fecnet.utils.shown import printable


class UserError(ValueError):
    """An error that a user can cause and fix; the message is one line: where, the value found, what is allowed.

    Args:
        message: may hold text of a file: what a terminal would obey in it is escaped.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class ConfigError(UserError):
    """A configuration value that is unknown, out of range, or does not fit other values, the data or the machine."""


class DataError(UserError):
    """A data set, or one of its source files, that is missing, damaged, or lacks a requested part."""


class CheckpointError(UserError):
    """A run, a checkpoint or an exported file that is missing, damaged, or belongs to another net or format."""


class FaultElsewhereError(RuntimeError):
    """A bug in fecnet raised in another process, which has printed its traceback; the message names the process."""
