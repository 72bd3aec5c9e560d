"""A web server of photos and of everything that goes wrong with them, on several ports of this machine.

A path is ``/<kind>/<number>.jpg``; the kinds are the methods ``_<kind>`` of ``PhotoServer``.
``/counts`` gives the requests so far.
``python -m tests.prepare.photo_server --ports 8 --latency 0.05`` serves until it is ended and prints its ports first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email.utils
import io
import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from PIL import Image

BIG = 50_000_000  # bytes of the photo of kind "big"


def noise_jpeg(side: int, seed: int = 0) -> bytes:
    """A JPEG that compresses badly."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=80)
    return held.getvalue()


def _comment(text: str) -> bytes:
    """A comment segment: makes a JPEG differ from its twins without drawing it anew."""
    return b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text.encode()


class PhotoServer:
    """Context manager: serves in a thread of its own.

    Args:
        ports: how many to listen on, or which.
        latency_s: before every answer.
        side: of the photos, pixels.
        retry_after_s: what kind ``busy`` asks for.
        tls: speak https with it.
    """

    def __init__(
        self,
        ports: int | Sequence[int] = 1,
        *,
        latency_s: float = 0.0,
        side: int = 64,
        retry_after_s: int = 1,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()  # requests by host:port/path
        self.moments: dict[str, list[float]] = {}  # when they came, time.monotonic()
        self.most_at_once: Counter[int] = Counter()  # by port
        self.ports: list[int] = []
        self.placeholder = noise_jpeg(side, seed=1)
        self._photo = noise_jpeg(side)
        self._wanted = [0] * ports if isinstance(ports, int) else ports
        self._latency_s, self._retry_after_s = latency_s, retry_after_s
        self._tls = tls
        self._at_work: Counter[int] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> PhotoServer:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the photo server does not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, kind: str, number: int = 0, *, port: int = 0) -> str:
        """The address of a photo on the ``port``-th port."""
        return f"http://127.0.0.1:{self.ports[port % len(self.ports)]}/{kind}/{number}.jpg"

    def photo(self, kind: str, number: int) -> bytes:
        """What the good kinds send."""
        return self._photo[:2] + _comment(f"{kind} {number}") + self._photo[2:]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        servers = []
        for port in self._wanted:
            listening = socket.create_server(("127.0.0.1", port), backlog=256)
            self.ports.append(listening.getsockname()[1])
            start = asyncio.start_server(self._answer, sock=listening, ssl=self._tls)
            servers.append(self._loop.run_until_complete(start))
        self._ready.set()
        self._loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = int(writer.get_extra_info("sockname")[1])
        self._at_work[port] += 1
        self.most_at_once[port] = max(self.most_at_once[port], self._at_work[port])
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            if path == "/counts":
                await self._send(writer, json.dumps(self.counts).encode())
                return
            self.counts[f"{port}{path}"] += 1
            self.moments.setdefault(f"{port}{path}", []).append(time.monotonic())
            _, kind, name = path.split("/")
            await asyncio.sleep(self._latency_s)
            answer = getattr(self, f"_{kind}", self._status)
            await answer(writer, kind, int(name.removesuffix(".jpg")), self.counts[f"{port}{path}"])
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side left, or the server ends
        finally:
            self._at_work[port] -= 1
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        body: bytes,
        *,
        status: str = "200 OK",
        length: int | None = -1,
        headers: tuple[str, ...] = (),
    ) -> None:
        """Send an answer; ``length`` is what Content-Length claims: None for no claim, −1 for the truth."""
        lines = [f"HTTP/1.1 {status}", *headers]
        if length is not None:
            lines.append(f"Content-Length: {len(body) if length < 0 else length}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    async def _good(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._send(writer, self.photo(kind, number))

    async def _unsized(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._send(writer, self.photo(kind, number), length=None)

    async def _slow(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await asyncio.sleep(0.5)
        await self._send(writer, self.photo(kind, number))

    async def _flaky(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """Two errors, then the photo."""
        if count < 3:
            await self._send(writer, b"", status="500 Internal Server Error")
        else:
            await self._send(writer, self.photo(kind, number))

    async def _busy(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """Asks for a pause in seconds, then in a date, then gives the photo."""
        if count < 3:
            asked: int | str = self._retry_after_s
            if count == 2:
                asked = email.utils.formatdate(time.time() + 1 + self._retry_after_s, usegmt=True)  # whole seconds
            await self._send(writer, b"", status="429 Too Many Requests", headers=(f"Retry-After: {asked}",))
        else:
            await self._send(writer, self.photo(kind, number))

    async def _moved(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._redirect(writer, f"/good/{100_000 + number}.jpg")

    async def _round(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._redirect(writer, f"/round/{number}.jpg")

    async def _tofile(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._redirect(writer, "file:///etc/passwd")

    async def _tohost(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """Redirects to another address of this machine."""
        await self._redirect(writer, f"http://127.0.0.2:{self.ports[0]}/good/0.jpg")

    async def _gone(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """Redirects to a picture that says there is none, as photo hosts do."""
        await self._redirect(writer, "/placeholder/0.jpg")

    async def _redirect(self, writer: asyncio.StreamWriter, to: str) -> None:
        await self._send(writer, b"", status="302 Found", headers=(f"Location: {to}",))

    async def _placeholder(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._send(writer, self.placeholder)

    async def _html(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        page = b"<!DOCTYPE html><html><body>This photo is no longer here.</body></html>"
        await self._send(writer, page, headers=("Content-Type: image/jpeg",))

    async def _cut(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """A file that is damaged on the host: the length is right, the picture is not whole."""
        photo = self.photo(kind, number)
        await self._send(writer, photo[: len(photo) // 2])

    async def _short(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """More is claimed than is sent."""
        photo = self.photo(kind, number)
        await self._send(writer, photo, length=len(photo) + 1000)

    async def _drip(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._send(writer, b"", length=1_000_000)
        for byte in self.photo(kind, number):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async def _driphead(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def _silent(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await asyncio.sleep(3600)

    async def _endless(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        await self._send(writer, self.photo(kind, number), length=None)
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async def _big(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """A good picture of 50 MB, padded behind its end; odd numbers do not say how long it is."""
        photo = self.photo(kind, number)
        await self._send(writer, photo, length=None if number % 2 else BIG)
        left = BIG - len(photo)
        while left:
            piece = min(left, 1 << 18)
            writer.write(bytes(piece))
            await writer.drain()
            left -= piece

    async def _reset(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        photo = self.photo(kind, number)
        await self._send(writer, photo[:500], length=len(photo))
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _status(self, writer: asyncio.StreamWriter, kind: str, number: int, count: int) -> None:
        """Any other kind is a status: 404, 410, 500."""
        await self._send(writer, b"no", status=f"{int(kind)} Refused")


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--side", type=int, default=64)
    options = parser.parse_args()
    with PhotoServer(options.ports, latency_s=options.latency, side=options.side) as server:
        print(json.dumps(server.ports), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
