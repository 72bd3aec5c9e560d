"""One worker thread of a server, with a queue of bounded length."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from starlette.exceptions import HTTPException

T = TypeVar("T")


class Worker:
    """Runs functions one after another in a separate thread, for handlers of one event loop.

    Args:
        name: name of the thread.
        places: maximum number of concurrent requests: one is processed, the others wait.
    """

    def __init__(self, name: str, places: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._free = self._places = places

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place in the queue, before a body is read.

        Raises:
            HTTPException: 503, all places are taken.
        """
        if self._free == 0:
            text = f"busy: {self._places} requests are being answered; ask again in a moment"
            raise HTTPException(503, text, {"retry-after": "2", "connection": "close"})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """The result of a function, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
