"""Checks every request before the application: host, origin, token, size of the body; adds security headers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fecnet.utils.shown import shown
from fecnet.web.app import error
from fecnet.web.tokens import same_token

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not no-referrer: with that, browsers send "null" as the origin of our own forms
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}

_ENCODED = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
_NAMES = frozenset(name for name, _ in _ENCODED)


@dataclass(frozen=True)
class Policy:
    """What an application accepts.

    Attributes:
        max_body: maximum size of a request's body, bytes.
        hosts: allowed host names, without port; empty for any. On loopback this refuses pages of other sites whose name
            was made to resolve to this machine (DNS rebinding).
        token: required for every request where it is not empty: first in the link, then as a cookie, or as a bearer
            token.
    """

    max_body: int
    hosts: tuple[str, ...] = LOOPBACK
    token: str = ""


class Guard:
    """An application protected by a policy.

    Requests are refused before their bodies are read: wrong host (400), changes requested by a page of another origin
    (403), missing token (401), body too large (413). A body without declared length is refused as soon as it is too
    large. Every response has headers against foreign or inline scripts, sniffing and framing.

    Args:
        app: the application.
        policy: what it accepts.
    """

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = Headers(scope=scope)
            answer = self._refusal(scope, headers) or self._entrance(scope, headers)
            app: ASGIApp = answer or self._app
            await app(scope, receive if answer else self._bounded(receive), _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        policy = self._policy
        host = headers.get("host", "")
        if policy.hosts and _host_name(host) not in policy.hosts:
            return error(400, f"host: {shown(host)}; allowed: {', '.join(policy.hosts)}")
        if "\0" in scope["path"]:  # not a valid file name; Starlette before 1.0 fails on it
            return error(404, "Not Found")
        origin = headers.get("origin")
        if scope["method"] not in _SAFE and origin is not None and origin.partition("://")[2] != host:
            return error(403, f"origin: {shown(origin)}; allowed: pages of this server")
        length = headers.get("content-length", "0")
        if not (length.isdecimal() and len(length) < 20 and int(length) <= policy.max_body):
            return error(413, self._too_large(), {"connection": "close"})
        return None

    def _entrance(self, scope: Scope, headers: Headers) -> Response | None:
        """None where the token is valid; else the response."""
        token = self._policy.token
        if not token:
            return None
        cookie = (
            f"fecnet-{hashlib.sha256(token.encode()).hexdigest()[:8]}"  # a separate cookie for each server on this host
        )
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if same_token(cookie_parser(headers.get("cookie", "")).get(cookie, ""), token) or same_token(bearer, token):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=20)
        if scope["method"] == "GET" and same_token(query.get("token", [""])[0], token):
            answer = RedirectResponse("/", 303)  # removes the token from the address bar
            answer.set_cookie(
                cookie, token, httponly=True, samesite="lax"
            )  # a strict cookie would not be sent after this redirect
            return answer
        text = "token: missing or wrong; open the link that the server printed, or send 'Authorization: Bearer TOKEN'"
        return error(401, text, {"www-authenticate": "Bearer"})

    def _bounded(self, receive: Receive) -> Receive:
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._policy.max_body:
                raise HTTPException(413, self._too_large(), {"connection": "close"})
            return message

        return bounded

    def _too_large(self) -> str:
        return f"too large: allowed are {self._policy.max_body:,} bytes in all"


def _host_name(host: str) -> str:
    """``localhost`` of ``localhost:8000``, ``::1`` of ``[::1]:8000``."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [pair for pair in message["headers"] if pair[0] not in _NAMES]
            if all(name != b"cache-control" for name, _ in own):
                own.append((b"cache-control", b"no-cache"))  # static files are revalidated by their ETags
            message["headers"] = own + _ENCODED
        await send(message)

    return sending
