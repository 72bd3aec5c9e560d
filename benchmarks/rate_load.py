"""Raters at once, who answer a study over HTTP and try again whatever happens to the server.

Plain sockets and uvloop: with an HTTP library, the raters would take more of the processor than the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvloop

Rule = Callable[[int, list[int]], int]  # number of the rater and the faces shown, to the place chosen

_PAUSE_S = 0.05  # before a connection that was lost is opened again


@dataclass
class Rater:
    """What a rater did.

    Attributes:
        path: of the personal page.
        acknowledged: numbers of the answers by key, as the server told them.
        places: the place that was chosen, by the key of each answer that was ever sent.
        errors: answers other than an acknowledgement.
    """

    path: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class Load:
    """Raters who answer until so many answers are acknowledged.

    Args:
        port: of the server, on this machine.
        paths: of the raters' pages.
        name: begins the keys; another one for each load.
        rule: what a rater chooses; by default any face, the same again for the same task.
    """

    def __init__(self, port: int, paths: list[str], name: str, rule: Rule | None = None) -> None:
        self._port, self._name = port, name
        self._rule: Rule = rule or (lambda number, faces: (number + faces[0]) % 3)
        self.raters = [Rater(path) for path in paths]
        self._left = 0

    def run(self, answers: int) -> None:
        """Answer until ``answers`` more are acknowledged, or there are no tasks."""
        self._left = answers
        uvloop.run(self._run())

    @property
    def acknowledged(self) -> int:
        """Answers acknowledged so far."""
        return sum(len(rater.acknowledged) for rater in self.raters)

    async def _run(self) -> None:
        await asyncio.gather(*(self._rate(rater, number) for number, rater in enumerate(self.raters)))

    async def _rate(self, rater: Rater, number: int) -> None:
        connection = _Connection(self._port)
        try:
            while self._left > 0:
                status, told = await connection.ask("GET", f"{rater.path}/tasks")
                waiting = [task for task in told.get("tasks", []) if task["answer"] is None]
                if status != 200 or not waiting:
                    rater.errors += [] if status == 200 else [f"{status} {told}"]
                    return
                for task in waiting:
                    if self._left <= 0:
                        return
                    await self._answer(connection, rater, task, number)
        finally:
            connection.close()

    async def _answer(self, connection: _Connection, rater: Rater, task: dict[str, Any], number: int) -> None:
        key = f"{self._name}-{number}-{task['number']}"
        rater.places[key] = self._rule(number, task["faces"])
        sent = {"number": task["number"], "key": key, "place": rater.places[key], "seconds": 1.5, "replaces": None}
        status, told = await connection.ask("POST", f"{rater.path}/answers", sent)
        if status == 200:
            rater.acknowledged[key] = told["answer"]
            self._left -= 1
        else:
            rater.errors.append(f"{status} {told}")


class _Connection:
    """A connection that is opened again, and a request sent again, until there is an answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> tuple[int, dict]:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        if content:
            head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        request = head.encode() + b"\r\n" + content
        while True:
            try:
                return await self._once(request)
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                self.close()
                await asyncio.sleep(_PAUSE_S)

    async def _once(self, request: bytes) -> tuple[int, dict]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
        return int(lines[0].split()[1]), json.loads(await reader.readexactly(length))

    def close(self) -> None:
        if self._streams is not None:
            with contextlib.suppress(OSError):
                self._streams[1].close()
        self._streams = None
