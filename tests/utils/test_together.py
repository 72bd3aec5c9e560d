"""Replacing two files together: wherever a process is killed or the disk fails, both are old or both are new."""

import errno
import os
from pathlib import Path

import pytest

from fecnet.utils import together
from fecnet.utils.together import all_or_none, is_unsettled, settle
from tests.kills import CALLS, dies_at

NAMES = ("vectors.npy", "vectors.csv")
OLD, NEW, NONE = ["o", "o"], ["n", "n"], [None, None]


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch):
    """What is counted here is the order of changes, not what survives a power cut."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def write(paths, word):
    with all_or_none(paths) as files:
        for file in files:
            file.write_text(word)


def shown(paths):
    return [path.read_text() if path.exists() else None for path in paths]


def place(folder, before):
    folder.mkdir()
    paths = [folder / name for name in NAMES]
    for path, word in zip(paths, before, strict=True):
        if word:
            path.write_text(word)
    return paths


def check_settled(paths, words):
    assert shown(paths) == words
    assert not any(path.is_symlink() for path in paths)
    assert {path.name for path in paths[0].parent.iterdir()} == {
        path.name for path, word in zip(paths, words, strict=True) if word
    }


@pytest.mark.parametrize("before", [OLD, NONE, ["o", None]])
def test_killed_at_any_moment_leaves_both_old_or_both_new(tmp_path, before):
    seen = []
    for number in range(1, 100):
        paths = place(tmp_path / str(number), before)
        killed = dies_at(number, lambda paths=paths: write(paths, "n"))
        seen.append(shown(paths))
        assert seen[-1] in (before, NEW), number
        settle(paths)
        check_settled(paths, seen[-1])
        write(paths, "n")
        check_settled(paths, NEW)
        if not killed:
            break
    assert before in seen and seen[-1] == NEW and 20 < number < 99


@pytest.mark.parametrize("name", CALLS)
def test_a_disk_that_fails_leaves_both_old_or_both_new(tmp_path, monkeypatch, name):
    real = getattr(os, name)
    for number in range(1, 50):
        paths, left = place(tmp_path / str(number), OLD), [number]

        def failing(*arguments, left=left, **options):
            left[0] -= 1
            if not left[0]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, name, failing)
            try:
                write(paths, "n")
            except OSError as error:
                assert error.errno == errno.EIO
        assert shown(paths) in (OLD, NEW)
        settle(paths)
        write(paths, "n")
        check_settled(paths, NEW)
        if left[0] > 0:
            break
    assert number < 49


def test_an_error_of_the_writer_leaves_the_old_ones(tmp_path):
    paths = place(tmp_path / "home", OLD)
    with pytest.raises(ValueError, match="full"), all_or_none(paths) as files:
        files[0].write_text("n")
        raise ValueError("full")
    check_settled(paths, OLD)
    assert not is_unsettled(paths)


@pytest.mark.parametrize("links", [True, False])
def test_one_that_is_not_written_does_not_stay(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(together, "_are_linked", lambda paths: False)
    paths = place(tmp_path / "home", OLD)
    with all_or_none(paths) as files:
        files[0].write_text("n")
    check_settled(paths, ["n", None])


@pytest.mark.parametrize("name", ["symlink_to", "hardlink_to"])
def test_without_links_old_never_stands_beside_new(tmp_path, monkeypatch, name):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, name, refuse)
    for number in range(1, 100):
        paths = place(tmp_path / str(number), OLD)
        killed = dies_at(number, lambda paths=paths: write(paths, "n"))
        assert not {"o", "n"} <= set(shown(paths))
        write(paths, "n")
        check_settled(paths, NEW)
        if not killed:
            break
    assert number < 99


def test_the_place_of_a_link_of_the_user_is_taken_as_by_a_rename(tmp_path):
    paths = place(tmp_path / "home", NONE)
    (tmp_path / "elsewhere").write_text("o")
    paths[0].symlink_to("../elsewhere")
    write(paths, "n")
    check_settled(paths, NEW)
    assert (tmp_path / "elsewhere").read_text() == "o"
