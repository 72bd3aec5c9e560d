"""The photo hosts of ``rehearsal.py``: addresses of photos, of which a third of those served does not come at once.

``python -m benchmarks.rehearsal_server FOLDER LATENCY_S PORT …`` serves the photos of a folder until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from benchmarks.download import FAULTS, ROOT
from benchmarks.rehearsal_photos import photo_file
from tests.prepare.photo_server import PhotoServer

NUM_PORTS = 8
LATENCY_S = 0.05
# Of a hundred photos that are served. The kinds are those of the photo server; `dead` is a host that does not listen.
SHARES = {
    **{"404": 7, "410": 3, "500": 1, "gone": 5, "html": 3, "cut": 2, "short": 1, "reset": 1},
    **{"slow": 4, "moved": 4, "flaky": 2},  # good in the end
}
_WITHOUT_FILE = ("404", "410", "500", "gone", "html", "dead")
_SINGLY = {"drip": 4, "dead": 20}  # a time-out takes minutes; one of each in small runs
_UNSERVED = "404"


class DerivedPhotos(PhotoServer):
    """Serves the photos of a folder by their numbers."""

    def __init__(self, folder: Path, ports: Sequence[int], latency_s: float) -> None:
        super().__init__(ports, latency_s=latency_s)
        self._folder = folder

    def photo(self, kind: str, number: int) -> bytes:
        """What the good kinds send."""
        return photo_file(self._folder, number).read_bytes()

    async def _moved(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._redirect(writer, f"/good/{number}.jpg")


def kinds_of(photos: int, served: int, seed: int) -> list[str]:
    """What becomes of each photo; those that are not served are 404."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(share * served // 100)]
    kinds += [kind for kind, number in _SINGLY.items() for _ in range(max(1, number * served // 30_000))]
    kinds += ["good"] * (served - len(kinds)) + [_UNSERVED] * (photos - served)
    random.Random(seed).shuffle(kinds)
    return kinds


def addresses(kinds: Sequence[str], ports: Sequence[int]) -> list[str]:
    """The URL of each photo; the last port is that of the host that is dead."""
    return [
        f"http://127.0.0.1:{ports[-1] if kind == 'dead' else ports[number % (len(ports) - 1)]}/{kind}/{number}.jpg"
        for number, kind in enumerate(kinds)
    ]


def has_file(kind: str) -> bool:
    """Whether the host reads the photo to answer."""
    return kind not in _WITHOUT_FILE


def expected(kinds: Sequence[str], used: Set[int]) -> dict[str, int]:
    """How many of the photos must be kept, and missing by reason."""
    reason_of = {kind: reason for kind, (reason, _) in FAULTS.items()} | {"dead": "dead_host"}
    return dict(Counter(reason_of.get(kinds[number], "kept") for number in sorted(used)))


def free_ports() -> list[int]:
    """Ports to listen on, and one more on which nobody does."""
    with contextlib.ExitStack() as stack:
        return [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(NUM_PORTS + 1)
        ]


@contextlib.contextmanager
def serving(folder: Path, ports: Sequence[int]) -> Iterator[None]:
    """Serve in a separate process.

    Raises:
        SystemExit: a port is taken.
    """
    command = [sys.executable, "-m", "benchmarks.rehearsal_server", str(folder), str(LATENCY_S), *map(str, ports[:-1])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit(
                    f"{folder.parent}: its ports {ports} are taken; remove the folder to begin with others"
                )
            yield
        finally:
            process.kill()


def main() -> None:
    """Serve until the process is ended."""
    folder, latency_s, *ports = sys.argv[1:]
    with DerivedPhotos(Path(folder), [*map(int, ports)], float(latency_s)):
        print("ready", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
