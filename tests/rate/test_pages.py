"""The pages of a study in process: who sees what, what is stored, what is refused."""

import pytest
from fastapi.testclient import TestClient

from fecnet.cli.main import main
from fecnet.rate import serving
from fecnet.rate.raters import exclude, invite, open_link
from fecnet.rate.serving import allowed_hosts, guarded, serve_study
from fecnet.rate.texts import as_html
from fecnet.utils.errors import UserError
from fecnet.web.guard import LOOPBACK
from fecnet.web.server import bind, served
from tests.rate.pages import OWNER, answer, client_of, link
from tests.rate.studies import answer_all, invited, limit_pages, make_study


@pytest.fixture
def study(tmp_path):
    with make_study(tmp_path, triplets=20) as made:
        yield made


@pytest.fixture
def client(study):
    with client_of(study) as made:
        yield made


def said(answer, status):
    assert (answer.status_code, "error" in answer.json()) == (status, True), answer.text
    return answer.json()["error"]


def counted(study):
    return study.rows("SELECT count(*) FROM answers WHERE replaced_at IS NULL")[0][0]


def test_a_session(study, client):
    page = link(study)
    shown = client.get(page)
    assert "Which face shows a different expression" in shown.text and "<strong>Two of them" in shown.text
    assert "style=" not in shown.text and "<script>" not in shown.text and "onclick" not in shown.text
    told = client.get(f"{page}/tasks").json()
    assert (told["state"], told["done"], told["total"], len(told["tasks"])) == ("open", 0, 20, 10)
    assert told["tasks"][0].keys() == {"number", "faces", "answer", "place"}
    stored = client.post(f"{page}/answers", json=answer(1, 2)).json()["answer"]
    assert client.post(f"{page}/answers", json=answer(2, None)).status_code == 200
    told = client.get(f"{page}/tasks", params={"first": 1}).json()
    assert [task["place"] for task in told["tasks"][:3]] == [2, None, None]
    assert [task["answer"] is not None for task in told["tasks"][:3]] == [True, True, False]
    assert told["done"] == 2 and client.get(f"{page}/tasks").json()["tasks"][0]["number"] == 3
    changed = client.post(f"{page}/answers", json=answer(1, 0, replaces=stored))
    assert changed.status_code == 200 and counted(study) == 2


def test_the_order_shown_is_what_the_place_means(study, client):
    page = link(study)
    for task in client.get(f"{page}/tasks").json()["tasks"]:
        client.post(f"{page}/answers", json=answer(task["number"], task["faces"].index(min(task["faces"]))))
    assert {row[0] for row in study.rows("SELECT choice FROM answers")} == {0}  # the first face of each triplet
    assert len({row[0] for row in study.rows("SELECT shown FROM tasks")}) > 2


def test_pictures_are_those_of_ones_own_tasks(study, client):
    study.set(per_rater=1)
    page = link(study)
    faces = client.get(f"{page}/tasks").json()["tasks"][0]["faces"]
    for number in range(1, 9):
        assert client.get(f"{page}/faces/{number}").status_code == (200 if number in faces else 404)
    shown = client.get(f"{page}/faces/{faces[0]}")
    assert shown.headers["content-type"] == "image/png" and "immutable" in shown.headers["cache-control"]
    for number in ("0", "-1", "999", str(1 << 70)):
        assert said(client.get(f"{page}/faces/{number}"), 404) == "no such face"
    for number in ("..%2f..%2fstudy.db", "x", "1.png"):
        assert client.get(f"{page}/faces/{number}").status_code in (404, 422)
    (study.path / "faces" / "000001.png").unlink()
    if 1 in faces:
        assert "no longer there" in said(client.get(f"{page}/faces/1"), 404)


