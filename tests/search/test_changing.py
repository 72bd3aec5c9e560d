"""An index that grew or shrank is as one built of the same pictures at once; what goes wrong changes nothing."""

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.search import index as index_module
from fecnet.search.index import Index
from tests.conftest import write_tiny
from tests.net_fixtures import run  # noqa: F401  (fixture)
from tests.nets import fail, train_on


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Folders of photos ``one``, with a broken one, and ``two``, in the current folder."""
    for folder, numbers in (("one", range(4)), ("two", range(4, 7))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            pixels = np.random.default_rng(number).integers(0, 256, (48, 48), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "one" / "broken.jpg").write_bytes((tmp_path / "one" / "0.png").read_bytes()[:900])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def search(*words):
    return main(["search", *map(str, words)])


def build(run, output, *sources, kind="flat"):  # noqa: F811
    """Of noise, which is taken as it is."""
    words = ("--output", output, "--kind", kind, "--faces", "whole", "--device", "cpu")
    assert search("build", run, *sources, *words) == 0


def add(index, *words):
    return search("add", index, *words, "--device", "cpu")


def same(one, other):
    """Whether two indexes hold the same, byte for byte."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("vectors.npy", "names.csv"))


def state(index):
    return {file.name: file.read_bytes() for file in index.iterdir()}


def refused(capsys, *words):
    capsys.readouterr()
    assert search(*words) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_added_pictures_give_the_index_of_all(run, here, capsys, kind):  # noqa: F811
    if kind != "flat":
        pytest.importorskip("faiss", reason="faiss is not installed: pip install 'fecnet[search]'")
    build(run, "all", "one", "two", kind=kind)
    build(run, "grown", "one", kind=kind)
    (here / "two" / "broken.jpg").write_bytes((here / "one" / "broken.jpg").read_bytes())
    assert add("grown", "two") == 0
    assert "grown: 3 vectors added" in capsys.readouterr().out
    assert same(here / "all", here / "grown")
    grown = Index("grown")
    assert grown.kind == kind and grown.description["left_out"] == {"truncated": 2}
    assert grown.description["sources"] == ["one", "two"]
    assert grown.search(grown.vector_ND, 1).row_QK[:, 0].tolist() == list(range(7))
    assert not list(here.glob("*.shards")) and not list(here.glob(".*"))


def test_one_by_one_is_as_all_at_once(run, here):  # noqa: F811
    """An embedding must not depend on how many are embedded with it."""
    build(run, "all", "one/0.png", "two")
    build(run, "grown", "one/0.png")
    for number in (4, 5, 6):
        assert add("grown", f"two/{number}.png") == 0
    assert same(here / "all", here / "grown")


def test_names_that_are_there_are_refused_or_replaced_in_place(run, here, capsys):  # noqa: F811
    build(run, "faces", "one")
    before = state(here / "faces")
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (48, 48), np.uint8)).save("one/1.png")
    said = refused(capsys, "add", "faces", here / "one" / "1.png", "two/4.png", "--device", "cpu")
    assert "faces: already contains" in said and "1.png; to replace them: --replace" in said
    assert state(here / "faces") == before
    assert add("faces", "one/1.png", "two/4.png", "--replace") == 0
    assert "2 vectors added, 1 old of the same names removed" in capsys.readouterr().out
    build(run, "anew", "one", "two/4.png")
    assert same(here / "faces", here / "anew")


def test_a_picture_counts_once_however_often_it_is_given(run, here, capsys):  # noqa: F811
    (here / "list.txt").write_text("one/1.png\none/1.png\ntwo/4.png\n")
    build(run, "faces", "one/0.png", "./one/0.png", "one/../one/0.png", here / "one" / "0.png", "list.txt")
    assert "faces: 3 vectors of 16; passed over: 4 given before" in capsys.readouterr().out
    assert add("faces", "two/5.png", "two/../two/5.png", "list.txt", "--replace") == 0
    assert [name.file for name in Index("faces").every_name()] == [
        f"{f}.png" for f in ("one/0", "one/1", "two/4", "two/5")
    ]


