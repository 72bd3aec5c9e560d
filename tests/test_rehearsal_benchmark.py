"""The rehearsal of FEC: its commands are those of the page, what it gives is counted, and what it kills is gone."""

import io
import json
import re
import shlex
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from benchmarks import rehearsal, rehearsal_stages
from benchmarks.rehearsal import Plan, stages
from benchmarks.rehearsal_annotations import FAULTS, FacesOfPhotos, disagreement, write_annotations
from benchmarks.rehearsal_check import check_counts, with_dead_host
from benchmarks.rehearsal_photos import Sources, Tile, boxes_of, draw_photo, open_sources, tiles_of
from benchmarks.rehearsal_server import addresses, expected, free_ports, has_file, kinds_of
from benchmarks.rehearsal_stages import Lane, Stage, descendants, end_tree
from benchmarks.survive import alive
from fecnet.prepare.annotations import read_annotations
from tests.conftest import ROOT
from tests.forked import forked  # noqa: F401  (a fixture)
from tests.test_tutorials import blocks, page


def test_the_commands_are_those_of_the_page_in_its_order():
    shown = [line for block in blocks(page("fec")) for line in block.splitlines()]
    commands = list(dict.fromkeys(stage.command for stage in stages(Plan())))
    assert commands == [command for command in shown if command in commands]
    left = set(shown) - set(commands)
    assert {words[-1] for words in map(shlex.split, left)} <= {"datasets/ferplus", "ferplus", "--baselines"}


@pytest.mark.usefixtures("forked")  # all that it starts starts torch
def test_quick_runs_are_killed_and_equal(capsys):
    found = rehearsal.run(quick=True)
    assert all(told["kills"] == 1 for told in found["stages"].values())
    assert found["stages"]["train"]["peak_mb"] > 500  # three processes; the shortest stages are over before a look
    assert set(found["equal"].values()) == {True} and found["faces"]["from"] == "drawn"
    assert found["counted"]["rows of train"]["read"] == 600
    assert set(FAULTS) <= set(found["dropped"]["rows of test"])
    assert found["dropped"]["photos"]["placeholder"] >= 10 and found["dropped"]["photos"]["timeout"] == 1
    assert list(found["percent"]["fecnet"]) == ["ONE", "TWO", "THREE", "ALL"]
    assert capsys.readouterr().out.count("killed after") >= len(stages(Plan()))  # more where it was tried again


# --- photos -----------------------------------------------------------------------------------------------------------


