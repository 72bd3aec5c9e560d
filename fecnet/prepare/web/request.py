"""One HTTP request for one photo: a redirect, a body streamed into a file, or a fault with its reason.

Everything obeys the deadline of the request: connecting, headers, and a slow or endless body. (Only name resolution has
the system's own time limit.) Proxy settings of the environment are ignored: the connection uses the address that was
checked.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import functools
import http.client
import io
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from fecnet.prepare.web.addresses import Place, RefusedError, connect, resolve, split_url
from fecnet.utils.package import VERSION

_CHUNK = 64 * 1024  # bytes
_SLICE_S = 0.5  # interval at which a blocked read checks for a stop
_REDIRECTS = (301, 302, 303, 307, 308)
_AGAIN = (408, 425, 429)  # besides 5xx: status codes to retry
_HEADERS = {
    "User-Agent": f"fecnet/{VERSION} (photo download for research)",
    "Accept": "image/jpeg, image/png, image/*;q=0.9, */*;q=0.1",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        timeout_s: time limit from connecting to the last byte, seconds.
        connect_s: part of it for connecting, seconds.
        max_bytes: maximum size of a body.
        allow_private: allow private, loopback and reserved addresses too.
    """

    timeout_s: float
    connect_s: float
    max_bytes: int
    allow_private: bool


class FaultError(Exception):
    """A request that returned no photo.

    Args:
        reason: the outcome that is counted.
        detail: details for the journal.
        again: retry in this run.
        lasting: permanent, do not retry in later runs.
        answered: the host sent a complete response.
        pause_s: pause requested by the host; None if not requested.
    """

    def __init__(
        self,
        reason: str,
        detail: object = "",
        *,
        again: bool = False,
        lasting: bool = False,
        answered: bool = False,
        pause_s: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, str(detail)
        self.again, self.lasting, self.answered, self.pause_s = again, lasting, answered, pause_s


class StoppedError(Exception):
    """The run was stopped; the request was aborted."""


@dataclass(frozen=True)
class Answer:
    """A successful response.

    Attributes:
        redirect_to: the URL of a redirect; None where the body was written.
        sized: the body had a declared length or end, so that truncation is detected.
    """

    redirect_to: str | None
    sized: bool = True


def request_photo(url: str, into: IO[bytes], limits: Limits, stopped: Callable[[], bool]) -> Answer:
    """Request ``url`` and write the body into a file.

    Args:
        url: http or https.
        into: an empty file open for writing.
        limits: of the request.
        stopped: polled while waiting.

    Raises:
        FaultError: no photo.
        StoppedError: ``stopped()`` became true.
        OSError: ``into`` cannot be written.
    """
    deadline = time.monotonic() + limits.timeout_s
    with _network_faults():
        place = split_url(url)
        addresses = resolve(place, allow_private=limits.allow_private)
    with contextlib.closing(_open_socket(place, addresses, limits, deadline)) as inner:
        connection = http.client.HTTPConnection(place.host, place.port)
        connection.default_port = 443 if place.scheme == "https" else 80  # decides the Host header
        connection.auto_open = 0
        connection.sock = _TimedSocket(inner, deadline, stopped)
        with _network_faults():
            connection.request("GET", place.target, headers=_HEADERS)
            response = connection.getresponse()
        if response.status in _REDIRECTS:
            return Answer(redirect_to=_redirect_target(url, response))
        _check_status(response)
        sized = response.chunked or response.length is not None
        for chunk in _chunks(response, limits.max_bytes):
            into.write(chunk)
        return Answer(redirect_to=None, sized=sized)


@contextlib.contextmanager
def _network_faults() -> Iterator[None]:
    """Convert network exceptions to FaultError with a reason."""
    try:
        yield
    except RefusedError as error:
        raise FaultError(error.reason, error, answered=True) from error  # not a fault of the host
    except socket.gaierror as error:
        raise FaultError("no_address", error, again=True) from error
    except ssl.SSLError as error:
        certificate = isinstance(error, ssl.SSLCertVerificationError)
        raise FaultError("tls", error, again=not certificate) from error
    except TimeoutError as error:
        raise FaultError("timeout", error, again=True) from error
    except http.client.IncompleteRead as error:
        raise FaultError("wrong_length", error, again=True) from error
    except ConnectionError as error:
        raise FaultError("reset", error, again=True) from error
    except (http.client.HTTPException, ValueError) as error:
        raise FaultError("bad_response", repr(error), again=True) from error
    except OSError as error:
        raise FaultError("unreachable", error, again=True) from error


def _open_socket(place: Place, addresses: list[tuple[int, Any]], limits: Limits, deadline: float) -> socket.socket:
    """Connect to one of the checked addresses, with TLS for https."""
    with _network_faults():
        try:
            inner = connect(addresses, timeout_s=min(limits.connect_s, limits.timeout_s))
        except ConnectionError as error:
            raise FaultError("unreachable", error, again=True) from error
        if place.scheme == "http":
            return inner
        try:
            inner.settimeout(max(0.001, deadline - time.monotonic()))
            return _tls().wrap_socket(inner, server_hostname=place.host)
        except BaseException:
            inner.close()
            raise


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _TimedSocket:
    """The socket interface that http.client needs, with one deadline for the whole request."""

    def __init__(self, inner: socket.socket, deadline: float, stopped: Callable[[], bool]) -> None:
        self._inner, self._deadline, self._stopped = inner, deadline, stopped

    def sendall(self, data: bytes) -> None:
        self._inner.settimeout(max(0.001, self._deadline - time.monotonic()))
        self._inner.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._inner, self._deadline, self._stopped), _CHUNK)

    def close(self) -> None:
        """Do nothing: http.client closes before the body is read; ``request_photo`` closes at the end."""


