"""``fecnet embed``: every picture has its row, whatever was killed meanwhile and however many processes there were."""

import csv
import errno
import fcntl
import itertools
import os
import pkgutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fecnet
from fecnet.cli import main
from fecnet.data.packed import PackedDataset
from fecnet.deploy import embedding, shards, sources
from fecnet.deploy.embedding import embed_sources
from fecnet.deploy.encoder import Encoder
from fecnet.deploy.sources import Sources
from fecnet.utils import comm
from tests.conftest import write_tiny
from tests.deploy.nets import train_on
from tests.distributed.ranks import run_ranks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    return train_on(write_tiny(folder / "tiny"), folder)


@pytest.fixture(scope="module")
def encoder(run):
    return fecnet.load(run, device="cpu")


@pytest.fixture
def photos(tmp_path):
    """A tree of eleven pictures, one of them broken, and files that are no pictures."""
    folder = tmp_path / "photos"
    for number in range(10):
        file = folder / ("deeper/still" if number > 6 else "") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (60, 50, 3), np.uint8)).save(file)
    (folder / "broken.jpg").write_bytes((folder / "0.png").read_bytes()[:900])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture
def small_pieces(monkeypatch):
    for module in (sources, shards):
        monkeypatch.setattr(module, "PIECE", 3)


def embed(run, *arguments):
    return main(["embed", str(run), *map(str, arguments), "--device", "cpu"])


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_has_a_row_for_each_picture(run, encoder, photos, tmp_path, capsys):
    assert embed(run, photos, "--output", tmp_path / "out.npy") == 0
    rows = table(tmp_path / "out.csv")
    files = sorted(file for file in photos.glob("*") if file.suffix in (".png", ".jpg") and file.name[0] != ".")
    files = [*files, *sorted((photos / "deeper" / "still").iterdir())]
    assert {row["name"] for row in rows} == {str(file) for file in files} and len(rows) == 11
    assert [row["status"] for row in rows] == ["truncated" if "broken" in row["name"] else "ok" for row in rows]
    expected = encoder.embed([row["name"] for row in rows])
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6, equal_nan=True)
    said = "out.npy: 10 vectors of 16; 1 pictures without one: truncated 1; passed over: 1 other files"
    assert said in capsys.readouterr().out
    assert not list(tmp_path.glob("*.shards")) and not list(tmp_path.glob(".*"))


def test_the_formats_hold_the_same(run, photos, tmp_path):
    for kind, name in (("npy", "out.npy"), ("csv", "table.csv"), ("mirrored", "tree")):
        assert embed(run, photos, "--features", "--format", kind, "--output", tmp_path / name) == 0
    expected, rows = np.load(tmp_path / "out.npy"), table(tmp_path / "table.csv")
    assert [{key: row[key] for key in ("name", "status")} for row in rows] == [
        {key: row[key] for key in ("name", "status")} for row in table(tmp_path / "tree" / "status.csv")
    ]
    assert len(list((tmp_path / "tree").rglob("*.npy"))) == 10
    for vector_D, row in zip(expected, rows, strict=True):
        numbers = [row[f"v{place}"] for place in range(16)]
        mirrored = tmp_path / "tree" / f"{row['name'].removeprefix(str(photos) + '/')}.npy"
        if row["status"] == "ok":  # to the bit
            assert np.array_equal(np.array(numbers, np.float32), vector_D)
            assert np.array_equal(np.load(mirrored), vector_D)
        else:
            assert set(numbers) == {""} and not mirrored.exists() and np.isnan(vector_D).all()


