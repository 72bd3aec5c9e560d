"""Ten photos in, answers out: the page's answer over HTTP relative to the call of the encoder alone.

Protocol: ten photos of shared/data/faces go to
``/api/faces`` of a server on this machine as a browser sends them, and to ``Encoder.encode(photos, faces="all")``, in
turn, with the shipped net. The answer is complete: faces found, cut, pictured, with classes and embedding.
"""

from __future__ import annotations

import statistics
from typing import Any

import httpx

from benchmarks.faces import DATA
from benchmarks.record import seconds, spread
from fecnet.encoder.build import load_encoder
from fecnet.serve.app import build_app
from fecnet.utils.memory import keep_freed_memory
from fecnet.web.server import served

PHOTOS, ROUNDS, QUICK_ROUNDS = 10, 24, 2
MOST = 1.2  # times the encoder's call


def run(*, quick: bool) -> dict[str, Any]:
    """Ask both in turn; without the photos a quick run skips it."""
    folder = DATA / "faces" / "images"
    if not folder.is_dir():
        if quick:
            print(f"{folder} is absent: not measured")
            return {}
        raise SystemExit(f"{folder} is absent: nothing to measure")
    photos = [path.read_bytes() for path in sorted(folder.iterdir())[:PHOTOS]]
    encoder = load_encoder("fecnet-base", device="cpu")
    keep_freed_memory()  # as every command with a net does
    files = [("photo", ("photo", photo)) for photo in photos]
    with served(build_app(encoder)) as address, httpx.Client(base_url=address, timeout=600) as client:

        def ask() -> httpx.Response:
            return client.post("/api/faces", files=files).raise_for_status()

        found = sum(len(photo["faces"]) for photo in ask().json()["photos"])
        encoder.encode(photos, faces="all")
        page_s: list[float] = []
        call_s: list[float] = []

        def call() -> None:
            call_s.append(seconds(lambda: encoder.encode(photos, faces="all")))

        def page() -> None:
            page_s.append(seconds(ask))

        for turn in range(QUICK_ROUNDS if quick else ROUNDS):
            for measure in (call, page) if turn % 2 else (page, call):  # neither is always the first
                measure()
    ratio = statistics.median(one / other for one, other in zip(page_s, call_s, strict=True))
    print(f"{found} faces in {len(photos)} photos: the page takes {ratio:.3f} times the encoder's call")
    return {
        "photos": len(photos),
        "faces": found,
        "megabytes": round(sum(map(len, photos)) / 1e6, 2),
        "page_s": spread(page_s),
        "encoder_s": spread(call_s),
        "ratio": round(ratio, 3),
        "ratio_allowed": MOST,
    }
