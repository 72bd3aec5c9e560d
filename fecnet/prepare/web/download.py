"""Downloads many photos, rate-limited and safely, into a folder; resumes after any interruption.

`host_queues.py` schedules the photos, `request.py` sends the request, `addresses.py` checks the address, `pictures.py`
validates the content, `photo_store.py` stores it, `journal.py` records the outcome, `repeats.py` warns of pictures
that many addresses sent.
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
from fecnet.prepare.web.repeats import warn_of_repeats
from fecnet.prepare.web.request import FaultError, Limits, StoppedError, request_photo
from fecnet.utils.errors import DataError

MAX_REDIRECTS = 5
_CONNECT_S = 10.0
_BACKOFF_LIMIT_S = 60.0
_IN_MEMORY = 1 << 20  # bytes of a body; a larger one is spooled to a temporary file
_BIG = 4 << 20  # bytes; larger bodies are validated two at a time, others eight at a time
_JOIN_S = 5.0  # limit for the workers to stop
_BAR_S = 0.1  # update interval of the progress bar


@dataclass(frozen=True)
class FetchReport:
    """The outcome of every URL.

    Attributes:
        given: number of URLs given, including repeated ones.
        counts: number of distinct URLs by outcome, ``stored`` or a reason, most frequent first.
        path_of: path of the photo of each stored URL.
        reason_of: reason of failure of each other URL.
        new: photos stored by this run.
        requests: HTTP requests of this run, including redirects and retries.
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
    """Download each distinct URL once into ``folder/photos``; URLs settled in ``folder/journal.jsonl`` are skipped.

    Permanent failures (404, 410, not an image, …) are recorded; transient ones (time-outs, 5xx, resets, …) are retried
    by the next run. Ctrl-C, a kill or a full disk loses no stored photo. Pictures that many addresses sent are copied
    into ``folder/repeated``, see ``repeats.py``.

    Args:
        urls: http or https; repeated ones are downloaded once.
        folder: created if missing; one run at a time.
        workers: concurrent requests, over all hosts.
        per_host: concurrent requests to one ``host:port``.
        timeout_s: time limit of one request, from connecting to the last byte, seconds.
        max_bytes: maximum size of a photo.
        max_tries: requests for a photo with transient failures.
        backoff_s: wait before the second try, seconds; doubles with each further one, with random jitter of 0.5 to 1.
        max_pause_s: maximum wait for a Retry-After, seconds.
        allow_private: allow private and loopback addresses too.
        placeholders: sha256 of "photo not available" images; stored ones are deleted.
        check: returns the fault of a content, None for a valid photo.
        retry_failed: retry permanent failures.
        progress: show a progress bar.

    Raises:
        DataError: an invalid argument, a damaged journal, or another run in ``folder``.
        OSError: the disk is full or read-only.
    """
    if isinstance(urls, str):
        raise DataError("urls: a single string, expected a list of URLs")
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
        report = download.report(urls, distinct)
        warn_of_repeats(folder, report.path_of, {url: journal.entries[url]["sha256"] for url in report.path_of})
        return report


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
        self._lock = threading.Lock()  # guards the counters below
        self._failed: Counter[str] = Counter()
        self._new = self._done = self._shown = self._requests = 0
        self._error: BaseException | None = None

    def is_settled(self, url: str, *, retry_failed: bool) -> bool:
        """Whether nothing is left to do; adds a stored photo without journal entry, after a kill, to the journal."""
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
        """Download ``todo``; returns when all have an outcome; raises the exception of a worker or signal."""
        self._queues = HostQueues(self._tasks(todo), per_host=per_host, workers=workers)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(workers, len(todo)))]
        bar = tqdm(
            total=num_settled + len(todo), initial=num_settled, desc="downloading", unit="photo", disable=not progress
        )
        with bar, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such images are counted, see pictures.py
            try:
                for thread in threads:
                    thread.start()
                while self._queues.unfinished and not self._queues.stopped:
                    time.sleep(_BAR_S)
                    self._show(bar)
            finally:
                self._queues.stop()
                give_up_at = time.monotonic() + _JOIN_S
                for thread in threads:
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
        """Loop of one worker thread."""
        try:
            while (task := self._queues.take()) is not None:
                self._process(task)
        except StoppedError:
            pass
        except BaseException as error:  # a full disk, a failing check: ends the run
            if isinstance(error, OSError) and error.filename is None:  # of the temporary file
                error = OSError(error.errno, error.strerror or str(error), str(self._folder))
            self._error = self._error or error
            self._queues.stop()

    def _process(self, task: Task) -> None:
        with self._lock:
            self._requests += 1
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(self._folder)) as body:
            try:
                answer = request_photo(task.at, body, self._limits, lambda: self._queues.stopped)
                if answer.redirect_to is not None:
                    self._follow(task, answer.redirect_to)
                    return
                self._store_photo(task, body, sized=answer.sized)
            except FaultError as fault:
                self._handle_fault(task, fault)
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

    def _store_photo(self, task: Task, body: IO[bytes], *, sized: bool) -> None:
        """Validate the content, store it and write its journal entry."""
        with self._gates[body.tell() > _BIG]:
            body.seek(0)
            content = body.read()
            digest = hashlib.sha256(content).hexdigest()
            reason = "placeholder" if digest in self._placeholders else self._check(content)
            if reason is not None:
                # A body without a declared length may have been truncated by the network, which is transient.
                cut = reason == "truncated" and not sized
                raise FaultError(reason, f"sha256 {digest}", again=cut, lasting=not cut, answered=True)
            if self._queues.stopped:
                raise StoppedError
            entry = _stored(task.url, self._store.put(task.url, content), content, self._folder)
        self._journal.write(entry)
        with self._lock:
            self._new += 1
            self._done += 1

    def _handle_fault(self, task: Task, fault: FaultError) -> None:
        """Queue the task for a retry, or record its failure."""
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
    """The journal entry of a stored photo."""
    return {
        "url": url,
        "outcome": STORED,
        "lasting": True,
        "file": path.relative_to(folder).as_posix(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
