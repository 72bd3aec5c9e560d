"""The measurement of faults at every write: what it calls a fault that was not survived."""

import shutil
from dataclasses import replace

import pytest

from benchmarks import faults
from benchmarks.faults import COMMANDS, Ended


def test_quick_runs_survive_or_say_that_strace_is_absent(capsys):
    found = faults.run(quick=True)
    if shutil.which("strace") is None:
        assert found == {} and "strace is absent" in capsys.readouterr().out
        return
    told = found["commands"]["prepare"]
    assert list(told["faults"].values()) == [1, 1]
    assert [told[name] for name in found["required"]] == [0, 0, 0, 0], told["examples"]


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
        (Ended(0, "done"), "old", "", ["wrong"]),  # it says that it wrote, and did not
        (Ended(1, "error"), "half", "", ["wrong"]),
        (Ended(1, "Traceback (most recent call last):"), "old", "", ["tracebacks"]),
        (Ended(-9, ""), "old", "", ["hangs"]),
        (Ended(1, "error"), "old", "error", ["not_repeated"]),
    ],
)
def test_what_is_not_survived(tmp_path, monkeypatch, ended, left, again, broken):
    command = replace(COMMANDS[0], output="packed")
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
