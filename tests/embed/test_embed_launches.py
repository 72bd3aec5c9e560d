"""``fecnet embed`` by many processes, and by two launches at once."""

import errno
import fcntl
import itertools

import numpy as np
import pytest

import fecnet
from fecnet.embed import embedding, shards, sources
from fecnet.embed.embedding import embed_sources
from fecnet.embed.sources import Sources
from fecnet.encoder.encoder import Encoder
from fecnet.utils import comm
from tests.distributed.ranks import run_ranks
from tests.nets import fail


def embed_on_rank(run, photos, output):
    for module in (sources, shards):
        module.PIECE = 2
    return str(embed_sources(fecnet.load(run, device="cpu"), Sources([photos]), output, faces="whole", progress=False))


@pytest.mark.parametrize("world_size", [2, 3])
def test_many_processes_write_what_one_does(run, encoder, photos, tmp_path, monkeypatch, world_size):
    for module in (sources, shards):
        monkeypatch.setattr(module, "PIECE", 2)
    embed_sources(encoder, Sources([photos]), tmp_path / "one.npy", faces="whole", progress=False)
    run_ranks(world_size, embed_on_rank, run, photos, tmp_path / "many.npy", timeout=120.0)
    for suffix in (".npy", ".csv"):
        one, many = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("one", "many"))
        assert one == many


def pictures_differ(run, photos, output):
    """What is said where rank 1 is given a picture less."""
    if comm.rank() == 1:
        Sources._below = lambda self, folder: iter(sorted(folder.glob("*.png"))[:3])
    try:
        embed_sources(fecnet.load(run, device="cpu"), Sources([photos]), output, faces="whole", progress=False)
    except ValueError as error:
        return str(error)
    return ""


def test_processes_that_saw_other_pictures_are_told(run, photos, tmp_path):
    said = run_ranks(2, pictures_differ, run, photos, tmp_path / "out.npy")
    assert said == [f"{tmp_path}/out.npy.shards: pictures came or went meanwhile; run the same command again", ""]
    assert not (tmp_path / "out.npy").exists()


def disk_not_shared(run, photos, output):
    """What is said where rank 1 writes to a disk of its own."""
    embedding._VISIBLE_S = 0.1
    if comm.rank() == 1:
        output = output.with_name("elsewhere.npy")
    try:
        embedding._Launch(output.with_name(f"{output.name}.shards"))
    except ValueError as error:
        return str(error)
    return ""


def test_a_disk_that_is_not_shared_is_told(run, photos, tmp_path):
    said = run_ranks(2, disk_not_shared, run, photos, tmp_path / "out.npy")
    assert said == ["", f"{tmp_path}/elsewhere.npy.shards: not seen by process 1: all machines must share the output"]


def embed_within(encoder, photos, output, monkeypatch):
    """Begin to embed, and begin it again while the net is asked for the third shard; what the second said."""

    def embed_it():
        embed_sources(encoder, Sources([photos]), output, faces="whole", progress=False)

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
    embed_sources(encoder, Sources([photos]), tmp_path / "out.npy", faces="whole", progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "out.npy", "out.csv"}


def another_begins(output):
    """What the first process says, which waits for the second one, when another launch takes its place."""
    launch = embedding._Launch(output.with_name(f"{output.name}.shards"))
    comm.barrier()  # both have begun
    if comm.rank() == 1:
        for token in output.parent.rglob("launch-*"):
            token.unlink()
        return ""
    try:
        launch.finish([])
    except ValueError as error:
        return str(error)


def test_a_launch_whose_place_another_took_does_not_wait_for_ever(tmp_path):
    said = run_ranks(2, another_begins, tmp_path / "out.npy", timeout=20.0)
    assert said == [f"{tmp_path}/out.npy.shards: another command has begun to work here; this one gives way", ""]