def test_nothing_is_shown_without_a_token(study, client):
    assert "link that was sent to you" in client.get("/").text
    wrong = "x" * 32
    for token in (wrong, "é", "a" * 4000):
        assert "not known" in client.get(f"/r/{token}").text
    for path in (f"/r/{wrong}/tasks", f"/r/{wrong}/faces/1", f"/owner/{wrong}/faces/1", f"/owner/{wrong}"):
        assert "not known" in said(client.get(path), 404)
    assert "not known" in said(client.post(f"/r/{wrong}/answers", json=answer(1)), 404)
    assert said(client.post(f"/owner/{wrong}/state", files={"stopped": (None, "yes")}), 404)
    assert not study.setting("stopped")
    rater = link(study).removeprefix("/r/")
    assert said(client.get(f"/owner/{rater}"), 404)  # a rater is not the owner
    assert client.get(f"/join/{rater}").status_code == 404


def test_one_token_in_two_browsers_is_one_rater(study):
    page = link(study)
    with client_of(study) as one, client_of(study) as other:
        assert one.get(f"{page}/tasks").json() == other.get(f"{page}/tasks").json()
        first = one.post(f"{page}/answers", json=answer(1, 0))
        assert said(other.post(f"{page}/answers", json=answer(1, 2)), 409) == "answered already, in another window"
        assert other.post(f"{page}/answers", json=answer(1, 2)).json()["answer"] == first.json()["answer"]
    assert counted(study) == 1


def test_an_answer_sent_twice_is_one(study, client):
    page, sent = link(study), answer(1, 1)
    client.get(f"{page}/tasks")
    assert client.post(f"{page}/answers", json=sent).json() == client.post(f"{page}/answers", json=sent).json()
    assert counted(study) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"place": 7}, "place: 7; allowed: 0, 1, 2, or null"),
        ({"number": "1"}, "number: '1'"),
        ({"number": 99}, "number: 99: no such task of this rater"),
        ({"key": "../../etc"}, "key: allowed: 8 to 64"),
        ({"seconds": None}, "seconds: None"),
        ({"more": 1}, "an answer has the fields number, key, place, seconds, replaces; seen"),
    ],
)
def test_what_is_no_answer_is_one_line(study, client, changes, told):
    page = link(study)
    client.get(f"{page}/tasks")
    assert said(client.post(f"{page}/answers", json=answer(1) | changes), 400).startswith(told)
    assert counted(study) == 0


def test_bodies_and_methods(study, client):
    page = link(study)
    assert said(client.post(f"{page}/answers", json={}), 400).endswith("seen: none")
    assert said(client.post(f"{page}/answers", content=b"{" * 100_000), 413)
    assert said(client.post(f"{page}/answers", content=b"x"), 415)
    assert said(client.put(f"{page}/answers", json={}), 405) and said(client.delete(page), 405)
    assert said(client.get(f"{page}/tasks?first=0"), 400) == "first: 0; allowed: the number of a task, from 1"
    assert said(client.get(f"{page}/tasks?first=x"), 422)
    answer_from = client.post(f"{page}/answers", json=answer(1), headers={"origin": "http://evil.example"})
    assert said(answer_from, 403).startswith("origin: ")


def test_stopped_and_excluded(study, client):
    page = link(study)
    client.get(f"{page}/tasks")
    study.set(stopped=True)
    assert said(client.post(f"{page}/answers", json=answer(1)), 423) == "the study is paused"
    assert client.get(f"{page}/tasks").json()["state"] == "paused"
    study.set(stopped=False)
    client.post(f"{page}/answers", json=answer(1))
    exclude(study, 1)
    assert said(client.post(f"{page}/answers", json=answer(2)), 403) == "this link is no longer in use"
    assert client.get(f"{page}/tasks").json() == {"state": "excluded", "tasks": [], "done": 0, "total": 0}


def test_the_open_link_hands_out_personal_ones(study, client):
    token = open_link(study)
    assert "I agree" in client.get(f"/join/{token}").text
    assert study.rows("SELECT count(*) FROM raters")[0][0] == 0  # looking makes nobody
    one, other = (client.post(f"/join/{token}") for _ in range(2))
    assert one.status_code == 303 and one.headers["location"].startswith("/r/")
    assert one.headers["location"] != other.headers["location"]
    page, _, agreed = one.headers["location"].partition("#")
    assert client.get(f"{page}/tasks").json()["total"] == 20 and agreed == "agreed"
    assert [row[0] for row in study.rows("SELECT origin FROM raters")] == ["open", "open"]
    study.set(stopped=True)
    assert client.post(f"/join/{token}").status_code == 423
    open_link(study)
    assert said(client.post(f"/join/{token}"), 404)


