"""Temporary changes of settings of the whole process, safe with several threads."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any


class Shared:
    """A context manager for several threads: the first thread enters the inner context, and the last one leaves it.

    Otherwise a thread that leaves late would restore settings of a module, such as the filters of warnings, to values
    that another thread had set temporarily.

    Args:
        change: makes the inner context.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Any]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._inside = 0
        self._entered: AbstractContextManager[Any] | None = None

    def __call__(self) -> Shared:
        """The context manager itself, so that it also works as a decorator-like call: ``with quiet():``."""
        return self

    def __enter__(self) -> None:
        """Enter the inner context, unless another thread is inside already."""
        with self._lock:
            if self._entered is None:
                self._entered = self._change()
                self._entered.__enter__()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the inner context, unless another thread is still inside."""
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._entered is not None:
                self._entered.__exit__(None, None, None)
                self._entered = None


@contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


quiet = Shared(_without_warnings)  # ignores Python warnings inside: those of third-party packages about their own code