def one_source():
    """A white face on black, 40 pixels wide and 60 high."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[70:130, 80:120] = 255
    box = np.array([[80.0, 70.0, 120.0, 130.0]])
    return Sources("drawn", [Image.fromarray(pixels)], box, np.zeros((1, 2)), np.zeros(1, int))


@pytest.mark.parametrize("degrees", [0, 90, 15])
def test_boxes_lie_where_the_faces_are(degrees):
    sources = one_source()
    tiles = [
        Tile(0, 100, 100.0, (100.0, 100.0), np.radians(degrees), 1.0),
        Tile(0, 160, 120.0, (95.0, 105.0), np.radians(-degrees), 0.5),
    ]
    photo = np.asarray(Image.open(io.BytesIO(draw_photo(tiles, sources))).convert("L")).astype(int)
    assert photo.shape == (160, 260)
    for box, columns, level in zip(boxes_of(tiles, sources), ((0, 100), (100, 260)), (200, 110), strict=True):
        left, right, top, bottom = (float(edge) for edge in box.split(","))
        rows, found = np.nonzero(photo[:, columns[0] : columns[1]] > level)
        seen = (found.min() + columns[0], found.max() + 1 + columns[0], rows.min(), rows.max() + 1)
        assert np.abs(np.array(seen) - [260 * left, 260 * right, 160 * top, 160 * bottom]).max() < 2.5


def test_photos_are_the_same_each_time_and_differ():
    sources = one_source()
    drawn = [draw_photo(tiles_of(number, sources, 0), sources) for number in range(6)]
    assert drawn == [draw_photo(tiles_of(number, sources, 0), sources) for number in range(6)]
    assert len(set(drawn)) == 6 and drawn[0] != draw_photo(tiles_of(0, sources, 1), sources)
    number = Counter(len(tiles_of(number, sources, 0)) for number in range(600))
    assert set(number) == {1, 2, 4} and 1.7 < sum(n * times for n, times in number.items()) / 600 < 1.95


def test_sources_of_annotated_photos(tmp_path):
    """Mouths that differ are far apart, whatever the size and the turn of the face; small faces are left out."""
    points = np.random.default_rng(0).uniform(40, 110, (68, 2))
    turned = (points - 75) @ [[0.0, 0.5], [-0.5, 0.0]] + 75
    other = points.copy()
    other[48:] += 30
    faces = [{"landmarks68": p.tolist(), "box_from_landmarks": [10, 10, 10 + side, 60]} for p, side in ((points, 90),)]
    faces += [{"landmarks68": p.tolist(), "box_from_landmarks": [10, 10, 90, 60]} for p in (turned, other, other + 1)]
    faces.append({"landmarks68": points.tolist(), "box_from_landmarks": [10, 10, 40, 50]})
    (tmp_path / "images").mkdir()
    Image.new("RGB", (150, 150)).save(tmp_path / "images" / "a.jpg")
    (tmp_path / "annotations.json").write_text(json.dumps([{"file": "a.jpg", "faces": faces}]))
    sources = open_sources(tmp_path)
    near = np.linalg.norm(sources.expression_SE - sources.expression_SE[0], axis=1)
    assert len(sources.images) == 4 and near[1] < 1e-9 and near[2] > 0.1 and abs(near[2] - near[3]) < 1e-9


# --- annotations ------------------------------------------------------------------------------------------------------


def test_what_is_written_is_what_is_read(tmp_path):
    num = 60
    text = [f"http://h/good/{n // 2}.jpg,0.{n % 2}1,0.{n % 2}9,0.1,0.9" for n in range(num)]
    faces = FacesOfPhotos(text, np.arange(num) // 2, np.arange(num) % 20)
    coordinates = np.random.default_rng(0).normal(size=(20, 3))
    how = {"rows": 2500, "seed": 3}
    written = write_annotations(tmp_path / "train.csv", faces, coordinates, np.arange(20) % 4, **how)
    read = read_annotations({"train": tmp_path / "train.csv"}, progress=False)["train"]
    assert {reason: n for reason, n in read.coverage["dropped"].items() if n} == written.dropped
    assert set(FAULTS) | {"no_agreement"} <= set(written.dropped) and read.coverage["read"] == 2500
    assert {f"http://h/good/{n}.jpg" for n in written.photos} == set(read.urls)
    answers = np.diff(read.answer_offset)
    assert answers.min() == 6 and answers.max() == 12
    wrong = np.repeat(read.odd_T, answers) != read.answer
    assert 0.1 < wrong.mean() < 0.16  # 15 % of all, fewer where two thirds agree


@pytest.mark.parametrize(
    ("answers", "reason"),
    [([1] * 4 + [2] * 2, ""), ([1] * 3 + [2] * 3, "tie"), ([1] * 4 + [2] * 2 + [3], "no_agreement"), ([2] * 6, "")],
)
def test_rows_that_raters_disagree_on(answers, reason):
    assert disagreement(answers) == reason


# --- hosts and counts -------------------------------------------------------------------------------------------------


def test_a_third_of_the_served_photos_is_in_the_way():
    kinds = kinds_of(8750, 3000, 0)
    number = Counter(kinds)
    assert len(kinds) == 8750 and kinds != kinds_of(8750, 3000, 1)
    assert 0.3 < 1 - number["good"] / 3000 < 0.35 and number["404"] == 5750 + 210
    urls = addresses(kinds, [1, 2, 9])
    assert {url.split("/")[2] for url, kind in zip(urls, kinds, strict=True) if kind == "dead"} == {"127.0.0.1:9"}
    counts = expected(kinds, set(range(8750)))
    assert sum(counts.values()) == 8750 and counts["http_404"] == number["404"]
    assert counts["kept"] == sum(number[kind] for kind in ("good", "slow", "moved", "flaky"))
    assert has_file("cut") and not has_file("gone") and len(set(free_ports())) == 9


def coverage_of(folder, **changed):
    rows = {"read": 10, "kept": 8, "dropped": {"tie": 2, "bad_box": 0}}
    told = {"rows": {"train": rows}, "triplets": {"train": {"read": 8, "kept": 5, "dropped": {"photo_html": 3}}}}
    told |= {"photos": {"read": 9, "kept": 6, "dropped": {"html": 1, "unreachable": 1, "host_down": 1}}}
    told |= {"faces": {"read": 9, "kept": 9, "dropped": {}}} | changed
    (folder / "dataset.json").write_text(json.dumps({"coverage": told}))
    return folder


def test_counts_that_are_not_what_was_given_end_the_measurement(tmp_path):
    from benchmarks.rehearsal_annotations import Written

    given = {"train": Written(10, {"tie": 2}, set())}, {"kept": 6, "html": 1, "dead_host": 2}
    found = check_counts(coverage_of(tmp_path), *given)
    assert found["counted"]["photos"] == {"read": 9, "kept": 6} and found["dropped"]["rows of train"] == {"tie": 2}
    with pytest.raises(SystemExit, match=r"photos: .*'html': 1.*; expected .*'html': 2"):
        check_counts(tmp_path, given[0], given[1] | {"html": 2})
    with pytest.raises(SystemExit, match=r"rows of train: .*; expected "):
        check_counts(tmp_path, {"train": Written(10, {"tie": 1, "bad_box": 1}, set())}, given[1])
    with pytest.raises(SystemExit, match=r"faces: kept \+ dropped: 8; expected 9"):
        check_counts(coverage_of(tmp_path, faces={"read": 9, "kept": 8, "dropped": {}}), *given)
    assert with_dead_host({"kept": 2, "dropped": {"html": 1}}) == {"kept": 2, "html": 1}


# --- stages -----------------------------------------------------------------------------------------------------------

SLEEPS = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']{}); "


@pytest.fixture
def bare(monkeypatch):
    """Stages whose command is a Python program."""
    monkeypatch.setattr(rehearsal_stages, "_PROGRAMS", {"python": ["-c"]})


def program(text, **more):
    return Stage("stage", shlex.join(["python", text]), **more)


def test_a_process_is_ended_with_its_children_in_other_groups():
    text = SLEEPS.format(", start_new_session=True") + "print('on', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    process.stdout.readline()
    (child,) = descendants(process.pid)
    end_tree(process)
    assert process.returncode == -9 and not alive(child)
    process.stdout.close()


@pytest.mark.usefixtures("bare")
def test_a_stage_is_killed_at_random_and_repeated_until_its_end(tmp_path):
    """A program of two seconds, which goes on where it was."""
    text = "import pathlib, time\ndone = pathlib.Path('done')\ndone.touch()\n"
    text += "for n in range(len(done.read_text()), 20):\n    time.sleep(0.1); done.write_text('x' * (n + 1))"
    found = Lane(tmp_path, seed=0).run_killed(program(text, kills=2), 2.0)
    assert len(found.killed_after_s) == 2 and (tmp_path / "done").read_text() == "x" * 20
    assert found.seconds > sum(found.killed_after_s)
    again = Lane(tmp_path, seed=0).run_killed(program("raise SystemExit(1)"), 1.0)  # finished: not started again
    assert again == found


@pytest.mark.usefixtures("bare")
def test_a_stage_that_ends_before_it_is_killed_is_repeated_with_an_earlier_moment(tmp_path, capsys):
    text = "import time, pathlib; pathlib.Path('out').mkdir(); time.sleep(0.3)"
    found = Lane(tmp_path, seed=0).run_killed(program(text, removed=("out",), made="out"), 100.0 / 64)
    assert len(found.killed_after_s) == 1 and "killed after" in capsys.readouterr().out


@pytest.mark.usefixtures("bare")
def test_a_stage_that_fails_ends_the_measurement(tmp_path):
    with pytest.raises(SystemExit, match=r"ended with 3; see .*stage\.log"):
        Lane(tmp_path, seed=0).run_alone(program("raise SystemExit(3)"))
    assert Lane(tmp_path, seed=0).finished == {}


@pytest.mark.usefixtures("bare")
def test_a_stage_is_interrupted_at_a_line_and_its_memory_is_seen(tmp_path):
    text = "import sys, time\nheld = b'x' * 100_000_000\nprint('now it is', flush=True)\n"
    text += "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    began = time.monotonic()
    found = Lane(tmp_path, seed=0).run_alone(program(text, until="now it is"))
    assert time.monotonic() - began < 30 and found.peak_mb >= 100


def test_patterns_are_expanded_where_the_command_is_started(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").touch()
    words = Stage("name", "fecnet data show set", ("--sheet", "a/*", "[test]")).words(tmp_path)
    assert words == [sys.executable, "-m", "fecnet", "data", "show", "set", "--sheet", "a/b.jpg", "[test]"]


def test_a_folder_of_another_plan_is_refused(tmp_path):
    ports = rehearsal._kept_ports(tmp_path, Plan())
    assert ports == rehearsal._kept_ports(tmp_path, Plan())
    with pytest.raises(SystemExit, match=re.escape(f"{tmp_path}: of another plan")):
        rehearsal._kept_ports(tmp_path, Plan(rows=10))


def test_without_photos_the_faces_are_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FECNET_FACES", str(tmp_path))
    monkeypatch.setattr(rehearsal, "measure", lambda folder, plan, photos: {"plan": plan, "photos": photos})
    found = rehearsal.run(quick=False)
    assert found["photos"] is None and found["plan"].prepare == ("--no-face", "box")
    assert f"{tmp_path} is absent: the faces are drawn" in capsys.readouterr().out
    assert rehearsal.run(quick=False, rows=9000) == {}  # not recorded
    assert str(rehearsal.FOLDER) == str(ROOT / "result" / "rehearsal")
