"""SIGINT and SIGTERM as stop requests, checked once per iteration."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from fecnet.utils import comm


class StopOnSignal:
    """Context manager: the first SIGINT or SIGTERM inside is recorded instead of ending the process.

    Further signals are ignored, so that a checkpoint being written is completed.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._seen = 0
        self._agreed: Callable[[], int] = lambda: 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in self._NUMBERS}
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._seen = self._seen or number

    def agreed(self) -> int:
        """The signal that any rank had received by the previous call, 0 for none; a collective.

        One call late: the asynchronous all-reduce overlaps the next iteration.
        """
        signal_ = self._agreed()
        self._agreed = comm.agree_max_later(self._seen)
        return signal_

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._agreed()
        # Destroying a group while a handle of its work is alive may end the process with SIGABRT.
        self._agreed = lambda: 0
        for number, handler in self._before.items():
            signal.signal(number, handler)