def test_a_picture_that_lost_its_face_leaves(run, here, capsys):  # noqa: F811
    """With --replace the old face stayed, and without it nothing was said."""
    build(run, "faces", "one", "two/4.png")
    before = state(here / "faces")
    assert "faces: not changed: none of 1 pictures has a face: truncated 1" in refused(
        capsys, "add", "faces", "one/broken.jpg", "--device", "cpu"
    )
    (here / "one" / "1.png").write_bytes((here / "one" / "broken.jpg").read_bytes())
    assert "faces: already contains one/1.png" in refused(capsys, "add", "faces", "one/1.png", "--device", "cpu")
    assert state(here / "faces") == before
    assert add("faces", "one/1.png", "--replace") == 0
    assert "faces: 0 vectors added, 1 old of the same names removed" in capsys.readouterr().out
    build(run, "anew", "one", "two/4.png")
    assert same(here / "faces", here / "anew")


def test_removed_pictures_leave_the_index_of_the_rest(run, here, capsys):  # noqa: F811
    build(run, "faces", "one", "two")
    (here / "gone.txt").write_text("one/1.png\none/3.png\n")
    assert search("remove", "faces", "gone.txt", here / "two" / "5.png") == 0
    assert "faces: 3 vectors removed, 4 left" in capsys.readouterr().out
    build(run, "rest", "one/0.png", "one/2.png", "two/4.png", "two/6.png")
    assert same(here / "faces", here / "rest")
    assert search("remove", "faces", "two") == 0
    assert [name.file for name in Index("faces").every_name()] == ["one/0.png", "one/2.png"]
    assert not list(here.glob("*.shards")) and not list(here.glob(".*"))


def test_what_cannot_be_removed_is_named_and_nothing_is(run, here, capsys):  # noqa: F811
    build(run, "faces", "one")
    before = state(here / "faces")
    said = refused(capsys, "remove", "faces", "one/0.png", "one/7.png", "three")
    assert "faces: does not contain one/7.png, three; nothing was removed" in said
    assert "nothing would be left of its 4 vectors; delete the folder" in refused(capsys, "remove", "faces", "one")
    assert "two: no index here" in refused(capsys, "remove", "two", "one")
    assert "a name is empty" in refused(capsys, "remove", "faces", "one/0.png", "")
    (here / "gone.csv").write_text("path,why\none/0.png,old\n,twice\n")  # no path is not the folder of the list
    assert "gone.csv: a row without a path, after one/0.png" in refused(capsys, "remove", "faces", "gone.csv")
    assert state(here / "faces") == before


def test_from_another_folder_names_stay_as_the_index_has_them(run, here, monkeypatch):  # noqa: F811
    build(run, "all", "one", "two")
    build(run, "faces", "one")
    monkeypatch.chdir(here / "two")
    assert add("../faces", "4.png", "5.png", "6.png") == 0
    assert same(here / "faces", here / "all")
    assert search("remove", "../faces", "4.png", "one/0.png") == 0
    assert [name.file for name in Index("../faces").every_name()][2:] == ["one/3.png", "two/5.png", "two/6.png"]


def test_other_nets_and_other_preprocessing_are_refused(run, here, capsys):  # noqa: F811
    build(run, "faces", "one")
    other = train_on(write_tiny(here / "tiny", seed=1), here, "SEED", 3)
    before = state(here / "faces")
    assert "is another net" in refused(capsys, "add", "faces", "two", "--net", other)
    assert state(here / "faces") == before


def test_a_failed_change_leaves_the_old_index_and_goes_on(run, here, monkeypatch):  # noqa: F811
    build(run, "all", "one", "two")
    build(run, "faces", "one")
    before = state(here / "faces")
    with monkeypatch.context() as patched:
        patched.setattr(index_module, "replace_json", fail)
        assert add("faces", "two") != 0 and search("remove", "faces", "one/0.png") != 0
    assert state(here / "faces") == before and (here / "faces.shards").is_dir()
    assert add("faces", "two") == 0 and same(here / "faces", here / "all")
    assert not (here / "faces.shards").exists()


def test_a_picture_that_occurs_often_is_told_of(run, here, capsys):  # noqa: F811
    (here / "still").mkdir()
    for number in range(30):
        (here / "still" / f"{number:02d}.png").write_bytes((here / "one" / "0.png").read_bytes())
    build(run, "faces", "two", "still")
    assert "faces: 30 identical vectors, the first of still/00.png" in capsys.readouterr().out
