"""Download scheduling: one queue per host, so that a slow, pausing or dead host does not block the others.

Workers never sleep for a host: photos to be retried and hosts that requested a pause wait in a heap ordered by time,
while the workers process other hosts. A host with several photos in a row without a response is *suspect*: it gets one
request at a time, and all suspect hosts together at most a quarter of the workers. After `GIVE_UP_AFTER` different
photos without any response in between, the remaining photos of the host are given up for this run.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

GIVE_UP_AFTER = 12  # different photos of one host without a response
_SUSPECT_AFTER = 2  # likewise


@dataclass(eq=False, slots=True)
class Task:
    """A photo to download.

    Attributes:
        url: as given.
        at: URL of the next request; differs from ``url`` after a redirect.
        host: ``host:port`` of ``at``.
        tries: failed requests so far.
        hops: redirects so far; a retry requests the target of the last one.
        last: reason and detail of the last fault.
    """

    url: str
    at: str
    host: str
    tries: int = 0
    hops: int = 0
    last: tuple[str, str] | None = None


@dataclass(eq=False, slots=True)
class _Host:
    name: str
    queue: deque[Task] = field(default_factory=deque)
    active: int = 0
    listed: bool = False  # is in the queue of hosts, or in the heap until its pause ends
    not_before: float = 0.0
    silent: set[str] = field(default_factory=set)  # photos without a response since the last response

    @property
    def suspect(self) -> bool:
        return len(self.silent) >= _SUSPECT_AFTER


class HostQueues:
    """Hands tasks to workers; all methods may be called from any thread.

    Args:
        tasks: all tasks.
        per_host: concurrent tasks of one host.
        workers: number of threads that will call ``take``.
    """

    def __init__(self, tasks: Iterable[Task], *, per_host: int, workers: int) -> None:
        self._per_host = per_host
        self._most_suspects = max(1, workers // 4)
        self._changed = threading.Condition()
        self._hosts: dict[str, _Host] = {}
        self._line: deque[_Host] = deque()  # hosts with work, round-robin
        self._suspects: deque[_Host] = deque()
        self._at_suspects: set[Task] = set()
        self._later: list[tuple[float, int, _Host, Task | None]] = []  # moment, tie-breaker, host, its task if any
        self._numbers = itertools.count()
        self._stopped = False
        self._unfinished = 0
        for task in tasks:
            self._unfinished += 1
            self._host(task).queue.append(task)
        with self._changed:
            for host in self._hosts.values():
                self._list(host)

    def take(self) -> Task | None:
        """Block until a task may start and return it; None when all are finished, or after ``stop``."""
        with self._changed:
            while True:
                if self._stopped or not self._unfinished:
                    return None
                self._wake_due()
                task = self._next(self._suspects) if len(self._at_suspects) < self._most_suspects else None
                task = task or self._next(self._line)
                if task is not None:
                    return task
                self._changed.wait(self._later[0][0] - time.monotonic() if self._later else None)

    def finish(self, task: Task, *, answered: bool, pause_s: float = 0.0) -> list[Task]:
        """Finish a task; its host pauses for ``pause_s``.

        Returns:
            The queued tasks of the host, where it was given up.
        """
        with self._changed:
            host = self._release(task, answered=answered, pause_s=pause_s)
            self._unfinished -= 1
            given_up = self._give_up(host)
            if not self._unfinished:
                self._changed.notify_all()
            return given_up

    def retry(self, task: Task, *, answered: bool, delay_s: float, pause_s: float = 0.0) -> list[Task]:
        """Queue a task again, after at least ``delay_s``; its host pauses for ``pause_s``.

        Returns:
            As ``finish``.
        """
        with self._changed:
            host = self._release(task, answered=answered, pause_s=pause_s)
            heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._numbers), host, task))
            given_up = self._give_up(host)
            self._changed.notify_all()
            return given_up

    def move(self, task: Task, at: str, host: str) -> None:
        """Redirect a task: move it to the front of the queue of ``host``."""
        with self._changed:
            self._release(task, answered=True)
            task.at, task.host = at, host
            self._host(task).queue.appendleft(task)
            self._list(self._host(task))

    def stop(self) -> None:
        """Make every ``take`` return None from now on."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopped

    @property
    def unfinished(self) -> int:
        """Number of unfinished tasks."""
        return self._unfinished

    def _host(self, task: Task) -> _Host:
        if task.host not in self._hosts:
            self._hosts[task.host] = _Host(task.host)
        return self._hosts[task.host]

    def _list(self, host: _Host) -> None:
        """Make a host available to workers, now or when its pause ends."""
        if host.listed or not host.queue or host.active >= (1 if host.suspect else self._per_host):
            return
        host.listed = True
        if host.not_before > time.monotonic():
            heapq.heappush(self._later, (host.not_before, next(self._numbers), host, None))
        else:
            (self._suspects if host.suspect else self._line).append(host)
        self._changed.notify()

    def _wake_due(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, _, host, task = heapq.heappop(self._later)
            if task is None:
                host.listed = False
            else:
                host.queue.append(task)
            self._list(host)

    def _next(self, line: deque[_Host]) -> Task | None:
        while line:
            host = line.popleft()
            host.listed = False
            # its state may have changed since it was listed: check again
            if host.not_before > time.monotonic() or host.suspect != (line is self._suspects):
                self._list(host)
            elif host.queue and host.active < (1 if host.suspect else self._per_host):
                task = host.queue.popleft()
                host.active += 1
                if host.suspect:
                    self._at_suspects.add(task)
                self._list(host)
                return task
        return None

    def _release(self, task: Task, *, answered: bool, pause_s: float = 0.0) -> _Host:
        host = self._host(task)
        host.not_before = max(host.not_before, time.monotonic() + pause_s)
        host.active -= 1
        self._at_suspects.discard(task)
        if answered:
            host.silent.clear()
        else:
            host.silent.add(task.url)
        self._list(host)
        self._changed.notify()
        return host

    def _give_up(self, host: _Host) -> list[Task]:
        if len(host.silent) < GIVE_UP_AFTER:
            return []
        given_up = list(host.queue) + [task for _, _, other, task in self._later if other is host and task is not None]
        host.queue.clear()
        self._later = [entry for entry in self._later if entry[2] is not host or entry[3] is None]
        heapq.heapify(self._later)
        self._unfinished -= len(given_up)
        return given_up
