"""A small data set with every part a packed set can have, and ways to break it."""

import json

import numpy as np

from fecnet.prepare.writer import PackedWriter
from fecnet.utils.files import hash_file

CLASSES = ("calm", "glad", "cross")
SPLITS = {"train": range(0, 18), "test": range(18, 30)}


def write_whole(path, *, image=None, subjects=True):
    """30 different faces of ten people, labels with distribution, triplets with the answers of three raters."""
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(30, 8, 6, 1), dtype=np.uint8) if image is None else image
    records = [{"key": f"k{row}", "source": f"photo {row}"} for row in range(30)]
    records = [record | ({"subject": f"p{row // 3}"} if subjects else {}) for row, record in enumerate(records)]
    records[5]["duplicate_of"] = 4
    with PackedWriter(path, num_faces=30, height=8, width=6, channels=["grey"]) as writer:
        writer.add_faces(image, records)
        for split, rows in SPLITS.items():
            answer_TR = rng.integers(3, size=(9, 3))
            votes = (answer_TR[..., None] == np.arange(3)).sum(axis=1)
            writer.add_triplets(
                split,
                faces_T3=np.stack([rng.permutation(rows)[:3] for _ in range(9)]),
                odd_T=votes.argmax(axis=1),
                type_T=np.arange(9) % 3,
                votes_T3=votes,
                answer_offset=np.arange(0, 28, 3),
                annotator=np.tile(np.arange(3, dtype=np.int32), 9),
                answer=answer_TR.reshape(-1).astype(np.int8),
            )
            label = np.arange(len(rows)) % 3
            label[3] = -1
            share = np.eye(3)[label]
            share[3] = np.nan
            rows = np.array(rows)
            writer.add_labels("mood", split, classes=CLASSES, faces_M=rows, label_M=label, distribution_MK=share)
        writer.add_array("expression", rng.random((30, 4), np.float32))
        writer.set_coverage({"faces": {"read": 31, "kept": 30, "dropped": {"blurred": 1}}})
    return path


def change_arrays(file, **changes):
    """Write an npz again, with ``changes`` made by a function of the array, or an array left out by None."""
    arrays = dict(np.load(file))
    for name, change in changes.items():
        array = arrays.pop(name, None)
        if change is not None:
            arrays[name] = change(array)
    np.savez(file, **arrays)


def put(place, value):
    """A change that sets one place of an array."""

    def change(array):
        array = array.copy()
        array[place] = value
        return array

    return change


def record_again(path):
    """Make the hashes fit the files, so that only what is inside them can be wrong."""
    described = json.loads((path / "dataset.json").read_text())
    for name, recorded in described["files"].items():
        recorded |= {"sha256": hash_file(path / name), "bytes": (path / name).stat().st_size}
    (path / "dataset.json").write_text(json.dumps(described))
