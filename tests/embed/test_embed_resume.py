"""``fecnet embed``, killed at any moment and run again, writes what it would have written."""

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
from fecnet.embed import embedding, shards, sources
from fecnet.embed.embedding import embed_sources
from fecnet.embed.sources import Sources
from fecnet.encoder import face_maker
from fecnet.encoder.encoder import Encoder
from fecnet.utils import in_place
from tests.distributed.ranks import run_ranks
from tests.nets import fail


def count_streams(monkeypatch):
    """A list that grows with each shard that the net is asked for."""
    stream, asked = Encoder.stream, []

    def counted(self, *arguments, **options):
        asked.append(1)
        return stream(self, *arguments, **options)

    monkeypatch.setattr(Encoder, "stream", counted)
    return asked


def test_killed_and_run_again_equals_uninterrupted(run, encoder, photos, tmp_path, monkeypatch, small_pieces):
    embed_sources(encoder, Sources([photos]), tmp_path / "whole.npy", faces="whole", progress=False)
    stream, calls = Encoder.stream, itertools.count(1)

    def stream_then_fail(self, *arguments, **options):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return stream(self, *arguments, **options)

    monkeypatch.setattr(Encoder, "stream", stream_then_fail)
    with pytest.raises(KeyboardInterrupt):
        embed_sources(encoder, Sources([photos]), tmp_path / "parts.npy", faces="whole", progress=False)
    assert not (tmp_path / "parts.npy").exists()
    assert len(list((tmp_path / "parts.npy.shards").rglob("*.npz"))) == 2
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(photos / "zz.png")  # behind what is done in the folder
    embed_sources(encoder, Sources([photos]), tmp_path / "parts.npy", faces="whole", progress=False)
    assert next(calls) == 6  # 12 pictures are four pieces: one failed, two were there, two were done
    (photos / "zz.png").unlink()
    embed_sources(encoder, Sources([photos]), tmp_path / "parts.npy", faces="whole", progress=False, overwrite=True)
    for suffix in (".npy", ".csv"):
        whole, parts = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("whole", "parts"))
        assert whole == parts


def test_another_source_behind_does_not_undo_what_is_done(encoder, photos, tmp_path, monkeypatch, small_pieces):
    """Nor one less; what is of one source alone lies in a folder of its own only where there are several."""
    with monkeypatch.context() as patched:
        patched.setattr(embedding, "write_rows", fail)
        with pytest.raises(ValueError, match="full"):
            embed_sources(encoder, Sources([photos]), tmp_path / "tree", kind="mirrored", faces="whole", progress=False)
    (tmp_path / "more.txt").write_text("photos/1.png\n")
    streams = count_streams(monkeypatch)
    both = Sources([photos, tmp_path / "more.txt"])
    embed_sources(encoder, both, tmp_path / "tree", kind="mirrored", faces="whole", progress=False)
    assert len(streams) == 1
    assert (tmp_path / "tree" / "photos" / "deeper" / "still" / "8.png.npy").is_file()
    assert len(list((tmp_path / "tree" / "photos").rglob("*.npy"))) == 10
    assert np.load(tmp_path / "tree" / "more.txt" / "photos" / "1.png.npy").shape == (16,)


def test_an_error_while_writing_leaves_the_old_tree(encoder, photos, tmp_path, monkeypatch):
    def embed_again():
        embed_sources(
            encoder,
            Sources([photos]),
            tmp_path / "tree",
            kind="mirrored",
            overwrite=True,
            faces="whole",
            progress=False,
        )

    embed_again()
    before = sorted(tmp_path.rglob("*"))
    rename = Path.rename

    def fails_once(self, target):
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails_once)
        patched.setattr(in_place, "_exchange", lambda *_: False)  # as of a file system that cannot
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
    embed_sources(
        encoder, Sources([folder / "photos"]), output, kind=kind, overwrite=True, faces="whole", progress=False
    )


OUTPUTS = {"npy": "out.npy", "csv": "out.csv", "mirrored": "tree"}
WRITTEN = {"npy": {"out.npy", "out.csv"}, "csv": {"out.csv"}, "mirrored": {"tree"}}


