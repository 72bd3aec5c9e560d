"""``fecnet serve``: what it opens, where it listens, and what it refuses in one line."""

import re

import httpx
import pytest

from fecnet.cli.main import main
from fecnet.web.server import bind, served


@pytest.fixture
def started(monkeypatch):
    """Answers some requests in place of serving until it is stopped."""
    asked = {}

    def answering(app, listening):
        with served(app) as address:
            for path in asked["paths"]:
                asked[path] = httpx.get(f"{address}{path}", headers={"host": listening.getsockname()[0]})

    monkeypatch.setattr("fecnet.serve.start.serve", answering)

    def start(*words, paths=("/", "/api/about")):
        asked.clear()
        asked["paths"] = paths
        code = main(["serve", *map(str, words), "--port", "0", "--device", "cpu"])
        return code, asked

    return start


def test_a_run_with_map_and_index(started, folder, index, capsys):
    code, asked = started(folder / "result" / "joint", "--index", folder / "index", "--map", folder / "moods")
    assert code == 0
    about = asked["/api/about"].json()
    assert (about["net"], about["index"], about["map"]) == (index.net, len(index), 64)
    told = capsys.readouterr().out
    assert re.search(r"joint/checkpoints/2: http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", told)
    assert "other machines" not in told and "token" not in told


def test_an_index_brings_its_net(started, folder, index):
    code, asked = started("--index", folder / "index")
    assert code == 0 and asked["/api/about"].json()["net"] == index.net


def test_without_anything_it_is_the_shipped_net(started):
    code, asked = started("--faces", "whole")
    about = asked["/api/about"].json()
    assert code == 0 and about["net"] == "fecnet-base" and len(about["classes"]) == 8
    assert "Each photo is taken as a face." in asked["/"].text


def test_beyond_this_machine_it_needs_the_printed_token(started, folder, capsys):
    code, asked = started(folder / "result" / "joint", "--host", "0.0.0.0")
    assert code == 0 and asked["/"].status_code == 401
    told = capsys.readouterr().out
    assert "other machines reach this server: who has the link may use it; it is not encrypted" in told
    token = re.search(r"/\?token=([\w-]{32}) ", told)[1]
    code, asked = started(folder / "result" / "joint", "--host", "0.0.0.0", paths=(f"/?token={token}",))
    assert asked[f"/?token={token}"].status_code == 401  # another one each time


def test_another_address_of_this_machine_needs_none(started, folder, capsys):
    code, asked = started(folder / "result" / "joint", "--host", "127.0.0.2")
    assert code == 0 and asked["/"].status_code == 200
    assert "token" not in capsys.readouterr().out


def test_a_port_in_use_is_one_line_before_anything_is_loaded(capsys):
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "nowhere", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"error: 127.0.0.1, port {port}: in use by another program; give another one: --port\n"
    )


def test_one_line_for_what_does_not_fit(started, folder, index, tiny, capsys, monkeypatch):
    run, other = folder / "result" / "joint", folder / "result" / "classifier"
    for words, text in (
        ((other, "--index", folder / "index"), "is another net"),
        ((run, "--index", tiny), "no index here"),
        ((run, "--map", folder / "photos"), "photos"),
        ((tiny,), "tiny"),
    ):
        assert started(*words)[0] == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1 and text in told
    monkeypatch.setattr("fecnet.web.extra.find_spec", lambda name: None)
    assert started(run)[0] == 2
    assert capsys.readouterr().err.endswith("install with: pip install 'fecnet[web]'\n")
