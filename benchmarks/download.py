"""Photo download from a server with injected faults: each valid photo once, throughput and memory.

The server is a separate process on this machine; its latency simulates that of the network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.prepare.photo_server import PhotoServer

ROOT = Path(__file__).parents[1]
NUM_PORTS = 8
LATENCY_S = 0.05
NUM_KILLS = 3
REQUIRED = {"times_one_at_a_time": 10, "peak_memory_mb": 500}
TIMEOUT_S = 3.0
# kind: (reason, photos of each hundred); the others are good
FAULTS = {
    "404": ("http_404", 3),
    "410": ("http_410", 2),
    "500": ("http_500", 1),
    "gone": ("placeholder", 2),
    "html": ("html", 2),
    "cut": ("truncated", 2),
    "short": ("wrong_length", 1),
    "drip": ("timeout", 1),
    "endless": ("too_many_bytes", 0),  # added singly
    "reset": ("reset", 1),
}
GOOD = {"flaky": 2, "moved": 2, "busy": 0, "big": 0}  # good in the end; the last two are added singly
CHILD = """
import json, sys, time
from pathlib import Path
from fecnet.prepare.web.download import fetch_photos
options = json.loads(sys.argv[2])
began, cpu_began = time.perf_counter(), time.process_time()
report = fetch_photos(json.loads(Path(sys.argv[3]).read_text()), Path(sys.argv[1]), allow_private=True, **options)
taken = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_began}
# getrusage would count the parent's memory at the fork
memory = {"peak_memory_mb": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024}
print(json.dumps({"counts": report.counts, "requests": report.requests} | taken | memory))
"""


def run(*, quick: bool) -> dict[str, Any]:
    """Fetch, count, kill, compare; stops with an error at the first photo that is lost, duplicated or different."""
    number = 200 if quick else 2000
    with tempfile.TemporaryDirectory() as temporary, serving() as ports:
        folder = Path(temporary)
        kind_of = make_urls(ports, number)
        good = [url for url, kind in kind_of.items() if kind not in FAULTS]
        plain = [url for url, kind in kind_of.items() if kind == "good"]
        listed, tenth, only_good = (folder / f"{name}.json" for name in ("all", "tenth", "good"))
        listed.write_text(json.dumps(list(kind_of)))
        by_kind = sorted(kind_of, key=kind_of.__getitem__)
        tenth.write_text(json.dumps(by_kind[::10]))  # a tenth of each kind: the slowest few decide the time
        only_good.write_text(json.dumps(plain[: number // 20]))

        one = finish(start(folder / "one", tenth, workers=1, per_host=1))
        one_good = finish(start(folder / "one_good", only_good, workers=1, per_host=1))
        before = requests_so_far(ports)
        whole = finish(start(folder / "whole", listed))
        asked = requests_so_far(ports) - before
        expected = Counter(FAULTS[kind][0] for kind in kind_of.values() if kind in FAULTS) + Counter(stored=len(good))
        assert whole["counts"] == expected, f"{whole['counts']}, expected {dict(expected)}"
        assert asked.total() == whole["requests"], f"{asked.total()} requests arrived of {whole['requests']}"
        assert all(asked[url.removeprefix("http://127.0.0.1:")] == 1 for url in plain), "a photo was asked for twice"

        resumed = kill_and_go_on(folder, listed, ports, number)
        same = photos(folder / "whole") == photos(folder / "killed")
        assert same, "the folder that was killed differs"
        assert resumed["counts"] == expected, f"{resumed['counts']}, expected {dict(expected)}"
    rates = {"all": number / whole["seconds"], "one": number // 10 / one["seconds"]}
    rates["one_good"] = number // 20 / one_good["seconds"]
    measured = {
        "photos": number,
        "latency_s": LATENCY_S,
        "hosts": NUM_PORTS,
        "counts": whole["counts"],
        "requests": whole["requests"],
        "photos_per_s": round(rates["all"], 1),
        "one_at_a_time_photos_per_s": round(rates["one"], 1),  # a tenth of the same mixture
        "one_at_a_time_good_photos_per_s": round(rates["one_good"], 1),  # no fault among them
        "times_one_at_a_time": round(rates["all"] / rates["one"], 1),
        "times_one_at_a_time_good": round(rates["all"] / rates["one_good"], 1),
        "cpu_ms_per_photo": round(1000 * whole["cpu_s"] / number, 1),
        "peak_memory_mb": whole["peak_memory_mb"],
        "kills": NUM_KILLS,
        "equal_after_kills": same,
        "required": REQUIRED,
    }
    print(json.dumps(measured))
    return measured


@contextlib.contextmanager
def serving() -> Iterator[list[int]]:
    """Run the server in a separate process; yields its ports."""
    command = ["tests.prepare.photo_server", "--ports", str(NUM_PORTS), "--latency", str(LATENCY_S)]
    with subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


def make_urls(ports: list[int], number: int) -> dict[str, str]:
    """The kind of each URL, in random order; every port has every kind."""
    kinds = [kind for kind, (_, share) in FAULTS.items() for _ in range(share * number // 100)]
    kinds += [kind for kind, share in GOOD.items() for _ in range(share * number // 100)]
    kinds += ["busy"] * len(ports) + ["big"] * 4 + ["endless"] * 4
    kinds += ["good"] * (number - len(kinds))
    urls = {f"http://127.0.0.1:{ports[n % len(ports)]}/{kind}/{n}.jpg": kind for n, kind in enumerate(kinds)}
    order = list(urls)
    random.Random(0).shuffle(order)
    return {url: urls[url] for url in order}


def start(folder: Path, listed: Path, **options: int) -> subprocess.Popen[str]:
    """Start the download in a separate process."""
    placeholder = hashlib.sha256(PhotoServer().placeholder).hexdigest()
    settings = {"timeout_s": TIMEOUT_S, "backoff_s": 0.2, "max_tries": 3, "max_bytes": 60_000_000, "progress": False}
    given = json.dumps(settings | {"placeholders": [placeholder]} | options)
    command = [sys.executable, "-c", CHILD, str(folder), given, str(listed)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The report of a finished download."""
    said, _ = process.communicate()
    assert process.returncode == 0, f"the download ended with {process.returncode}"
    return dict(json.loads(said))


def kill_and_go_on(folder: Path, listed: Path, ports: list[int], number: int) -> dict[str, Any]:
    """Kill -9 after a random number of requests, over and over, then finish."""
    moments = random.Random(1)
    for _ in range(NUM_KILLS):
        kill_at = requests_so_far(ports).total() + moments.randint(number // 20, number // 4)
        process = start(folder / "killed", listed)
        while requests_so_far(ports).total() < kill_at:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        process.kill()
        process.communicate()
        print(f"killed with {len(photos(folder / 'killed'))} photos there")
    return finish(start(folder / "killed", listed))


def photos(folder: Path) -> dict[str, bytes]:
    """Digest of each photo by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.glob("photos/*/[!.]*")}


def requests_so_far(ports: list[int]) -> Counter[str]:
    """How often each path was requested, as counted by the server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/counts") as answer:
        return Counter(json.load(answer))
