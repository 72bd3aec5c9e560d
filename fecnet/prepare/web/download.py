"""Fetches many photos, politely and safely, into a folder that can be gone on with after any interruption.

How the parts share the work: `host_queues.py` says which photo is next, `request.py` asks for it, `addresses.py` says
where it may go, `pictures.py` looks at what came, `photo_store.py` keeps it, `journal.py` remembers the outcome.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image
from tqdm import tqdm

from fecnet.prepare.web.addresses import RefusedError, split_url
from fecnet.prepare.web.host_queues import HostQueues, Task
from fecnet.prepare.web.journal import STORED, FolderLock, Journal
from fecnet.prepare.web.photo_store import PhotoStore
from fecnet.prepare.web.pictures import picture_fault
from fecnet.prepare.web.request import FaultError, Limits, StoppedError, request_photo
from fecnet.utils.errors import DataError

MAX_REDIRECTS = 5
_CONNECT_S = 10.0
_BACKOFF_LIMIT_S = 60.0
_IN_MEMORY = 1 << 20  # bytes of a body; more goes to a nameless file
_BIG = 4 << 20  # bytes; bigger bodies are looked at two at a time, others eight at a time
_JOIN_S = 5.0  # for the workers to notice a stop
_BAR_S = 0.1  # between two looks at how far it is


@dataclass(frozen=True)
class FetchReport:
    """What became of every URL.

    Attributes:
        given: URLs as given, repeated ones too.
        counts: distinct URLs by outcome, ``stored`` or a reason, most frequent first; sums to the distinct URLs.
        path_of: where the photo of each stored URL lies.
        reason_of: why each other URL gave none.
        new: photos stored by this run.
        requests: HTTP requests of this run, redirects and retries too.
    """

    given: int
    counts: dict[str, int]
    path_of: dict[str, Path]
    reason_of: dict[str, str]
    new: int
    requests: int


def fetch_photos(
    urls: Sequence[str],
    folder: Path,
    *,
    workers: int = 32,
    per_host: int = 4,
    timeout_s: float = 60.0,
    max_bytes: int = 30 << 20,
    max_tries: int = 4,
    backoff_s: float = 1.0,
    max_pause_s: float = 120.0,
    allow_private: bool = False,
    placeholders: Collection[str] = (),
    check: Callable[[bytes], str | None] = picture_fault,
    retry_failed: bool = False,
    progress: bool = True,
) -> FetchReport:
    """Fetch each distinct URL once into ``folder/photos``; what ``folder/journal.jsonl`` knows is not fetched again.

    Lasting failures (404, 410, no picture, …) are remembered; passing ones (time-outs, 5xx, resets, …) are tried
    again by the next run. Ctrl-C, a kill or a full disk loses nothing that was stored.

    Args:
        urls: http or https; repeated ones are fetched once.
        folder: made where absent; one run at a time.
        workers: requests at once, over all hosts.
        per_host: requests at once to one ``host:port``.
        timeout_s: for one request, from connecting to the last byte.
        max_bytes: of a photo.
        max_tries: requests for a photo whose failures pass.
        backoff_s: before the second try; doubles with each further one, at random between half of it and all.
        max_pause_s: the longest Retry-After that is waited for.
        allow_private: go to private and loopback addresses too.
        placeholders: sha256 of contents that stand for "no photo here"; stored ones are removed.
        check: gives the word for what is wrong with a content, None for a good one.
        retry_failed: try lasting failures again.
        progress: show a bar.

    Raises:
        DataError: a bad argument, a damaged journal, or another run is at work in ``folder``.
        OSError: the disk is full or read-only.
    """
    if isinstance(urls, str):
        raise DataError("urls: a single text, expected a list of URLs")
    for name, value in {
        "workers": workers,
        "per_host": per_host,
        "max_bytes": max_bytes,
        "max_tries": max_tries,
    }.items():
        if value < 1:
            raise DataError(f"{name} is {value}, expected 1 or more")
    for name, seconds in {"timeout_s": timeout_s, "backoff_s": backoff_s, "max_pause_s": max_pause_s}.items():
        if not seconds > 0:
            raise DataError(f"{name} is {seconds}, expected more than 0")
    folder.mkdir(parents=True, exist_ok=True)
    with FolderLock(folder), contextlib.closing(Journal(folder / "journal.jsonl")) as journal:
        download = _Download(
            folder,
            journal,
            limits=Limits(timeout_s, _CONNECT_S, max_bytes, allow_private),
            max_tries=max_tries,
            backoff_s=backoff_s,
            max_pause_s=max_pause_s,
            placeholders=frozenset(placeholders),
            check=check,
        )
        distinct = list(dict.fromkeys(urls))
        todo = [url for url in distinct if not download.is_settled(url, retry_failed=retry_failed)]
        download.run(todo, workers=workers, per_host=per_host, progress=progress, num_settled=len(distinct) - len(todo))
        return download.report(urls, distinct)


class _Download:
    """One run; see ``fetch_photos`` for the arguments."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        *,
        limits: Limits,
        max_tries: int,
        backoff_s: float,
        max_pause_s: float,
        placeholders: frozenset[str],
        check: Callable[[bytes], str | None],
    ) -> None:
        self._folder, self._journal, self._store = folder, journal, PhotoStore(folder)
        self._limits, self._max_tries, self._backoff_s, self._max_pause_s = limits, max_tries, backoff_s, max_pause_s
        self._placeholders, self._check = placeholders, check
        self._gates = {True: threading.Semaphore(2), False: threading.Semaphore(8)}
        self._lock = threading.Lock()  # of the numbers below
        self._failed: Counter[str] = Counter()
        self._new = self._done = self._shown = self._requests = 0
        self._error: BaseException | None = None

    def is_settled(self, url: str, *, retry_failed: bool) -> bool:
        """Whether there is nothing to do; takes up a photo whose journal line was lost to a kill."""
        path, entry = self._store.find(url), self._journal.entries.get(url)
        if path is None:
            return entry is not None and entry["lasting"] and entry["outcome"] != STORED and not retry_failed
        if entry is None or entry["outcome"] != STORED:
            entry = _stored(url, path, path.read_bytes(), self._folder)
            self._journal.write(entry)
        if entry["sha256"] in self._placeholders:
            self._store.remove(url)
            self._journal.write({"url": url, "outcome": "placeholder", "lasting": True})
            return True
        if path.stat().st_size != entry["bytes"]:
            self._store.remove(url)
            return False
        return True

    def run(self, todo: list[str], *, workers: int, per_host: int, progress: bool, num_settled: int) -> None:
        """Fetch ``todo``; ends when all have an outcome, or by an exception of a worker or a signal."""
        self._queues = HostQueues(self._tasks(todo), per_host=per_host, workers=workers)
        crew = [threading.Thread(target=self._work, daemon=True) for _ in range(min(workers, len(todo)))]
        bar = tqdm(total=num_settled + len(todo), initial=num_settled, unit="photo", disable=not progress)
        with bar, warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # such pictures are counted, see pictures.py
            try:
                for thread in crew:
                    thread.start()
                while self._queues.unfinished and not self._queues.stopped:
                    time.sleep(_BAR_S)
                    self._show(bar)
            finally:
                self._queues.stop()
                give_up_at = time.monotonic() + _JOIN_S
                for thread in crew:
                    if thread.ident is not None:
                        thread.join(max(0.0, give_up_at - time.monotonic()))
                self._show(bar)
        if self._error is not None:
            raise self._error

    def report(self, urls: Sequence[str], distinct: list[str]) -> FetchReport:
        """Every URL with its outcome."""
        outcome_of = {url: str(self._journal.entries[url]["outcome"]) for url in distinct}
        path_of = {url: self._store.find(url) for url in distinct if outcome_of[url] == STORED}
        return FetchReport(
            given=len(urls),
            counts=dict(Counter(outcome_of.values()).most_common()),
            path_of={url: path for url, path in path_of.items() if path is not None},
            reason_of={url: outcome for url, outcome in outcome_of.items() if outcome != STORED},
            new=self._new,
            requests=self._requests,
        )

    def _tasks(self, todo: list[str]) -> Iterator[Task]:
        for url in todo:
            try:
                yield Task(url, at=url, host=split_url(url).key)
            except RefusedError as error:
                self._settle_failure(Task(url, at=url, host=""), error.reason, str(error), lasting=False)

    def _show(self, bar: Any) -> None:
        with self._lock:
            failed, done = self._failed.most_common(), self._done
        bar.set_postfix_str(", ".join(f"{reason} {number}" for reason, number in failed), refresh=False)
        bar.update(done - self._shown)
        self._shown = done

    def _work(self) -> None:
        """One worker."""
        try:
            while (task := self._queues.take()) is not None:
                self._attend(task)
        except StoppedError:
            pass
        except BaseException as error:  # a full disk, a check that fails: the run ends with it
            if isinstance(error, OSError) and error.filename is None:  # of a nameless file
                error = OSError(error.errno, error.strerror or str(error), str(self._folder))
            self._error = self._error or error
            self._queues.stop()

    def _attend(self, task: Task) -> None:
        with self._lock:
            self._requests += 1
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(self._folder)) as body:
            try:
                answer = request_photo(task.at, body, self._limits, lambda: self._queues.stopped)
                if answer.moved_to is not None:
                    self._follow(task, answer.moved_to)
                    return
                self._keep(task, body, sized=answer.sized)
            except FaultError as fault:
                self._stumble(task, fault)
                return
        self._finish(task, answered=True)

    def _follow(self, task: Task, to: str) -> None:
        task.hops += 1
        if task.hops > MAX_REDIRECTS:
            raise FaultError("too_many_redirects", to, lasting=True, answered=True)
        try:
            host = split_url(to).key
        except RefusedError as error:
            raise FaultError(error.reason, error, answered=True) from error
        self._queues.move(task, to, host)

    def _keep(self, task: Task, body: IO[bytes], *, sized: bool) -> None:
        """Look at what came, store it and write its line."""
        with self._gates[body.tell() > _BIG]:
            body.seek(0)
            content = body.read()
            digest = hashlib.sha256(content).hexdigest()
            reason = "placeholder" if digest in self._placeholders else self._check(content)
            if reason is not None:
                # A body without a declared end may have been cut by the network: that passes.
                cut = reason == "truncated" and not sized
                raise FaultError(reason, f"sha256 {digest}", again=cut, lasting=not cut, answered=True)
            if self._queues.stopped:
                raise StoppedError
            entry = _stored(task.url, self._store.put(task.url, content), content, self._folder)
        self._journal.write(entry)
        with self._lock:
            self._new += 1
            self._done += 1

    def _stumble(self, task: Task, fault: FaultError) -> None:
        """Put the task back for another try, or write its failure."""
        task.tries += 1
        task.last = (fault.reason, fault.detail)
        delay_s = min(_BACKOFF_LIMIT_S, self._backoff_s * 2 ** (task.tries - 1)) * random.uniform(0.5, 1.0)
        if fault.pause_s is not None:
            delay_s = min(self._max_pause_s, max(delay_s, fault.pause_s))
        busy = fault.pause_s is not None or fault.reason in ("http_429", "http_503")
        pause_s = delay_s if busy else 0.0  # of the whole host
        if fault.again and task.tries < self._max_tries:
            given_up = self._queues.retry(task, answered=fault.answered, delay_s=delay_s, pause_s=pause_s)
            self._settle_given_up(given_up)
        else:
            self._settle_failure(task, fault.reason, fault.detail, lasting=fault.lasting)
            self._finish(task, answered=fault.answered, pause_s=pause_s)

    def _finish(self, task: Task, *, answered: bool, pause_s: float = 0.0) -> None:
        self._settle_given_up(self._queues.finish(task, answered=answered, pause_s=pause_s))

    def _settle_given_up(self, tasks: list[Task]) -> None:
        for task in tasks:
            reason, detail = task.last or ("host_down", f"too many photos of {task.host} without an answer")
            self._settle_failure(task, reason, detail, lasting=False)

    def _settle_failure(self, task: Task, reason: str, detail: str, *, lasting: bool) -> None:
        entry = {"url": task.url, "outcome": reason, "lasting": lasting, "tries": task.tries, "detail": detail[:200]}
        self._journal.write(entry | ({"at": task.at} if task.at != task.url else {}))
        with self._lock:
            self._failed[reason] += 1
            self._done += 1


def _stored(url: str, path: Path, content: bytes, folder: Path) -> dict[str, Any]:
    """The journal line of a stored photo."""
    return {
        "url": url,
        "outcome": STORED,
        "lasting": True,
        "file": path.relative_to(folder).as_posix(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
