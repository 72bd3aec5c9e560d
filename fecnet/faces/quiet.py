"""Changes of the whole program that are undone again, from any number of threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any


class Shared:
    """A context that the first of several threads enters, and the last one leaves.

    Settings of a whole module, such as the filters of warnings, would otherwise be restored by a thread that leaves
    late to what another one had set.

    Args:
        change: makes the context.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Any]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._inside = 0
        self._entered: AbstractContextManager[Any] | None = None

    def __call__(self) -> Shared:
        """The same context: it counts who is inside, and holds nothing else."""
        return self

    def __enter__(self) -> None:
        """Enter it, unless another thread is inside already."""
        with self._lock:
            if self._entered is None:
                self._entered = self._change()
                self._entered.__enter__()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it, unless another thread is still inside."""
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
