"""Allowed download addresses: http and https only, and no private networks.

A host name is resolved once per request, and the connection uses the address that was checked, which prevents DNS
rebinding.
"""

from __future__ import annotations

import ipaddress
import socket
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

from fecnet.utils.shown import shown

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # carries an IPv4 address in its last 32 bits
_KEPT = "/%:=&?~+!$,;'@()*[]-._"  # unescaped characters of path and query; all others are percent-encoded


class RefusedError(Exception):
    """An address that is not allowed; ``reason`` is the outcome that is counted."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class Place:
    """The parts of a URL.

    Attributes:
        scheme: ``http`` or ``https``.
        host: name or address, ASCII, without brackets.
        port: of the URL, or the default of the scheme.
        target: path and query, as in the request line.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def key(self) -> str:
        """``host:port``, the key of the per-host limits."""
        return f"{self.host}:{self.port}"


def split_url(url: str) -> Place:
    """Parse a URL.

    Raises:
        RefusedError: another scheme (``refused_scheme``), or no usable host or port (``bad_url``).
    """
    try:
        parts = urllib.parse.urlsplit(url.strip())
    except ValueError as error:
        raise RefusedError("bad_url", f"{url}: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise RefusedError("refused_scheme", f"{url}: scheme {shown(parts.scheme)}, allowed are http and https")
    try:
        host, given = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:  # includes the UnicodeError of idna
        raise RefusedError("bad_url", f"{url}: {error}") from error
    port = _DEFAULT_PORTS[parts.scheme] if given is None else given
    if not host or port == 0 or any(letter <= " " for letter in host):
        raise RefusedError("bad_url", f"{url}: no usable host and port")
    target = urllib.parse.quote(parts.path or "/", safe=_KEPT)
    if parts.query:
        target += "?" + urllib.parse.quote(parts.query, safe=_KEPT)
    return Place(parts.scheme, host, port, target)


def is_public(address: str) -> bool:
    """Whether an IP address is public; an IPv4 address embedded in an IPv6 address is checked too."""
    found = ipaddress.ip_address(address.split("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        tunnelled = (found.sixtofour, *(found.teredo or ()))
        if not all(is_public(str(inner)) for inner in tunnelled if inner is not None):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def resolve(place: Place, *, allow_private: bool) -> list[tuple[int, Any]]:
    """Resolve the host: family and socket address of its allowed addresses, in the system's order.

    Raises:
        socket.gaierror: the name does not resolve.
        RefusedError: none of its addresses is allowed (``refused_address``).
    """
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    allowed: list[tuple[int, Any]] = [
        (family, address) for family, *_, address in found if allow_private or is_public(str(address[0]))
    ]
    if not allowed:
        seen = ", ".join(sorted({str(address[0]) for *_, address in found}))
        raise RefusedError("refused_address", f"{place.key} is {seen}: not a public address")
    return allowed


def connect(addresses: list[tuple[int, Any]], *, timeout_s: float) -> socket.socket:
    """Connect to the first of ``addresses`` that accepts, within ``timeout_s`` in total.

    Raises:
        OSError: none accepted; the error of the last one.
    """
    deadline = time.monotonic() + timeout_s
    last: OSError = TimeoutError("no time left to connect")
    for number, (family, address) in enumerate(addresses):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.settimeout(
                left / (len(addresses) - number)
            )  # so that an unresponsive address leaves time for the next
            found.connect(address)
            return found
        except OSError as error:
            found.close()
            last = error
    raise last
