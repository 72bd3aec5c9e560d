"""Fuzzed: photos, videos, and requests to the pages of ``fecnet serve`` and ``fecnet rate serve``."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from PIL import Image

from benchmarks.fuzz_mutations import Files
from benchmarks.fuzz_target import FORMATS, Target, check
from fecnet.embed.videos import Video, pyav
from fecnet.encoder.build import load_encoder
from fecnet.faces.decode import decode_image
from fecnet.rate.raters import invite, open_link
from fecnet.rate.serving import guarded
from fecnet.rate.study import Study
from fecnet.rate.tasks import tasks_from
from fecnet.search.index import Index
from fecnet.serve.app import build_app
from fecnet.serve.gallery import Gallery
from fecnet.utils.errors import UserError

_PHOTOS = ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")
_VIDEOS = {"avi": "mjpeg", "mp4": "mpeg4", "mpg": "mpeg2video", "mkv": "mpeg4"}  # format and codec
_LOOPBACK = {"host": "localhost"}
_BUSY = (503, 507)  # answers of a server that does what it should
_PHOTO = "photo"


def _photos() -> list[Files]:
    """A photo of each format, and one with an orientation."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    found = []
    for kind in _PHOTOS:
        held = io.BytesIO()
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(pixels).save(held, kind, **({"exif": exif} if kind in ("jpeg", "png", "webp") else {}))
        found.append({_PHOTO if kind != "png" else f"{_PHOTO}.png": held.getvalue()})
    return found


def _read_photo(folder: Path) -> None:
    for file in folder.iterdir():
        image_HWC = decode_image(file)
        check(image_HWC.dtype == np.uint8 and image_HWC.ndim == 3 and image_HWC.size > 0, f"shape {image_HWC.shape}")


def _videos() -> list[Files]:
    return [{f"video.{kind}": _video(kind, codec)} for kind, codec in _VIDEOS.items()]


def _video(kind: str, codec: str) -> bytes:
    """Six frames."""
    av = pyav()
    with tempfile.NamedTemporaryFile(suffix=f".{kind}") as file:
        with av.open(file.name, "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = 32, 24
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for shade in range(6):
                frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), 40 * shade, np.uint8))
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return Path(file.name).read_bytes()


def _read_video(folder: Path) -> None:
    for file in folder.iterdir():
        video, last_s = Video(file), -float("inf")
        for frame in video.frames():
            check(frame.image_HWC.dtype == np.uint8 and frame.image_HWC.ndim == 3, f"shape {frame.image_HWC.shape}")
            check(bool(np.isfinite(frame.time_s)) and frame.time_s >= last_s, f"time {frame.time_s} after {last_s}")
            last_s = frame.time_s
            if frame.number > 100:
                break
        check(video.note.isprintable(), video.note)


def _request(method: str, path: str, body: Any = None, **headers: str) -> Files:
    """A request as JSON; a body that is no text is sent as JSON."""
    if body is not None and not isinstance(body, str):
        body, headers = json.dumps(body), {"content-type": "application/json"} | headers
    return {"input.request": json.dumps([method, path, _LOOPBACK | headers, body or ""]).encode()}


def _form(*parts: tuple[str, str, str]) -> dict[str, str]:
    """Body and type of a form of name, further words of its line, and content."""
    body = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{text}\r\n' for name, more, text in parts
    )
    return {"body": f"{body}--x--\r\n", "content-type": "multipart/form-data; boundary=x"}


def _serve_requests() -> list[Files]:
    photo = ("photo", '; filename="a.png"\r\nContent-Type: image/png', _photos()[0][f"{_PHOTO}.png"].decode("latin-1"))
    unit = [1.0, 0.0, 0.0]
    return [
        *(
            _request("GET", path)
            for path in ("/", "/api", "/api/about", "/api/openapi.json", "/web/base.css", "/api/map/1/near")
        ),
        *(_request("GET", f"/api/index/{row}/{kind}.jpg") for row, kind in ((0, "face"), (8, "photo"))),
        _request("POST", "/api/faces", **_form(photo, ("preview", "", "yes"))),
        _request("POST", "/api/odd", **_form(photo, photo, photo)),
        _request("POST", "/api/odd", {"embeddings": [unit, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]}),
        *(_request("POST", "/api/alike", asked) for asked in ({"row": 2, "k": 3}, {"embedding": unit})),
    ]


