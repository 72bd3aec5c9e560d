"""What a user can cause to go wrong, as classes of its own.

``run_program`` shows these and ``OSError`` as one line, with exit code 2. Everything else that is raised is a fault of
fecnet and is shown as one, with its traceback and exit code 1: nothing catches it on the way.
"""

from __future__ import annotations


class UserError(ValueError):
    """A mistake that a user can cause and correct; the message is one line: where, what was seen, what is allowed."""


class ConfigError(UserError):
    """A setting that is unknown, out of range, or does not fit the others, the data or the machine."""


class DataError(UserError):
    """A data set, or a file that one is made of, that is absent, damaged, or lacks what was asked of it."""


class CheckpointError(UserError):
    """A run, a checkpoint or an exported file that is absent, damaged, or of another net or format."""


class FaultElsewhereError(RuntimeError):
    """A fault of fecnet in another process, which has shown its traceback; the message says which process."""