def test_packed_sets_lists_and_photos_together(run, encoder, photos, tmp_path):
    dataset = PackedDataset(run.parents[1] / "tiny")
    (photos / "list.txt").write_text("1.png\n\ndeeper/still/8.png\ngone.png\n")
    (photos / "list.csv").write_text("path,label\n3.png,glad\n")
    given = [dataset.path, photos / "list.txt", photos / "list.csv", photos / "2.png"]
    assert embed(run, *given, "--output", tmp_path / "out.npy") == 0
    found, rows = np.load(tmp_path / "out.npy"), table(tmp_path / "out.csv")
    assert [row["frame"] for row in rows] == [*map(str, range(60)), *[""] * 5]
    assert [row["status"] for row in rows[60:]] == ["ok", "ok", "missing_file", "ok", "ok"]
    assert np.abs(found[:60] - encoder.embed(dataset.faces_NHWC)).max() <= 1e-5
    named = [photos / "1.png", photos / "deeper" / "still" / "8.png", photos / "3.png", photos / "2.png"]
    assert np.abs(found[[60, 61, 63, 64]] - encoder.embed(named)).max() <= 1e-5
    assert embed(run, *given, "--format", "mirrored", "--output", tmp_path / "tree") == 0
    made = {file.relative_to(tmp_path / "tree").as_posix() for file in (tmp_path / "tree").rglob("*.npy")}
    assert {"tiny/00000059.npy", "list.txt/deeper/still/8.png.npy", "list.csv/3.png.npy", "2.png/2.png.npy"} <= made
    assert len(made) == 64
    assert embed(run, photos, photos, "--format", "mirrored", "--output", tmp_path / "twice") == 0
    for number in range(2):
        assert len(list((tmp_path / "twice" / f"{number:03d}-photos").rglob("*.npy"))) == 10


def test_killed_and_run_again_equals_uninterrupted(run, encoder, photos, tmp_path, monkeypatch, small_pieces):
    embed_sources(encoder, Sources([photos]), tmp_path / "whole.npy", progress=False)
    stream, calls = Encoder.stream, itertools.count(1)

    def stream_then_fail(self, *arguments, **options):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return stream(self, *arguments, **options)

    monkeypatch.setattr(Encoder, "stream", stream_then_fail)
    with pytest.raises(KeyboardInterrupt):
        embed_sources(encoder, Sources([photos]), tmp_path / "parts.npy", progress=False)
    assert not (tmp_path / "parts.npy").exists()
    assert len(list((tmp_path / "parts.npy.shards").rglob("*.npz"))) == 2
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(photos / "zz.png")  # behind what is done in the folder
    embed_sources(encoder, Sources([photos]), tmp_path / "parts.npy", progress=False)
    assert next(calls) == 6  # 12 pictures are four pieces: one failed, two were there, two were done
    (photos / "zz.png").unlink()
    embed_sources(encoder, Sources([photos]), tmp_path / "parts.npy", progress=False, overwrite=True)
    for suffix in (".npy", ".csv"):
        whole, parts = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("whole", "parts"))
        assert whole == parts


def test_another_source_behind_does_not_undo_what_is_done(encoder, photos, tmp_path, monkeypatch, small_pieces):
    """Nor one less; what is of one source alone lies in a folder of its own only where there are several."""
    with monkeypatch.context() as patched:
        patched.setattr(embedding, "write_rows", fail)
        with pytest.raises(ValueError, match="full"):
            embed_sources(encoder, Sources([photos]), tmp_path / "tree", kind="mirrored", progress=False)
    (tmp_path / "more.txt").write_text("photos/1.png\n")
    streams = count_streams(monkeypatch)
    both = Sources([photos, tmp_path / "more.txt"])
    embed_sources(encoder, both, tmp_path / "tree", kind="mirrored", progress=False)
    assert len(streams) == 1
    assert (tmp_path / "tree" / "photos" / "deeper" / "still" / "8.png.npy").is_file()
    assert len(list((tmp_path / "tree" / "photos").rglob("*.npy"))) == 10
    assert np.load(tmp_path / "tree" / "more.txt" / "photos" / "1.png.npy").shape == (16,)


def fail(*_):
    raise ValueError("full")


def count_streams(monkeypatch):
    """A list that grows with each shard that the net is asked for."""
    stream, asked = Encoder.stream, []

    def counted(self, *arguments, **options):
        asked.append(1)
        return stream(self, *arguments, **options)

    monkeypatch.setattr(Encoder, "stream", counted)
    return asked


@pytest.mark.parametrize("given", ["photos", "photos/deeper/still/8.png", "link", "list"])
def test_a_folder_with_a_source_in_it_is_not_replaced(run, photos, tmp_path, given, capsys):
    """Even one that looks as if it was made here."""
    (photos / "status.csv").write_text("name,frame,time_s,status\n")
    (tmp_path / "link").symlink_to(photos / "deeper")
    (tmp_path / "list.txt").write_text("photos/1.png\n")
    source = tmp_path / ("list.txt" if given == "list" else given)
    before = sorted(photos.rglob("*"))
    assert embed(run, source, "--format", "mirrored", "--output", photos, "--overwrite") == 2
    assert f"{photos}: " in capsys.readouterr().err.splitlines()[-1]
    assert sorted(photos.rglob("*")) == before


