"""Serves an application: in this thread until it is stopped, or in another thread."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

logger = logging.getLogger(__name__)

_START_S = 30.0


def is_loopback(host: str) -> bool:
    """Whether an address or name can be reached only from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: address or name of this machine.
        port: 0 for a free one.

    Raises:
        UserError: the port is in use or not permitted, or this machine has no such address.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"port: {port}; allowed: 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"host: {shown(host)}: not an address or name of this machine") from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # reuse the port of a server that has just ended
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"{host}, port {port}: in use by another program; give another one: --port") from error
        raise UserError(f"{host}, port {port}: {error.strerror}") from error
    return listening


def address_of(listening: socket.socket, token: str = "") -> str:
    """The link to a bound socket, with its token."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer requests until SIGINT or SIGTERM; requests in progress are completed."""
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has stopped
        _server(app).run(sockets=[listening])


@contextmanager
def served(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer requests in another thread; yields the address, without a trailing slash.

    Raises:
        UserError: see ``bind``.
    """
    listening = bind(host, port)
    server = _server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server", daemon=True)
    thread.start()
    try:
        yield address_of(listening).rstrip("/")
    finally:
        server.should_exit = True
        thread.join(_START_S)
        listening.close()


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_config=None,  # keep fecnet's logging configuration
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # anyone could forge them
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
