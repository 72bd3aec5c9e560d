"""Processes that share the work of packing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def processes(num: int, *, start: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Processes beside this one; on an error, what they have not begun is given up.

    Args:
        num: how many, 1 or more.
        start: called in each when it starts.
    """
    # not forked: the threads of torch and OpenCV do not survive a fork
    with ProcessPoolExecutor(num, multiprocessing.get_context("spawn"), initializer=start) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
