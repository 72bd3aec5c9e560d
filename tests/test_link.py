"""make link: it makes, keeps and moves its own links, and touches nothing else."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Makefile", "link.sh"):
        shutil.copy(ROOT / name, folder / name)
    return folder


_FROM_MAKE = {"STORE", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # `make test` sets some; a make below it would say so


def link(project, store=None, **environment):
    arguments = [] if store is None else [f"STORE={store}"]
    return subprocess.run(
        ["make", "link", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name not in _FROM_MAKE} | environment,
        check=False,
    )


def assert_refused(done, said):
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1
    assert said in lines[0]


def targets(project):
    return [str((project / name).readlink()) for name in ("datasets", "result")]


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_makes_folders_and_links(project, tmp_path, by):
    store = tmp_path / "a store"
    done = link(project, store) if by == "argument" else link(project, STORE=str(store))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"datasets: links to {store}/datasets\nresult: links to {store}/result\n"
    (project / "datasets" / "x").write_text("kept")
    assert (store / "datasets" / "x").read_text() == "kept"
    assert (store / "result").is_dir()


def test_again_says_so_and_elsewhere_moves_the_links_only(project, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    link(project, one)
    (one / "result" / "run").mkdir()
    assert link(project, one).stdout == (
        f"datasets: links to {one}/datasets already\nresult: links to {one}/result already\n"
    )
    done = link(project, two)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"datasets: links to {two}/datasets, before to {one}/datasets"
    assert targets(project) == [f"{two}/datasets", f"{two}/result"]
    assert (one / "result" / "run").is_dir()


def test_follows_a_store_that_was_moved(project, tmp_path):
    link(project, tmp_path / "one")
    (tmp_path / "one" / "datasets" / "x").touch()
    (tmp_path / "one").rename(tmp_path / "two")
    assert link(project, tmp_path / "two").returncode == 0
    assert (project / "datasets" / "x").exists()


def test_a_relative_store_lies_below_the_project(project):
    assert link(project, "../near").returncode == 0
    assert (project / "datasets").resolve() == (project.parent / "near" / "datasets").resolve()


def test_no_store(project):
    assert_refused(link(project), "usage: make link STORE=/data/fecnet")
    assert not (project / "datasets").exists()


@pytest.mark.parametrize("name", ["datasets", "result"])
def test_what_is_in_the_way_stays(project, tmp_path, name):
    way, store = project / name, tmp_path / "store"
    way.mkdir()
    (way / "mine").write_text("mine")
    assert_refused(link(project, store), f"{name}: a folder is in the way; move it to {store}/{name} first")
    assert (way / "mine").read_text() == "mine"
    shutil.rmtree(way)
    way.write_text("mine")
    assert_refused(link(project, store), f"{name}: a file is in the way")
    assert way.read_text() == "mine"
    way.unlink()
    way.symlink_to(tmp_path / "other" / name)  # dangling, and not ours
    assert_refused(link(project, store), f"{name}: links to {tmp_path}/other/{name}, not by make link")
    assert str(way.readlink()) == f"{tmp_path}/other/{name}"
    assert not store.exists()


def test_its_own_link_that_someone_replaced_is_no_longer_its_own(project, tmp_path):
    link(project, tmp_path / "one")
    (project / "result").unlink()
    (project / "result").symlink_to(tmp_path)
    assert_refused(link(project, tmp_path / "two"), f"result: links to {tmp_path}, not by make link")
    assert targets(project) == [f"{tmp_path}/one/datasets", str(tmp_path)]


def test_a_store_that_is_the_project_or_a_file_is_refused(project):
    assert_refused(link(project, "."), "the project itself")
    assert_refused(link(project, "Makefile"), "Makefile: not a folder")
    assert_refused(link(project, "Makefile/below"), "Makefile/below/datasets: cannot be made")
    assert sorted(path.name for path in project.iterdir()) == ["Makefile", "link.sh"]
