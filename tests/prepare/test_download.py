import email.utils
import hashlib
import json
import random
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from fecnet.prepare.web import addresses, request
from fecnet.prepare.web.download import fetch_photos
from fecnet.prepare.web.host_queues import GIVE_UP_AFTER
from fecnet.prepare.web.journal import FolderLock
from fecnet.prepare.web.repeats import MANY
from fecnet.utils.files import hash_file
from tests.prepare.photo_server import BIG, PhotoServer

ROOT = Path(__file__).parents[2]
GOOD = ("good", "unsized", "flaky", "busy", "moved")
# kind: reason, requests in a run of three tries, whether the next run leaves it alone
BAD = {
    "404": ("http_404", 1, True),
    "410": ("http_410", 1, True),
    "500": ("http_500", 3, False),
    "gone": ("placeholder", 1, True),
    "html": ("html", 1, True),
    "cut": ("truncated", 1, True),
    "short": ("wrong_length", 3, False),
    "drip": ("timeout", 3, False),
    "driphead": ("timeout", 3, False),
    "silent": ("timeout", 3, False),
    "endless": ("too_many_bytes", 1, True),
    "big": ("too_many_bytes", 1, True),
    "reset": ("reset", 3, False),
    "round": ("too_many_redirects", 6, True),
    "tofile": ("refused_scheme", 1, False),
}
QUICK = {"timeout_s": 0.5, "backoff_s": 0.02, "max_tries": 3, "allow_private": True, "progress": False}
SCRIPT = """
import signal, sys
from pathlib import Path
from fecnet.prepare.web.download import fetch_photos
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, as these tests may be, ignores it
urls = Path(sys.argv[2]).read_text().split()
report = fetch_photos(urls, Path(sys.argv[1]), allow_private=True, progress=False, max_bytes=60_000_000)
# getrusage would count the parent's memory at the fork
print(report.requests, int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.fixture
def server():
    with PhotoServer(2) as server:
        yield server


def start(folder, urls):
    """The download as a process of its own."""
    listed = folder.with_name("urls.txt")
    listed.write_text("\n".join(urls))
    command = [sys.executable, "-c", SCRIPT, str(folder), str(listed)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def photos(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("photos/*/*")}


def key(url):
    return url.removeprefix("http://127.0.0.1:")


def test_every_loss_has_its_reason_and_every_good_photo_is_there_once(server, tmp_path):
    placeholder = hashlib.sha256(server.placeholder).hexdigest()
    good = {server.url(kind, n, port=n): kind for kind in GOOD for n in range(2)}
    bad = {server.url(kind, n, port=n): kind for kind in BAD for n in range(2)}
    options = QUICK | {"placeholders": [placeholder], "max_bytes": 5_000_000}

    report = fetch_photos([*good, *bad, *good], tmp_path, **options)

    assert report.reason_of == {url: BAD[kind][0] for url, kind in bad.items()}
    assert report.counts == Counter(report.reason_of.values()) | Counter({"stored": len(good)})
    assert (report.given, report.new) == (2 * len(good) + len(bad), len(good))
    assert list(report.path_of) == list(good) and len(photos(tmp_path)) == len(good)
    for url, kind in good.items():
        name, number = hashlib.sha256(url.encode()).hexdigest(), int(url[-5])
        assert report.path_of[url] == tmp_path / "photos" / name[:2] / f"{name}.jpg"
        sent = server.photo("good", 100_000 + number) if kind == "moved" else server.photo(kind, number)
        assert report.path_of[url].read_bytes() == sent
        assert server.counts[key(url)] == (3 if kind in ("flaky", "busy") else 1)
    for url, kind in bad.items():
        assert server.counts[key(url)] == BAD[kind][1], kind
    assert report.requests == server.counts.total()

    server.counts.clear()
    again = fetch_photos([*good, *bad], tmp_path, **options)
    assert again.counts == report.counts and again.new == 0
    assert not any(server.counts[key(url)] for url in good)
    for url, kind in bad.items():
        assert bool(server.counts[key(url)]) != BAD[kind][2], kind

    server.counts.clear()
    lasting = [url for url, kind in bad.items() if BAD[kind][2]]
    fetch_photos([*good, *lasting], tmp_path, retry_failed=True, **options)
    assert all(server.counts[key(url)] for url in lasting) and not any(server.counts[key(url)] for url in good)


def test_a_pause_asked_for_is_kept_and_holds_up_no_other_host(server, tmp_path):
    busy, slow_tail = server.url("busy", port=0), [server.url("good", n, port=0) for n in range(3)]
    others = [server.url("good", n, port=1) for n in range(12)]
    report = fetch_photos([busy, *slow_tail, *others], tmp_path, workers=2, per_host=1, **QUICK)
    assert report.counts == {"stored": 16}
    first, second, third = server.moments[key(busy)]
    assert second - first >= 1  # seconds, asked for as a number
    assert third - second >= 1  # as a date of whole seconds, at least one second away
    # The whole host rests, the other one is done in the meantime.
    assert min(server.moments[key(url)][0] for url in slow_tail) >= first + 1
    assert max(server.moments[key(url)][0] for url in others) < second


def test_a_pause_asked_for_at_the_last_try_is_kept_too(server, tmp_path):
    busy, tail = server.url("busy"), server.url("good")
    report = fetch_photos([busy, tail], tmp_path, per_host=1, **QUICK | {"max_tries": 1})
    assert report.counts == {"http_429": 1, "stored": 1}
    assert server.moments[key(tail)][0] >= server.moments[key(busy)][0] + 1


def test_a_pause_is_capped(server, tmp_path):
    began = time.monotonic()
    assert fetch_photos([server.url("busy")], tmp_path, max_pause_s=0.05, **QUICK).counts == {"stored": 1}
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("per_host", [1, 3])
def test_a_host_gets_no_more_than_its_share_at_once(tmp_path, per_host):
    with PhotoServer(2, latency_s=0.02) as server:
        urls = [server.url("good", n, port=n) for n in range(24)]
        assert fetch_photos(urls, tmp_path, per_host=per_host, **QUICK).counts == {"stored": 24}
        assert set(server.most_at_once.values()) == {per_host}


def test_a_dead_host_holds_up_no_other_and_is_given_up(server, tmp_path):
    dead = [server.url("silent", n, port=0) for n in range(60)]
    alive = [server.url("good", n, port=1) for n in range(60)]
    began = time.monotonic()
    report = fetch_photos([*dead, *alive], tmp_path, workers=5, per_host=4, **QUICK | {"timeout_s": 0.2})
    assert max(server.moments[key(url)][0] for url in alive) - began < 1.5
    # 60 photos of three tries would take 180 requests.
    assert GIVE_UP_AFTER <= sum(server.counts[key(url)] for url in dead) <= GIVE_UP_AFTER + 4
    assert report.counts["stored"] == 60
    assert report.counts["timeout"] + report.counts["host_down"] == 60 and report.counts["host_down"] >= 40
    assert not any(json.loads(line).get("lasting") for line in lines(tmp_path) if "silent" in line)


def lines(folder):
    return (folder / "journal.jsonl").read_text().splitlines()


# --- safety ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_addresses_that_are_not_public(address):
    assert not addresses.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address):
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "refused_scheme"),
        ("ftp://example.org/a.jpg", "refused_scheme"),
        ("a.jpg", "refused_scheme"),
        ("http:///a.jpg", "bad_url"),
        ("http://example.org:99999/a.jpg", "bad_url"),
        ("http://a..b/a.jpg", "bad_url"),
        ("http://[::1/a.jpg", "bad_url"),
        ("http://127.0.0.1:9/a.jpg", "refused_address"),
        ("http://2130706433:9/a.jpg", "refused_address"),
        ("http://[::ffff:127.0.0.1]:9/a.jpg", "refused_address"),
        ("http://localhost:9/a.jpg", "refused_address"),
    ],
)
def test_what_is_not_gone_to(url, reason, tmp_path):
    report = fetch_photos([url], tmp_path, **QUICK | {"allow_private": False})
    assert report.reason_of == {url: reason}
    # A rule is no answer of a host: with other settings the next run decides anew.
    assert json.loads(lines(tmp_path)[-1])["lasting"] is False


def test_a_redirect_into_the_private_network_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    urls = [server.url("tohost"), server.url("good")]
    report = fetch_photos(urls, tmp_path, **QUICK | {"allow_private": False})
    assert report.reason_of == {urls[0]: "refused_address"} and report.new == 1


def test_the_address_that_was_checked_is_the_one_connected_to(tmp_path, monkeypatch):
    answers, gone_to = ["8.8.8.8", "127.0.0.1"], []  # a name that turns to this machine after the check

    def resolve(host, port, **options):
        return [(2, 1, 6, "", (answers.pop(0), port))]

    def connect(found, *, timeout_s):
        gone_to.extend(found)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(request, "connect", connect)
    url = "http://photos.example/a.jpg"
    report = fetch_photos([url], tmp_path, **QUICK | {"allow_private": False, "max_tries": 2})
    assert report.reason_of == {url: "refused_address"}  # of the second try, which looked the name up again
    assert gone_to == [(2, ("8.8.8.8", 80))]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_spoken_and_a_foreign_certificate_refused(tmp_path, monkeypatch):
    pair = [str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")]
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*make.split(), "-keyout", pair[0], "-out", pair[1]], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair[1], pair[0])
    with PhotoServer(tls=context) as server:
        url = server.url("good").replace("http://127.0.0.1", "https://localhost")
        report = fetch_photos([url], tmp_path / "foreign", **QUICK)
        assert report.reason_of == {url: "tls"} and report.requests == 1
        monkeypatch.setattr(request, "_tls", lambda: ssl.create_default_context(cafile=pair[1]))
        report = fetch_photos([url], tmp_path / "known", **QUICK)
        assert report.path_of[url].read_bytes() == server.photo("good", 0)


# --- going on after an interruption -----------------------------------------------------------------------------------


def test_killed_and_gone_on_with_equals_left_alone(tmp_path):
    with PhotoServer(4, latency_s=0.02) as server:
        urls = [server.url("good", n, port=n) for n in range(400)]
        fetch_photos(urls, tmp_path / "whole", **QUICK)
        server.counts.clear()
        moments, kills = random.Random(1), 0
        while kills < 3:
            process = start(tmp_path / "killed", urls)
            kill_at = server.counts.total() + moments.randint(20, 110)
            wait_for(lambda kill_at=kill_at: server.counts.total() >= kill_at)
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL, "it ended before it was killed: nothing is tested"
            kills += 1
        report = fetch_photos(urls, tmp_path / "killed", **QUICK)
        assert 0 < report.new < 400 and report.counts == {"stored": 400}
        assert photos(tmp_path / "killed") == photos(tmp_path / "whole")
        # Only what was on its way at a kill was asked for twice: four ports of four each.
        assert server.counts.total() <= 400 + kills * 16


def wait_for(condition, limit_s=60):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_interrupted_ends_soon_with_a_whole_journal(tmp_path):
    with PhotoServer(1, latency_s=0.05) as server:
        urls = [server.url("good", n) for n in range(200)] + [server.url("silent")]
        process = start(tmp_path / "photos", urls)
        wait_for(lambda: len(server.counts) > 20)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" in said
        entries = [json.loads(line) for line in lines(tmp_path / "photos")[1:]]
        assert {entry["file"] for entry in entries} == {str(path) for path in photos(tmp_path / "photos")}
        before = server.counts.total()
        assert fetch_photos(urls[:-1], tmp_path / "photos", **QUICK).new == 200 - len(entries)
        assert server.counts.total() - before == 200 - len(entries)


def test_what_a_kill_can_leave_is_mended(server, tmp_path):
    urls = [server.url("good", n) for n in range(4)]
    whole = fetch_photos(urls, tmp_path, **QUICK)
    before = photos(tmp_path)
    journal = tmp_path / "journal.jsonl"
    kept = [line for line in lines(tmp_path) if urls[0] not in line]  # its photo is there, its line was not written
    journal.write_text("\n".join(kept) + '\n{"url": "http://127.0.0.1/to')
    whole.path_of[urls[1]].write_bytes(b"cut")
    whole.path_of[urls[2]].unlink()
    (whole.path_of[urls[3]].parent / ".half.partial").write_bytes(b"half")
    server.counts.clear()
    report = fetch_photos(urls, tmp_path, **QUICK)
    assert (report.counts, report.new) == ({"stored": 4}, 2)
    assert set(server.counts) == {key(urls[1]), key(urls[2])}
    assert photos(tmp_path) == before
    assert len([json.loads(line) for line in lines(tmp_path)]) == 1 + 3 + 3


@pytest.mark.parametrize(("row", "text"), [(1, '{"format": 9}'), (2, "nonsense"), (2, '{"url": "x"}'), (2, "[]")])
def test_a_damaged_journal_is_named_with_its_line(row, text, server, tmp_path):
    fetch_photos([server.url("good")], tmp_path, **QUICK)
    damaged = lines(tmp_path)
    damaged[row - 1] = text
    (tmp_path / "journal.jsonl").write_text("\n".join(damaged) + "\n")
    with pytest.raises(ValueError, match=rf"journal\.jsonl:{row}: "):
        fetch_photos([server.url("good")], tmp_path, **QUICK)


def test_a_second_run_in_one_folder_is_refused(server, tmp_path):
    with FolderLock(tmp_path), pytest.raises(ValueError, match=f"{tmp_path}: another download is at work here"):
        fetch_photos([server.url("good")], tmp_path, **QUICK)
    assert not server.counts
    assert fetch_photos([server.url("good")], tmp_path, **QUICK).new == 1


def test_a_placeholder_named_later_is_removed(server, tmp_path):
    url = server.url("gone")
    assert fetch_photos([url], tmp_path, **QUICK).counts == {"stored": 1}
    named = [hashlib.sha256(server.placeholder).hexdigest()]
    server.counts.clear()
    assert fetch_photos([url], tmp_path, placeholders=named, **QUICK).counts == {"placeholder": 1}
    assert not photos(tmp_path) and not server.counts


def test_a_picture_that_many_addresses_sent_is_shown_and_can_be_named(server, tmp_path, capsys):
    """By the copy that the warning names, twice: naming it deletes the stored ones."""
    urls = [server.url("gone", k) for k in range(MANY)] + [server.url("good", k) for k in range(MANY)]
    assert fetch_photos(urls, tmp_path, **QUICK).counts == {"stored": 2 * MANY}
    (copy,) = (tmp_path / "repeated").iterdir()
    assert copy.read_bytes() == server.placeholder and copy.suffix == ".jpg"
    said = capsys.readouterr().out
    assert f"{tmp_path}: warning: {MANY} addresses sent the same picture: {copy}; " in said
    assert said.count("warning") == 1 and f"--placeholder {copy}" in said
    for _ in range(2):
        named = [hash_file(copy)]
        counts = fetch_photos(urls, tmp_path, placeholders=named, **QUICK).counts
        assert counts == {"stored": MANY, "placeholder": MANY}
    assert "warning" not in capsys.readouterr().out


def test_few_addresses_with_one_picture_are_no_warning(server, tmp_path, capsys):
    fetch_photos([server.url("gone", k) for k in range(MANY - 1)], tmp_path, **QUICK)
    assert not (tmp_path / "repeated").exists() and capsys.readouterr().out == ""


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_large_photos_take_little_memory(server, tmp_path):
    urls = [server.url("big", n) for n in range(6)]
    process = start(tmp_path / "photos", urls)
    said, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    sizes = [path.stat().st_size for path in (tmp_path / "photos").rglob("photos/*/*")]
    assert sizes == [BIG] * 6
    assert int(said.split()[1]) < 250  # MB; six bodies alone are 300


def test_an_error_that_is_no_fault_of_a_photo_ends_the_run(server, tmp_path):
    def full_disk(content):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fetch_photos([server.url("good", n) for n in range(20)], tmp_path, check=full_disk, **QUICK)
    assert fetch_photos([server.url("good")], tmp_path, **QUICK).new == 1


def test_a_check_of_ones_own_names_its_reason(server, tmp_path):
    report = fetch_photos([server.url("html")], tmp_path / "all", check=lambda content: None, **QUICK)
    assert [path.suffix for path in report.path_of.values()] == [""]
    report = fetch_photos([server.url("good")], tmp_path / "none", check=lambda content: "ugly", **QUICK)
    assert report.counts == {"ugly": 1}


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"per_host": 0}, {"max_tries": 0}, {"timeout_s": 0.0}])
def test_arguments_are_checked(wrong, tmp_path):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        fetch_photos([], tmp_path, **QUICK | wrong)


def test_no_urls_no_work(tmp_path):
    report = fetch_photos([], tmp_path, **QUICK)
    assert (report.given, report.counts, report.requests) == (0, {}, 0)


@pytest.mark.parametrize(("ahead", "low", "high"), [(100, 90, 100), (-100, 0, 0)])
def test_retry_after_is_a_number_or_a_date(ahead, low, high):
    assert request.retry_after_s("7") == 7
    assert low <= request.retry_after_s(email.utils.formatdate(time.time() + ahead, usegmt=True)) <= high


@pytest.mark.parametrize("value", [None, "", "soon", "-3", "Wed, 99 Foo"])
def test_retry_after_that_says_nothing(value):
    assert request.retry_after_s(value) is None


def test_letters_of_all_kinds_in_a_url():
    place = addresses.split_url(" http://Bücher.example:8080/a b/ä%20.jpg?x=ü#part")
    assert (place.key, place.target) == ("xn--bcher-kva.example:8080", "/a%20b/%C3%A4%20.jpg?x=%C3%BC")
