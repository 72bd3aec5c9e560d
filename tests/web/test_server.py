"""Starting and stopping; a port in use and a missing package are one line each."""

import socket

import httpx
import pytest
from starlette.responses import PlainTextResponse

from fecnet.utils.errors import UserError
from fecnet.web import extra
from fecnet.web.server import address_of, bind, is_loopback, serve, served

HELLO = PlainTextResponse("hello")


def test_it_answers_until_the_block_ends():
    with served(HELLO) as address:
        answer = httpx.get(address)
        assert (answer.text, "server" in answer.headers) == ("hello", False)
        port = int(address.rpartition(":")[2])
        with pytest.raises(UserError, match=rf"^127\.0\.0\.1, port {port}: in use by another program; .*--port$"):
            bind("127.0.0.1", port)
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
    bind("127.0.0.1", port).close()  # at once


def test_the_headers_of_a_proxy_are_not_believed():
    async def told(scope, receive, send):
        await PlainTextResponse(f"{scope['scheme']} {scope['client'][0]}")(scope, receive, send)

    with served(told) as address:
        headers = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}
        assert httpx.get(address, headers=headers).text == "http 127.0.0.1"


def test_serving_ends_with_ctrl_c(monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
    with bind("127.0.0.1", 0) as listening:
        assert serve(HELLO, listening) is None


@pytest.mark.parametrize(
    ("host", "port", "line"),
    [
        ("127.0.0.1", 70000, "port: 70000; allowed: 0 to 65535"),
        ("nowhere.invalid", 0, "host: 'nowhere.invalid': not an address or name of this machine"),
        ("192.0.2.1", 0, "192.0.2.1, port 0: Cannot assign requested address"),
    ],
)
def test_where_nothing_can_be_bound(host, port, line):
    with pytest.raises(UserError) as raised:
        bind(host, port)
    assert str(raised.value) == line


def test_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))


def test_addresses(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    with bind("127.0.0.1", 0) as one, bind("0.0.0.0", 0) as other:
        assert address_of(one) == f"http://127.0.0.1:{one.getsockname()[1]}/"
        assert address_of(other, "secret") == f"http://box:{other.getsockname()[1]}/?token=secret"


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name in ("uvicorn", "python_multipart") else object())
    with pytest.raises(
        UserError, match=r"^pages need uvicorn, python-multipart; install with: pip install 'fecnet\[web\]'$"
    ):
        extra.check_web()