def _rate_requests() -> list[Files]:
    answer = {"number": 1, "key": "key-000001", "place": 0, "seconds": 1.5, "replaces": None}
    return [
        *(
            _request("GET", path)
            for path in ("/", "/r/TOKEN", "/r/TOKEN/tasks?first=1", "/r/TOKEN/faces/1", "/join/OPEN")
        ),
        *(
            _request("GET", path)
            for path in ("/owner/OWNER", "/owner/OWNER/faces/1", "/static/rater.js", "/join/TOKEN")
        ),
        *(_request("POST", "/r/TOKEN/answers", answer | {"number": n, "key": f"key-00000{n}"}) for n in (1, 2)),
        _request("POST", "/owner/OWNER/raters/1", **_form(("excluded", "", "no"))),
        _request("POST", "/owner/OWNER/state", **_form(("stopped", "", "no"))),
        _request("POST", "/join/OPEN"),
    ]


@cache
def _serve_app() -> Any:
    encoder = load_encoder(FORMATS / "nets-1" / "run", device="cpu")
    return build_app(encoder, whole=True, gallery=Gallery(Index(FORMATS / "index-1"))), {}


@cache
def _rate_app(place: Path) -> Any:
    """A study of its own beside the inputs, and its links."""
    shutil.copytree(FORMATS / "study-1", place)
    study = Study(place)
    ((rater, token),) = invite(study, 1)
    tasks_from(study, rater.id)
    return guarded(study, "owner"), {"TOKEN": token, "OPEN": open_link(study, 5), "OWNER": "owner"}


@cache
def _loop() -> asyncio.Runner:
    return asyncio.Runner()


def _answer(app: Any, content: bytes, links: dict[str, str]) -> tuple[int, str, bytes]:
    """Status, type and body of the answer to a request, as far as a server would hand it on."""
    try:
        method, target, headers, body = json.loads(content)
        held = [
            (str(name).lower().encode("latin-1", "ignore"), str(value).encode("latin-1", "ignore"))
            for name, value in headers.items()
        ]
        sent = str(body).encode("latin-1", "ignore")
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError("no request") from error
    for word, link in links.items():
        target = str(target).replace(word, link)
    path, _, query = str(target).encode("latin-1", "ignore").decode("latin-1").partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }
    scope |= {
        "method": str(method).upper(),
        "path": unquote(f"/{path.lstrip('/')}"),
        "raw_path": path.encode("latin-1"),
    }
    scope |= {
        "query_string": query.encode("latin-1"),
        "headers": held,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    told: list[Any] = []
    bodies = [{"type": "http.request", "body": sent, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not bodies:
            await asyncio.Event().wait()  # the client stays
        return bodies.pop()

    async def send(message: Any) -> None:
        told.append(message)

    _loop().run(app(scope, receive, send))
    kinds = dict(told[0]["headers"])
    return (
        told[0]["status"],
        kinds.get(b"content-type", b"").decode(),
        b"".join(part.get("body", b"") for part in told[1:]),
    )


def _check_answer(status: int, kind: str, body: bytes) -> None:
    check(status < 500 or status in _BUSY, f"status {status}")
    if status >= 400:
        if kind.startswith("application/json"):
            text = json.loads(body)["error"]
            check(len(text.splitlines()) == 1, f"several lines: {text[:200]}")
            raise UserError(text)
        raise UserError(f"status {status}")


def _serve(folder: Path) -> None:
    app, links = _serve_app()
    _check_answer(*_answer(app, (folder / "input.request").read_bytes(), links))


def _rate(folder: Path) -> None:
    app, links = _rate_app(folder.with_name("study"))
    _check_answer(*_answer(app, (folder / "input.request").read_bytes(), links))


def media_targets() -> Iterator[Target]:
    """Those of this file."""
    paths = (
        b"/api/map",
        b"/api/alike",
        b"/r/TOKEN/tasks",
        b"%00",
        b"%2e%2e",
        b"%ff",
        b"photo",
        b"preview",
        b"--x--",
        b"GET",
        b"POST",
    )
    yield Target("photo", _photos, _read_photo, weight=8)
    yield Target("video", _videos, _read_video)
    yield Target("serve", _serve_requests, _serve, paths, unnamed=True)
    yield Target("rate", _rate_requests, _rate, paths, unnamed=True)