@pytest.mark.parametrize(
    ("kind", "name", "call", "left"),
    [
        ("npy", "fecnet.embed.shards.replace_arrays", 3, 2),  # in the middle of the work
        ("npy", "fecnet.embed.embedding.write_rows", 1, 0),
        ("npy", "numpy.lib.format.write_array_header_1_0", 1, 0),  # the output is begun
        ("npy", "fecnet.embed.embedding._clear", 1, 0),  # the output is there
        ("csv", "fecnet.embed.embedding_files._cells", 2, 0),
        ("mirrored", "fecnet.embed.embedding_files._save_vector", 7, 0),
        ("npy", "fecnet.utils.together._point", 2, 0),  # both are written, and seen are the old ones
        ("npy", "fecnet.utils.together.settle", 2, 0),  # seen are the new ones
        ("mirrored", "fecnet.utils.in_place._exchange", 1, 0),
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

    embed_sources(encoder, Sources([photos]), output, kind=kind, faces="whole", progress=False)
    expected = contents()
    with pytest.raises(AssertionError, match="died"):
        run_ranks(1, killed, tmp_path, name, call, kind)
    assert (tmp_path / f"{output.name}.shards").is_dir()
    streams = count_streams(monkeypatch)
    embed_sources(encoder, Sources([photos]), output, kind=kind, overwrite=True, faces="whole", progress=False)
    assert len(streams) == left
    assert contents() == expected
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "result", *WRITTEN[kind]}


def test_the_next_command_puts_in_their_places_what_a_killed_one_left(encoder, photos, tmp_path):
    """Also where it then refuses to replace them; not while the other is at work."""
    output = tmp_path / "out.npy"

    def embed_again():
        embed_sources(encoder, Sources([photos]), output, faces="whole", progress=False)

    embed_again()
    pair = [output, tmp_path / "out.csv"]
    (tmp_path / ".out.npy.pair" / "new").mkdir(parents=True)
    (tmp_path / ".out.npy.pair" / "now").symlink_to("new")
    for path in pair:
        path.rename(tmp_path / ".out.npy.pair" / "new" / path.name)
        path.symlink_to(f".out.npy.pair/now/{path.name}")
    with embedding.holding(output), pytest.raises(ValueError, match="another command is at work here"):
        embed_again()
    assert all(path.is_symlink() for path in pair)
    with pytest.raises(ValueError, match=r"out\.npy: exists already"):
        embed_again()
    assert np.load(output).shape == (11, 16) and not any(path.is_symlink() for path in pair)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "out.npy", "out.csv"}


def test_another_net_does_not_take_these_shards(encoder, photos, tmp_path, monkeypatch, small_pieces):
    monkeypatch.setattr(embedding, "write_rows", fail)
    with pytest.raises(ValueError, match="full"):
        embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", faces="whole", progress=False)
    (first,) = (tmp_path / "out.npy.shards").glob("shards-*")
    identity = encoder.identity
    monkeypatch.setattr(encoder, "identity", "another")
    with pytest.raises(ValueError, match="full"):
        embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", faces="whole", progress=False)
    assert len(list((tmp_path / "out.npy.shards").glob("shards-*"))) == 2
    damaged = sorted(first.glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:50])
    monkeypatch.setattr(encoder, "identity", identity)
    with pytest.raises(ValueError, match=r"\.npz: not a shard with arrays"):
        embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", faces="whole", progress=False)


def test_shards_of_another_kind_of_device_are_not_taken(run, encoder, monkeypatch):
    """A GPU rounds otherwise than a CPU; the GPUs of a launch share theirs."""
    names = {embedding._folder_name(encoder, "embedding", "auto")}
    monkeypatch.setattr(face_maker, "detector_gpu", lambda *_: "cuda:0")
    names.add(embedding._folder_name(fecnet.load(run, detector_device="cuda"), "embedding", "auto"))
    assert len(names) == 2
    for device in ("cuda:0", "cuda:1"):
        monkeypatch.setattr(encoder, "device", torch.device(device))
        names.add(embedding._folder_name(encoder, "embedding", "auto"))
    assert len(names) == 3