def test_an_open_link_makes_no_more_raters_than_it_may(study, client):
    invite(study, 3)  # who are not of an open link
    token = open_link(study, most=2)
    assert [client.post(f"/join/{token}").status_code for _ in range(3)] == [303, 303, 403]
    assert "No more places" in client.post(f"/join/{token}").text
    assert study.rows("SELECT count(*) FROM raters")[0][0] == 5
    assert client.post(f"/join/{open_link(study, most=3)}").status_code == 303


def test_a_full_disk_is_told_and_the_answer_can_come_again(study, client):
    page = link(study)
    client.get(f"{page}/tasks")
    limit_pages(study, study.rows("PRAGMA page_count")[0][0])
    last, response = None, None
    for _ in range(300):  # changes the first answer until there is no room
        kept = answer(1, replaces=last)
        response = client.post(f"{page}/answers", json=kept)
        if response.status_code != 200:
            break
        last = response.json()["answer"]
    assert said(response, 507).startswith("the server could not store this: no room on the disk")
    assert client.get(f"{page}/tasks?first=1").json()["tasks"][0]["answer"] == last  # the one before is there
    limit_pages(study, 1_000_000)
    assert client.post(f"{page}/answers", json=kept).json()["answer"] == last + 1
    assert counted(study) == 1


def test_the_owner_sees_and_decides(study, client):
    for rater in invited(study, 2):
        answer_all(study, rater, lambda faces: 0)
    page = client.get(f"/owner/{OWNER}")
    assert page.headers["cache-control"] == "no-store"
    for text in ("rater-002", "40</strong><span>answers of 60 wanted", "Krippendorff", "Taking answers", "Most split"):
        assert text in page.text
    assert "style=" not in page.text and "<script>" not in page.text
    assert client.get(f"/owner/{OWNER}/faces/1").headers["content-type"] == "image/png"
    assert client.get(f"/owner/{OWNER}/faces/99").status_code == 404
    assert client.post(f"/owner/{OWNER}/state", files={"stopped": (None, "yes")}).status_code == 303
    assert study.setting("stopped") and "Paused" in client.get(f"/owner/{OWNER}").text
    client.post(f"/owner/{OWNER}/state", files={"stopped": (None, "no")})
    assert not study.setting("stopped")
    assert client.post(f"/owner/{OWNER}/raters/2", files={"excluded": (None, "yes")}).status_code == 303
    assert study.rows("SELECT excluded FROM raters WHERE id = 2")[0][0] == 1
    assert "excluded" in client.get(f"/owner/{OWNER}").text
    assert said(client.post(f"/owner/{OWNER}/raters/9", files={"excluded": (None, "yes")}), 400).endswith("no rater 9")
    assert said(client.post(f"/owner/{OWNER}/state", files={"stopped": (None, "maybe")}), 400).startswith(
        "stopped: 'maybe'"
    )


def test_an_owner_of_nobody(tmp_path):
    with make_study(tmp_path) as study, client_of(study) as client:
        assert "Nobody yet" in client.get(f"/owner/{OWNER}").text


def test_the_owners_texts_cannot_do_anything(study, client):
    text = '# Hi <script>alert(1)</script>\n\n<div onclick="x">b</div>\n\n- [l](javascript:alert(1)) **b**\n\n![i](http://x/y.png)'
    (study.path / "instructions.md").write_text(text)
    page = client.get(link(study)).text
    assert "&lt;script&gt;alert(1)" in page and "<div onclick" not in page and "javascript:" not in page
    assert "<strong>b</strong>" in page and '<img src="http' not in page
    assert 'href="https://a.example/"' in as_html("[x](https://a.example/)")
    assert "href" not in as_html("[x]( JaVa\tScript:x) [y][1]\n\n[1]: data:text/html,x")
    (study.path / "consent.md").write_bytes(b"\xff")
    assert "is not UTF-8" in said(client.get(link(study)), 400)
    (study.path / "consent.md").unlink()
    assert client.get(link(study)).status_code == 200


