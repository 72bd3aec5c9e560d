"""Keeps what other packages have to say about their own code away from the user's terminal."""

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

    ``warnings.catch_warnings`` alone is not made for threads: one that leaves late would put back the filters that
    another one had set. Here the first to enter sets them and the last to leave restores them.
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