class _TimedReader(io.RawIOBase):
    """Reads with short timeouts, so that the deadline and a stop are noticed even if the server stalls."""

    def __init__(self, inner: socket.socket, deadline: float, stopped: Callable[[], bool]) -> None:
        self._inner, self._deadline, self._stopped = inner, deadline, stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._stopped():
                raise StoppedError
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline of the request passed")
            self._inner.settimeout(min(left, _SLICE_S))
            with contextlib.suppress(TimeoutError):
                return self._inner.recv_into(buffer)


def _redirect_target(url: str, response: http.client.HTTPResponse) -> str:
    location = response.headers["Location"]
    if not location:
        raise FaultError("bad_redirect", f"{response.status} without a Location", lasting=True, answered=True)
    with contextlib.suppress(UnicodeError):  # http.client reads headers as latin-1; many hosts send UTF-8
        location = location.encode("latin-1").decode()
    try:
        return urllib.parse.urljoin(url, location)
    except ValueError as error:
        raise FaultError("bad_redirect", error, lasting=True, answered=True) from error


def _check_status(response: http.client.HTTPResponse) -> None:
    status = response.status
    if status in (200, 203):
        return
    again = status in _AGAIN or status >= 500
    pause_s = retry_after_s(response.headers["Retry-After"]) if again else None
    raise FaultError(f"http_{status}", response.reason, again=again, lasting=not again, answered=True, pause_s=pause_s)


def retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header, given as a number or a date; None where it is missing or invalid."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())


def _chunks(response: http.client.HTTPResponse, max_bytes: int) -> Iterator[bytes]:
    """The body in chunks; checks the size limit before and while reading, and the declared length at the end."""
    declared = response.length
    if declared is not None and declared > max_bytes:
        raise FaultError("too_many_bytes", f"{declared} declared", lasting=True, answered=True)
    taken = 0
    while True:
        with _network_faults():
            chunk = response.read(_CHUNK)
        if not chunk:
            break
        taken += len(chunk)
        if taken > max_bytes:
            raise FaultError("too_many_bytes", f"more than {max_bytes}", lasting=True, answered=True)
        yield chunk
    if declared is not None and taken != declared:
        raise FaultError("wrong_length", f"{taken} bytes, {declared} declared", again=True)
