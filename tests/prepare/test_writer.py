import fcntl
import json
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from fecnet.cli.main import main
from fecnet.prepare.writer import PackedWriter
from fecnet.utils import in_place


def write(path, value=1, *, overwrite=False, fail=False, num_added=2):
    with PackedWriter(path, num_faces=2, height=3, width=4, channels=["grey"], overwrite=overwrite) as writer:
        records = [{"key": f"k{row}", "source": f"photo {row}"} for row in range(num_added)]
        rows = writer.add_faces(np.full((num_added, 3, 4, 1), value, np.uint8), records)
        writer.add_labels("mood", "train", classes=["a", "b"], faces_M=np.array(rows), label_M=np.arange(num_added))
        writer.add_array("extra", np.arange(3, dtype=np.float32))
        assert not path.exists() or overwrite, "the name must not appear before everything is written"
        if fail:
            raise RuntimeError("interrupted")


def test_writes_what_was_added(tmp_path):
    write(tmp_path / "set", 7)
    assert (np.load(tmp_path / "set" / "faces.npy") == 7).all()
    assert np.load(tmp_path / "set" / "extra.npy").tolist() == [0, 1, 2]
    described = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert described["label_sets"] == {"mood": {"classes": ["a", "b"]}}
    assert (tmp_path / "set" / "faces.csv").read_text().splitlines()[1].startswith("k0,photo 0,")
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_refuses_a_name_in_use(tmp_path):
    write(tmp_path / "set", 1)
    with pytest.raises(ValueError, match="exists already; use --overwrite"):
        write(tmp_path / "set", 2)
    assert (np.load(tmp_path / "set" / "faces.npy") == 1).all()


def test_never_replaces_what_is_not_a_data_set(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("dear")
    with pytest.raises(ValueError, match="choose another name"):
        write(tmp_path / "set", overwrite=True)
    assert (tmp_path / "set" / "thesis.txt").read_text() == "dear"


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="interrupted"):
        write(tmp_path / "set", fail=True)
    assert list(tmp_path.iterdir()) == []


def test_faces_missing_at_the_end_leave_no_data_set(tmp_path):
    with pytest.raises(AssertionError, match="1 faces added, 2 expected"):
        write(tmp_path / "set", num_added=1)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_replaces_whole_or_not_at_all(tmp_path):
    write(tmp_path / "set", 1)
    with pytest.raises(RuntimeError, match="interrupted"):
        write(tmp_path / "set", 2, overwrite=True, fail=True)
    assert (np.load(tmp_path / "set" / "faces.npy") == 1).all()
    write(tmp_path / "set", 3, overwrite=True)
    assert (np.load(tmp_path / "set" / "faces.npy") == 3).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_a_failed_rename_brings_the_old_set_back(tmp_path, monkeypatch):
    write(tmp_path / "set", 1)
    rename = type(tmp_path).rename

    def rename_but_not_the_new(path, target):
        if path.name.endswith(".partial"):
            raise OSError("disk trouble")
        return rename(path, target)

    monkeypatch.setattr(type(tmp_path), "rename", rename_but_not_the_new)
    monkeypatch.setattr(in_place, "_exchange", lambda *_: False)  # as of a file system that cannot
    with pytest.raises(OSError, match="disk trouble"):
        write(tmp_path / "set", 2, overwrite=True)
    assert (np.load(tmp_path / "set" / "faces.npy") == 1).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_an_array_is_written_once(tmp_path):
    with (
        pytest.raises(AssertionError, match=r"faces\.npy"),
        PackedWriter(tmp_path / "set", num_faces=0, height=3, width=4, channels=["grey"]) as writer,
    ):
        writer.add_array("faces", np.zeros(1))


def test_what_a_killed_writer_left_is_swept(tmp_path):
    dead, other = tmp_path / f".set.{os.getppid()}.partial", tmp_path / ".set.of.7.partial"  # numbers come again
    dead.mkdir()
    other.mkdir()
    with PackedWriter(tmp_path / "set", num_faces=0, height=2, width=2, channels=["grey"]):
        assert not dead.exists()
        assert other.exists()  # of the set named set.of


def test_the_second_of_two_writers_refuses(tmp_path):
    alive = tmp_path / ".set.7.partial"
    alive.mkdir()
    handle = os.open(alive, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="set: another run is writing it"):
        write(tmp_path / "set")
    assert [entry.name for entry in tmp_path.iterdir()] == [alive.name]
    os.close(handle)
    write(tmp_path / "set")
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_a_set_that_came_meanwhile_is_not_replaced(tmp_path):
    def set_of(value):
        return np.full((1, 3, 4, 1), value, np.uint8), [{"key": "k", "source": "s"}]

    with (
        pytest.raises(ValueError, match="exists already"),
        PackedWriter(tmp_path / "set", num_faces=1, height=3, width=4, channels=["grey"]) as writer,
    ):
        writer.add_faces(*set_of(2))
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "dataset.json").write_text("{}")
    assert (tmp_path / "set" / "dataset.json").read_text() == "{}"


@pytest.fixture
def tiny(tmp_path):
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a disk may not be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def labelled_pictures(folder):
    (folder / "in" / "happy").mkdir(parents=True)
    for k in range(6):
        Image.new("RGB", (32, 32), (40 * k, 0, 0)).save(folder / "in" / "happy" / f"{k}.png")
    return folder / "in"


def test_a_full_disk_is_one_line_with_the_name(tiny, tmp_path, capsys):
    pictures = labelled_pictures(tmp_path)
    assert main(["prepare", "folder", str(pictures), str(tiny / "set"), "--size", "300"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert f"error: [Errno 28] No space left on device: '{tiny / 'set'}'" in told
    assert list(tiny.iterdir()) == []


def test_a_disk_that_fills_up_late_is_one_line_with_the_name(tiny):
    with (
        pytest.raises(OSError, match=r"set.* written; is the disk full\?"),
        PackedWriter(tiny / "set", num_faces=1, height=3, width=4, channels=["grey"]) as writer,
    ):
        writer.add_faces(np.zeros((1, 3, 4, 1), np.uint8), [{"key": "k", "source": "s"}])
        writer.add_array("large", np.zeros(2 << 20, np.uint8))
    assert list(tiny.iterdir()) == []


def test_a_read_only_disk_is_one_line_with_the_name(tiny, tmp_path, capsys):
    pictures = labelled_pictures(tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
    assert main(["prepare", "folder", str(pictures), str(tiny / "set")]) == 2
    told = capsys.readouterr().err
    assert "Read-only file system" in told and str(tiny) in told and told.count("error:") == 1
    assert list(tiny.iterdir()) == []


def test_a_full_disk_is_an_error_before_any_face_is_written(tmp_path, monkeypatch):
    def no_space(handle, offset, size):
        assert size > 100 * 48 * 48
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with (
        pytest.raises(OSError, match="No space left"),
        PackedWriter(tmp_path / "set", num_faces=100, height=48, width=48, channels=["grey"]),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_set_that_a_kill_left_aside_is_brought_back(tmp_path):
    write(tmp_path / "set", 1)
    (tmp_path / "set").rename(tmp_path / ".set.replaced")  # killed between the two renames of --overwrite
    with pytest.raises(ValueError, match="exists already; use --overwrite"):
        write(tmp_path / "set", 2)
    assert (np.load(tmp_path / "set" / "faces.npy") == 1).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
