"""Suppresses warnings of third-party packages about their own code."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_inside = 0
_catcher: Any = None


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore Python warnings inside, from any number of threads at once.

    ``warnings.catch_warnings`` is not thread-safe: a thread that exits late would restore filters set by another one.
    Here the first thread to enter sets the filters and the last to leave restores them.
    """
    global _inside, _catcher
    with _lock:
        if _inside == 0:
            _catcher = warnings.catch_warnings()
            _catcher.__enter__()
            warnings.simplefilter("ignore")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _catcher.__exit__(None, None, None)
