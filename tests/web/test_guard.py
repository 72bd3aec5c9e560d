"""What every page refuses before it does anything, and the headers of every answer."""

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from fecnet.utils.errors import UserError
from fecnet.web.app import new_app, templates
from fecnet.web.bodies import read_form, read_json
from fecnet.web.guard import LOOPBACK, Guard, Policy
from fecnet.web.tokens import new_token, same_token

MEGABYTE = 1_000_000


def application(tmp_path):
    app = new_app("trial", tmp_path)
    read = []

    @app.get("/")
    async def root():
        return {"said": "hello"}

    @app.get("/mistake")
    async def mistake():
        raise UserError("x.csv: line 3:\n7 columns")

    @app.get("/fault")
    async def fault():
        return {}["absent"]

    @app.get("/number/{value}")
    async def number(value: int):
        return value

    @app.post("/json")
    async def sent(request: Request):
        return await read_json(request, max_bytes=1000)

    @app.post("/form")
    async def form(request: Request):
        read.append("began")
        found = await read_form(request, max_file=3 * MEGABYTE, max_files=2)
        return {
            "text": found.text,
            "files": {name: [len(file) for file in files] for name, files in found.files.items()},
        }

    app.state.read = read
    return app


@pytest.fixture
def client(tmp_path):
    (tmp_path / "own.js").write_text("1")
    app = application(tmp_path)
    client = TestClient(
        Guard(app, Policy(4 * MEGABYTE)), base_url="http://localhost:8000", raise_server_exceptions=False
    )
    client.read = app.state.read
    return client


def said(answer, status):
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert "\n" not in answer.json()["error"]
    return answer.json()["error"]


def test_every_answer_has_the_headers(client):
    for address in ("/", "/static/own.js", "/web/base.css", "/nowhere", "/fault"):
        headers = client.get(address).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert "server" not in headers


def test_errors_are_one_line_of_json(client):
    assert said(client.get("/mistake"), 400) == "x.csv: line 3: 7 columns"
    assert said(client.get("/nowhere"), 404) == "Not Found"
    assert said(client.put("/"), 405) == "Method Not Allowed"
    assert said(client.get("/number/x"), 422).startswith("path.value: ")
    assert said(client.get("/fault"), 500) == "this is a fault of fecnet; the terminal of the server shows more"


