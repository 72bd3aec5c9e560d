"""The measurement by mutated inputs: a few of each target, what it calls a find, and how a find is repeated."""

import json
import os
import signal

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_mutations import Choices, mutate, mutate_file
from benchmarks.fuzz_target import Target, told_wrong
from benchmarks.fuzz_targets import TARGETS
from fecnet.utils.errors import DataError


def test_quick_runs_find_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "FOUND", tmp_path)
    found = fuzz.run(quick=True)
    assert found["all"]["finds"] == 0, [file.read_text() for file in tmp_path.rglob("find.txt")]
    assert {*found["targets"]} == {target.name for target in TARGETS}
    assert found["all"]["accepted"] > 0 < found["all"]["refused"]


def test_a_shorter_string_of_choices_changes_less():
    files = {"a.csv": b"1,2\n3,4\n", "b.json": b'{"c": [1, 2]}'}
    assert mutate(files, Choices(b"")) == {"a.csv": b"3,4\n", "b.json": files["b.json"]}
    assert mutate(files, Choices(b"\2\0\1\4")) == mutate(files, Choices(b"\2\0\1\4"))
    changed = mutate_file("b.json", files["b.json"], Choices(b"\0\0\0\0\0\0\0\2\0"), [b"x"])
    assert json.loads(changed) == {"c": [None, 2]}


def reader(outcome):
    """A target whose reader raises this, or nothing."""

    def read(folder):
        if outcome is not None:
            raise outcome(folder)

    return Target("reader", lambda: [{"a.txt": b"1\n2\n"}], read)


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (None, "accepted"),
        (lambda folder: DataError(f"{folder}/a.txt: line 1: no"), "refused"),
        (lambda folder: FileNotFoundError(2, "No such file", f"{folder}/b.txt"), "refused"),
        (lambda folder: DataError("no"), "message: names no file"),
        (lambda folder: DataError(f"{folder}: no\nmore"), "message: not one printable line"),
        (lambda folder: DataError(f"{folder}: {'x' * 1000}"), "message: 10"),
        (lambda folder: AssertionError("2 rows of 3"), "AssertionError: '2 rows of 3'"),
        (lambda folder: RecursionError("too deep"), "RecursionError: 'too deep'"),
        (lambda folder: fuzz._Hang(), "hang: over 10 s"),
    ],
)
def test_what_is_a_find(tmp_path, outcome, found):
    assert fuzz._outcome(reader(outcome), tmp_path).startswith(found)


def test_a_find_is_shrunk_and_kept_with_what_repeats_it(tmp_path, monkeypatch):
    """Hypothesis leaves the fewest changes that do it."""

    def read(folder):
        assert b"2" in (folder / "a.txt").read_bytes()

    monkeypatch.setattr(fuzz, "FOUND", tmp_path / "found")
    (tmp_path / "input").mkdir()
    target = Target("lines", lambda: [{"a.txt": b"1\n2\n", "b.txt": b"\n"}], read)
    told = fuzz.Session(target, tmp_path / "input").chunk(200, 0)
    assert told["finds"] == 1
    kept = tmp_path / "found" / "lines-0"
    command, why, *_ = (kept / "find.txt").read_text().splitlines()
    assert "AssertionError" in why and b"2" not in (kept / "input" / "a.txt").read_bytes()
    with pytest.raises(fuzz.Find):
        fuzz.Session(target, tmp_path / "input").outcome(bytes.fromhex(command.split()[-1]))


def test_a_crash_of_a_library_is_a_find_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "FOUND", tmp_path)
    crashed = tmp_path / "crashed"

    def read(folder):
        if not crashed.exists():
            crashed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    told = fuzz.fuzz(Target("crash", lambda: [{"a.txt": b"1\n"}], read), 5, 7)
    assert (told["finds"], told["inputs"], told["accepted"]) == (1, 5, 4)
    assert "its process ended with -9" in (tmp_path / "crash-7" / "find.txt").read_text()


def test_messages_of_several_lines_are_held_to_it_line_by_line(tmp_path):
    many = Target("recipe", list, print, lines=True)
    assert told_wrong(f"{tmp_path}: a\n{tmp_path}: b", tmp_path, many) == ""
    assert told_wrong(f"{tmp_path}: a\nb", tmp_path, many) == "names no file"