@pytest.mark.parametrize("added", ["deeper/0.png", "notes", "link.npy", "other header", "no header", "is a link"])
def test_only_a_folder_made_here_is_replaced(run, photos, tmp_path, added, capsys):
    tree = tmp_path / "tree"
    arguments = (photos, "--format", "mirrored", "--output", tree, "--overwrite")
    assert embed(run, *arguments) == embed(run, *arguments) == 0
    if added == "link.npy":
        (tree / added).symlink_to(photos)
    elif added == "is a link":
        tree.rename(tmp_path / "elsewhere")
        tree.symlink_to(tmp_path / "elsewhere")
    elif "header" in added:
        (tree / "status.csv").write_text("name,status\n" if added == "other header" else "")
    else:
        (tree / added).write_text("mine")
    before = sorted(tree.rglob("*"))
    assert embed(run, *arguments) == 2
    assert f"{tree}: a folder that this command did not make, or not alone" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(tree.rglob("*")) == before


def test_an_error_while_writing_leaves_the_old_tree(encoder, photos, tmp_path, monkeypatch):
    def embed_again():
        embed_sources(encoder, Sources([photos]), tmp_path / "tree", kind="mirrored", overwrite=True, progress=False)

    embed_again()
    before = sorted(tmp_path.rglob("*"))
    rename = Path.rename

    def fails_once(self, target):
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails_once)
        with pytest.raises(OSError, match="Input/output"):
            embed_again()
    assert {path for path in tmp_path.rglob("*") if ".shards" not in str(path)} == set(before)
    embed_again()
    assert sorted(tmp_path.rglob("*")) == before


def killed(folder, name, call, kind):
    """Embed and be killed at a call of a function, before it is done."""
    for module in (sources, shards):
        module.PIECE = 3
    owner, function = name.rsplit(".", 1)
    owner = pkgutil.resolve_name(owner)
    real, calls = getattr(owner, function), itertools.count(1)

    def killed_here(*arguments, **options):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(owner, function, killed_here)
    encoder = fecnet.load(next((folder / "result").iterdir()), device="cpu")
    output = folder / OUTPUTS[kind]
    embed_sources(encoder, Sources([folder / "photos"]), output, kind=kind, overwrite=True, progress=False)


OUTPUTS = {"npy": "out.npy", "csv": "out.csv", "mirrored": "tree"}
WRITTEN = {"npy": {"out.npy", "out.csv"}, "csv": {"out.csv"}, "mirrored": {"tree"}}


@pytest.mark.parametrize(
    ("kind", "name", "call", "left"),
    [
        ("npy", "fecnet.deploy.shards.replace_arrays", 3, 2),  # in the middle of the work
        ("npy", "fecnet.deploy.embedding.write_rows", 1, 0),
        ("npy", "numpy.lib.format.write_array_header_1_0", 1, 0),  # the output is begun
        ("npy", "fecnet.deploy.embedding._clear", 1, 0),  # the output is there
        ("csv", "fecnet.deploy.embedding_files._cells", 2, 0),
        ("mirrored", "fecnet.deploy.embedding_files._save_vector", 7, 0),
        ("mirrored", "pathlib.Path.rename", 1, 0),
        ("mirrored", "pathlib.Path.rename", 2, 0),  # the old tree is out of the way
        ("mirrored", "shutil.rmtree", 1, 0),  # the new one is in its place
    ],
)
def test_killed_by_a_signal_and_run_again(
    run, encoder, photos, tmp_path, monkeypatch, small_pieces, kind, name, call, left
):
    output = tmp_path / OUTPUTS[kind]
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "net").symlink_to(run)

    def contents():
        return {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    embed_sources(encoder, Sources([photos]), output, kind=kind, progress=False)
    expected = contents()
    with pytest.raises(AssertionError, match="died"):
        run_ranks(1, killed, tmp_path, name, call, kind)
    assert (tmp_path / f"{output.name}.shards").is_dir()
    streams = count_streams(monkeypatch)
    embed_sources(encoder, Sources([photos]), output, kind=kind, overwrite=True, progress=False)
    assert len(streams) == left
    assert contents() == expected
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "result", *WRITTEN[kind]}