def test_hosts(study):
    assert allowed_hosts("127.0.0.1", "") == LOOPBACK and allowed_hosts("0.0.0.0", "") == ()
    assert allowed_hosts("127.0.0.1", "https://rate.example.org") == (*LOOPBACK, "rate.example.org")
    for url in ("rate.example.org", "ftp://x", "https://x/path", "https://"):
        with pytest.raises(UserError, match="--url"):
            allowed_hosts("127.0.0.1", url)
    client = TestClient(guarded(study, OWNER), base_url="http://rate.example.org")
    assert said(client.get("/"), 400).startswith("host: ")


def test_serving_says_the_links_and_holds_the_study(study, monkeypatch, capsys):
    seen = {}

    def serve(app, listening):
        seen["answer"] = TestClient(app, base_url="http://localhost").get("/").status_code
        with pytest.raises(UserError, match="is served by another process already"):
            serve_study(study.path, "127.0.0.1", 0)

    monkeypatch.setattr(serving, "serve", serve)
    assert main(["rate", "serve", str(study.path), "--port", "0"]) == 0
    told = capsys.readouterr().out
    assert seen["answer"] == 200 and "owner: http://127.0.0.1:" in told and "/owner/" in told
    assert "others can reach it" not in told
    assert main(["rate", "serve", str(study.path), "--port", "0", "--host", "0.0.0.0"]) == 0
    assert "others can reach it: no page shows anything without the token" in capsys.readouterr().out


def test_a_port_in_use_is_one_line(study, capsys):
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["rate", "serve", str(study.path), "--port", str(port)]) == 2
    assert f"127.0.0.1, port {port}: in use by another program" in capsys.readouterr().err


def test_invitations(study, capsys):
    assert main(["rate", "invite", str(study.path), "2", "--url", "https://x.example/"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["rater-001", "rater-002"]
    path = lines[1].partition("https://x.example")[2]
    with client_of(study) as client:
        assert client.get(f"{path}/tasks").json()["total"] == 20
        assert main(["rate", "invite", str(study.path), "--open"]) == 0
        opened = capsys.readouterr().out.strip()
        assert client.get(opened.removeprefix("http://127.0.0.1:8000")).status_code == 200
        assert study.setting("open_raters") == 1000
        assert main(["rate", "invite", str(study.path), "--open", "--most", "7"]) == 0
        assert study.setting("open_raters") == 7
    for words in ([], ["2", "--open"], ["2", "--url", "x.example"], ["2", "--most", "9"], ["--open", "--most", "0"]):
        assert main(["rate", "invite", str(study.path), *words]) == 2


def test_stop_resume_exclude_by_command(study, capsys):
    ((rater, _),) = invite(study, 1)
    path = str(study.path)
    assert main(["rate", "stop", path]) == 0 and study.setting("stopped")
    assert main(["rate", "resume", path]) == 0 and not study.setting("stopped")
    assert main(["rate", "exclude", path, str(rater.id)]) == 0
    assert study.rows("SELECT excluded FROM raters")[0][0] == 1
    assert main(["rate", "exclude", path, "1", "--undo"]) == 0
    assert study.rows("SELECT excluded FROM raters")[0][0] == 0
    assert main(["rate", "exclude", path, "7"]) == 2
    assert main(["rate", "more", path, "--triplets", "3"]) == 0
    assert "round 2, random: 3 triplets" in capsys.readouterr().out


def test_a_real_server_answers(study):
    import httpx

    page = link(study)
    with served(guarded(study, OWNER)) as base:
        httpx.get(f"{base}{page}/tasks")
        assert httpx.post(f"{base}{page}/answers", json=answer(1)).json() == {"answer": 1}