def test_only_files_of_the_folder_are_served(client, tmp_path):
    (tmp_path.parent / "secret").write_text("x")
    assert client.get("/static/own.js").text == "1"
    for name in ("../secret", "%2e%2e/secret", "..%2fsecret", "%2fetc%2fpasswd", "own.js%00"):
        assert client.get(f"/static/{name}").status_code in (400, 404), name


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "a@b:c"]
)
def test_another_host_is_refused(client, host):
    assert said(client.get("/", headers={"host": host}), 400).startswith("host: ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "[::1]:8000", "LOCALHOST:8000"])
def test_this_machine_is_allowed(client, host):
    assert client.get("/", headers={"host": host}).json() == {"said": "hello"}


def test_pages_elsewhere_change_nothing(client):
    for origin in ("http://evil.example", "null", "http://localhost:9", "http://[x", "https://localhost:8000/a"):
        assert said(client.post("/json", json={}, headers={"origin": origin}), 403).startswith("origin: ")
    assert client.post("/json", json={"a": 1}, headers={"origin": "http://localhost:8000"}).json() == {"a": 1}


def test_a_large_body_is_refused_by_its_length(client):
    answer = client.post("/form", files={"photo": b"x" * (4 * MEGABYTE)})
    assert said(answer, 413) == "too large: allowed are 4,000,000 bytes in all"
    assert client.read == []  # before the application saw it
    assert answer.headers["connection"] == "close"


def test_a_body_without_length_is_refused_once_it_is_too_large(client):
    given = []

    def chunks():
        yield b'--b\r\ncontent-disposition: form-data; name="photo"; filename="x"\r\n\r\n'
        for _ in range(100):
            given.append(1)
            yield b"x" * MEGABYTE

    answer = client.post("/form", content=chunks(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert said(answer, 413).startswith("too large")


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10"])
def test_a_length_that_is_none_is_refused(client, length):
    assert said(client.post("/json", content=b"{}", headers={"content-length": length}), 413)


def test_files_stay_in_memory_and_their_names_are_forgotten(client, monkeypatch):
    def rolled(*_):
        raise AssertionError("a file was written to the disk")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rolled)
    files = [("photo", ("../../etc/passwd", b"x" * (2 * MEGABYTE))), ("photo", ("b\0c", b"y"))]
    found = client.post("/form", files=files, data={"pick": "1"}).json()
    assert found == {"text": {"pick": "1"}, "files": {"photo": [2 * MEGABYTE, 1]}}


def test_forms_are_bounded(client):
    assert "photo: 3,000,001 bytes; allowed: 3,000,000" in said(
        client.post("/form", files={"photo": b"x" * (3 * MEGABYTE + 1)}), 413
    )
    three = [("photo", ("a", b"x"))] * 3
    assert "Too many files" in said(client.post("/form", files=three), 400)
    assert "Too many fields" in said(client.post("/form", files=three[:1], data={f"f{k}": "" for k in range(20)}), 400)
    assert "maximum size" in said(client.post("/form", files=three[:1], data={"f": "x" * 5000}), 400)
    assert said(client.post("/form", content=b"x"), 415) == "content type: expected multipart/form-data"
    for content, kind in ((b"x", "multipart/form-data"), (b"junk", "multipart/form-data; boundary=b")):
        assert said(client.post("/form", content=content, headers={"content-type": kind}), 400).startswith("form: ")


def test_json_is_bounded(client):
    def post(text):
        return client.post("/json", content=text, headers={"content-type": "application/json; charset=utf-8"})

    assert post('{"a": [1, {"b": 2.5}]}').json() == {"a": [1, {"b": 2.5}]}
    assert said(post('{"a": "' + "x" * 1000 + '"}'), 413) == "JSON: too large; allowed: 1,000 bytes"
    assert said(post('{"a":' * 9 + "1" + "}" * 9), 400) == "JSON: too deep; allowed: 8 levels"
    assert post('{"a":' * 8 + "1" + "}" * 8).status_code == 200
    assert said(post("[" * 900), 400).startswith("JSON: cannot be read")
    for text in ("[1]", "3", '"x"', "null"):
        assert said(post(text), 400) == "JSON: expected an object"
    for text in ("", "{", b"\xff", '{"a": ' + "9" * 900 + "e}"):
        assert said(post(text), 400).startswith("JSON: cannot be read")
    assert said(post('{"a": NaN}'), 400) == "JSON: NaN is no number"
    assert said(client.post("/json", content="{}"), 415) == "content type: expected application/json"


def test_a_token_opens_by_link_cookie_or_header(tmp_path):
    token = new_token()
    guard = Guard(application(tmp_path), Policy(MEGABYTE, hosts=(), token=token))

    def client():
        return TestClient(guard, base_url="http://192.0.2.1:8000", follow_redirects=False)

    for address in ("/", "/static/x", "/api/openapi.json", "/?token=", f"/?token={token}x", "/?token=é"):
        answer = client().get(address)
        assert said(answer, 401).startswith("token: missing or wrong; open the link")
        assert "set-cookie" not in answer.headers
    assert said(client().post("/json", json={}, headers={"authorization": "Bearer x"}), 401)
    assert said(client().post(f"/json?token={token}", json={}), 401)  # only a link that is opened
    assert client().post("/json", json={}, headers={"authorization": f"Bearer {token}"}).json() == {}
    opened = client()
    answer = opened.get(f"/?token={token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=lax" in answer.headers["set-cookie"]
    assert opened.get("/").json() == {"said": "hello"}
    assert token not in answer.text


def test_tokens():
    made = {new_token() for _ in range(100)}
    assert len(made) == 100 and min(map(len, made)) == 32
    assert (
        same_token("a", "a") and not same_token("a", "b") and not same_token("", "") and not same_token("é\ud800", "a")
    )


def test_templates_escape_and_want_every_name(tmp_path):
    (tmp_path / "x.html").write_text('{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}')
    template = templates(tmp_path).get_template("x.html")
    assert "<title>&lt;script&gt;</title>" in template.render(name="<script>")
    with pytest.raises(Exception, match="'name' is undefined"):
        template.render()


def test_the_interface_shows_no_page_that_loads_from_elsewhere(client):
    assert client.get("/api/openapi.json").json()["info"]["title"] == "trial"
    for address in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert said(client.get(address), 404)


def test_loopback_names():
    assert Policy(1).hosts == LOOPBACK