def embed_on_rank(run, photos, output):
    for module in (sources, shards):
        module.PIECE = 2
    return str(embed_sources(fecnet.load(run, device="cpu"), Sources([photos]), output, progress=False))


@pytest.mark.parametrize("world_size", [2, 3])
def test_many_processes_write_what_one_does(run, encoder, photos, tmp_path, monkeypatch, world_size):
    for module in (sources, shards):
        monkeypatch.setattr(module, "PIECE", 2)
    embed_sources(encoder, Sources([photos]), tmp_path / "one.npy", progress=False)
    run_ranks(world_size, embed_on_rank, run, photos, tmp_path / "many.npy", timeout=120.0)
    for suffix in (".npy", ".csv"):
        one, many = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("one", "many"))
        assert one == many


def pictures_differ(run, photos, output):
    """What is said where rank 1 is given a picture less."""
    if comm.rank() == 1:
        Sources._below = lambda self, folder: iter(sorted(folder.glob("*.png"))[:3])
    try:
        embed_sources(fecnet.load(run, device="cpu"), Sources([photos]), output, progress=False)
    except ValueError as error:
        return str(error)
    return ""


def test_processes_that_saw_other_pictures_are_told(run, photos, tmp_path):
    said = run_ranks(2, pictures_differ, run, photos, tmp_path / "out.npy")
    assert said == [f"{tmp_path}/out.npy.shards: pictures came or went meanwhile; run the same command again", ""]
    assert not (tmp_path / "out.npy").exists()


def disk_not_shared(run, photos, output):
    """What is said where rank 1 writes to a disk of its own."""
    embedding._SEEN_S = 0.1
    if comm.rank() == 1:
        output = output.with_name("elsewhere.npy")
    try:
        embedding._Together(output.with_name(f"{output.name}.shards"))
    except ValueError as error:
        return str(error)
    return ""


def test_a_disk_that_is_not_shared_is_told(run, photos, tmp_path):
    said = run_ranks(2, disk_not_shared, run, photos, tmp_path / "out.npy")
    assert said == ["", f"{tmp_path}/elsewhere.npy.shards: not seen by process 1: all machines must share the output"]


def embed_within(encoder, photos, output, monkeypatch):
    """Begin to embed, and begin it again while the net is asked for the third shard; what the second said."""

    def embed_it():
        embed_sources(encoder, Sources([photos]), output, progress=False)

    stream, calls, said = Encoder.stream, itertools.count(1), []

    def begin_another(self, *arguments, **options):
        if next(calls) == 3:
            with monkeypatch.context() as nested, pytest.raises(ValueError) as caught:
                nested.setattr(embedding, "write_rows", fail)
                embed_it()
            said.append(str(caught.value))
        return stream(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Encoder, "stream", begin_another)
        embed_it()
    return said


def test_a_second_launch_on_one_output_is_refused(encoder, photos, tmp_path, monkeypatch, small_pieces):
    said = embed_within(encoder, photos, tmp_path / "out.npy", monkeypatch)
    assert said == [f"{tmp_path}/out.npy.shards: another command is at work here; wait for it to end"]
    assert len(np.load(tmp_path / "out.npy")) == 11
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "out.npy", "out.csv"}


def test_without_locks_the_first_launch_gives_way_to_the_second(encoder, photos, tmp_path, monkeypatch, small_pieces):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(ValueError, match="another command has begun to work here; this one gives way"):
        embed_within(encoder, photos, tmp_path / "out.npy", monkeypatch)
    embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "out.npy", "out.csv"}


def another_begins(output):
    """What the first process says, which waits for the second one, when another launch takes its place."""
    together = embedding._Together(output.with_name(f"{output.name}.shards"))
    comm.barrier()  # both have begun
    if comm.rank() == 1:
        for token in output.parent.rglob("launch-*"):
            token.unlink()
        return ""
    try:
        together.finish([])
    except ValueError as error:
        return str(error)


