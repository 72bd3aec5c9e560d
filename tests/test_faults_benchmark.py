"""The measurement of faults at every write: what it calls a fault that was not survived."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from benchmarks import faults
from benchmarks.faults_commands import COMMANDS, Command
from benchmarks.traced import Ended


def test_quick_runs_survive_or_say_that_strace_is_absent(capsys):
    found = faults.run(quick=True)
    if shutil.which("strace") is None:
        assert found == {} and "strace is absent" in capsys.readouterr().out
        return
    told = found["commands"]["prepare"]
    assert list(told["faults"].values()) == [1, 1]
    assert [told[name] for name in found["required"]] == [0] * 5, told["examples"]


def test_the_places_of_calls_that_write():
    lines = (
        '7 openat(AT_FDCWD, "a.py", O_RDONLY) = 3',
        '7 openat(AT_FDCWD, "b.json", O_WRONLY|O_CREAT, 0666 <unfinished ...>',
        '8 write(1, "x", 1) = 1',
        "7 <... openat resumed>) = 4",
        '7 openat(AT_FDCWD, "c", O_RDONLY) = 5',
        '8 openat(AT_FDCWD, "d", O_RDWR|O_CREAT, 0600) = -1 ENOSPC (No space left on device) (INJECTED)',
        "8 +++ exited with 0 +++",
    )
    assert faults.places(lines) == [1, 2]  # the write of 8; the second opening of 7, and what 8 opened


@pytest.mark.parametrize(
    ("ended", "left", "again", "broken"),  # again: what the same command says then; empty where it succeeds
    [
        (Ended(1, "error: packed: no space"), "old", "", []),
        (Ended(0, "done"), "new", "", []),
        (Ended(1, "error"), "new", "error: packed: exists; use --overwrite", []),  # it failed after its last rename
        (Ended(1, "error"), "old", "error: packed: exists; use --overwrite", ["not_repeated"]),
        (Ended(1, "error"), "new", "error: index: holds already a.png; to replace them: --replace", []),
        (Ended(0, "done"), "old", "", ["wrong"]),  # it says that it wrote, and did not
        (Ended(1, "error"), "half", "", ["wrong"]),
        (Ended(1, "Traceback (most recent call last):"), "old", "", ["tracebacks"]),
        (Ended(-9, ""), "old", "", ["hangs"]),
        (Ended(1, "error"), "old", "error", ["not_repeated"]),
    ],
)
def test_what_is_not_survived(tmp_path, monkeypatch, ended, left, again, broken):
    command = replace(COMMANDS[0], output=("packed",), beside=("log.csv",))
    file = tmp_path / "packed" / "faces.npy"
    file.parent.mkdir()
    states = {}
    for name in ("old", "new", "half"):
        file.write_text(name)
        states[name] = faults.written(tmp_path, command)
    file.write_text(left)

    def repeat(*_):
        if not again:
            file.write_text("new")
        return Ended(2 if again else 0, again)

    monkeypatch.setattr(faults, "execute", repeat)
    found = faults.lines(command, tmp_path, ended, states["old"], states["new"])
    assert [name for name, wrong in found.items() if wrong] == broken


def test_what_a_command_has_written_is_found_by_its_patterns(tmp_path):
    """Of a checkpoint's pointer what it names, of a database its rows, of what is left for the next command nothing."""
    run = tmp_path / "run" / "checkpoints"
    (run / "2").mkdir(parents=True)
    (run / "2" / "model.safetensors").write_text("weights")
    (run / "last").write_text("2\n")
    command = Command("train", (), ("run/checkpoints/last",), ("run/checkpoints",))
    state = faults.written(tmp_path, command)
    assert list(state.output) == ["run/checkpoints/2/model.safetensors"]
    assert state.beside == state.output | {"run/checkpoints/last": "True"}
    (run / ".4.partial").mkdir()
    (run / ".4.partial" / "model.safetensors").write_text("half")
    assert faults.written(tmp_path, command) == state

    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        database.execute("CREATE TABLE answers (id INTEGER)")
        database.execute("INSERT INTO answers VALUES (7)")
        database.commit()
    assert faults.written(tmp_path, Command("rate", (), ("*.db",))).output == {"study.db": '{"answers": 1}'}


def test_a_command_that_adds_may_add_again_but_not_fail(tmp_path, monkeypatch):
    command = Command("rate invite", (), ("log.csv",), adds=True)
    states = {}
    for rows in ("1", "12", "123"):
        (tmp_path / "log.csv").write_text(rows)
        states[rows] = faults.written(tmp_path, command)
    for code, broken in ((0, []), (1, ["not_repeated"])):
        (tmp_path / "log.csv").write_text("12")
        again = Ended(code, "")
        monkeypatch.setattr(faults, "execute", lambda *_, again=again: again)
        found = faults.lines(command, tmp_path, Ended(1, "error"), states["1"], states["12"])
        assert [name for name, wrong in found.items() if wrong] == broken


def test_each_command_has_a_name_of_its_own():
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