def test_a_launch_whose_place_another_took_does_not_wait_for_ever(tmp_path):
    said = run_ranks(2, another_begins, tmp_path / "out.npy", timeout=20.0)
    assert said == [f"{tmp_path}/out.npy.shards: another command has begun to work here; this one gives way", ""]


def test_a_folder_that_links_to_itself_ends(photos):
    (photos / "deeper" / "again").symlink_to(photos)
    found = [path for piece in Sources([photos]).pieces() for path, _ in piece.photos]
    assert len(found) == len(set(found)) == 11


def test_another_net_does_not_take_these_shards(encoder, photos, tmp_path, monkeypatch, small_pieces):
    monkeypatch.setattr(embedding, "write_rows", fail)
    with pytest.raises(ValueError, match="full"):
        embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", progress=False)
    (first,) = (tmp_path / "out.npy.shards").glob("shards-*")
    identity = encoder.identity
    monkeypatch.setattr(encoder, "identity", "another")
    with pytest.raises(ValueError, match="full"):
        embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", progress=False)
    assert len(list((tmp_path / "out.npy.shards").glob("shards-*"))) == 2
    damaged = sorted(first.glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:50])
    monkeypatch.setattr(encoder, "identity", identity)
    with pytest.raises(ValueError, match=r"\.npz: not a shard with arrays"):
        embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", progress=False)


def test_shards_of_another_kind_of_device_are_not_taken(run, encoder, monkeypatch):
    """A GPU rounds otherwise than a CPU; the GPUs of a launch share theirs."""
    names = {embedding._folder_name(encoder, "embedding", True)}
    names.add(embedding._folder_name(fecnet.load(run, detector_device="cuda"), "embedding", True))
    assert len(names) == 2
    for device in ("cuda:0", "cuda:1"):
        monkeypatch.setattr(encoder, "device", torch.device(device))
        names.add(embedding._folder_name(encoder, "embedding", True))
    assert len(names) == 3


def test_mistakes_are_one_line_and_exit_code_2(run, photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "here.npy").write_bytes(b"")
    (tmp_path / "mine").mkdir()
    (photos / "photos.csv").write_text("path\n0.png\n")
    write_tiny(tmp_path / "small", size=32)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "list.csv").write_text("image,label\n0.png,glad\n")
    (tmp_path / "nothing.csv").write_text("")
    mistakes = {
        (tmp_path / "empty",): "empty: no pictures in it; passed over: 0 other files",
        (tmp_path / "gone",): "gone: no such file or folder",
        (photos / "notes.pdf",): "notes.pdf: no such file or folder",
        (run / "config.yaml",): "'.yaml' names no picture, video or list; allowed: ",
        (photos, tmp_path / "empty"): "empty: no pictures in it; passed over: 0 other files",
        (tmp_path / "list.txt",): "list.txt: not a list of photos in UTF-8",
        (tmp_path / "list.csv",): "list.csv: a list of photos without a column 'path'; columns seen: image, label",
        (tmp_path / "nothing.csv",): "nothing.csv: a list of photos without a column 'path'; columns seen: none",
        (photos, "--output", tmp_path / "here.npy"): "here.npy: exists already; use --overwrite",
        (photos / "photos.csv", "--output", photos / "photos.npy", "--overwrite"): "photos.csv: would be written over",
        (photos, "--output", tmp_path / "out.txt"): "out.txt: format npy writes a file *.npy",
        (photos, "--format", "mirrored", "--output", tmp_path / "mine", "--overwrite"): "mine: a folder that this comm",
        (photos, "--every", "0"): "every: 0; allowed: 1 or more",
        (photos, "--align"): "align: does not say how its faces were aligned",
        (tmp_path / "small",): "small: faces of (32, 32, 1) ['grey']; ",
        (tmp_path / "small", "--align"): "small: --align: faces of a packed set are cut already; leave it out",
    }
    for arguments, said in mistakes.items():
        output = () if "--output" in arguments else ("--output", tmp_path / "new.npy")
        assert embed(run, *arguments, *output) == 2, arguments
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and said in error, (arguments, error)
    assert not list(tmp_path.glob("new.npy*"))
    assert embed(tmp_path / "nothing", photos) == 2
    assert "no checkpoint here" in capsys.readouterr().err
