"""Writes a packed data set atomically: into a temporary folder, which is then renamed."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from fecnet.faces.recipe import FaceRecipe
from fecnet.structures import FACE_COLUMNS, PACKED_FORMAT
from fecnet.utils.errors import DataError
from fecnet.utils.files import hash_file, lock_handle, named_errors, require_locks
from fecnet.utils.in_place import bring_back, put_in_place, sweep


def face_key(source: str, box: Sequence[float] = ()) -> str:
    """Identifier of a face: sha256 of its source and its box rounded to 6 decimals; no box for a whole image.

    The source alone is not unique: one photo holds several faces.
    """
    return sha256(f"{source}|{','.join(f'{edge:.6f}' for edge in box)}".encode()).hexdigest()


def check_target(path: Path, *, overwrite: bool) -> None:
    """Check that a packed data set may be written at ``path``; called early, before long preparation.

    Raises:
        DataError: ``path`` exists and is not a packed data set, or must not be replaced.
    """
    bring_back(path)
    if path.exists() and not (overwrite and (path / "dataset.json").is_file()):
        hint = "use --overwrite to replace it" if (path / "dataset.json").is_file() else "choose another name"
        raise DataError(f"{path}: exists already; {hint}")


def _write_header(file: BinaryIO, shape: Sequence[int]) -> bytes:
    """Write the header of a uint8 array; numpy pads it, so its length depends only on the number of dimensions."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
    file.write(text.getvalue())
    return text.getvalue()


def _reserve(file: BinaryIO, size: int) -> None:
    """Allocate the file's disk space in advance: a full disk is then an error at the start, not after hours of work."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


class PackedWriter:
    """Context manager that writes one packed data set (``docs/formats.md``).

    Faces are streamed into ``faces.npy``, so memory does not grow with the data set. On leaving the block the folder is
    renamed to ``path``; after an exception it is deleted.

    Args:
        path: the folder to create; it must not exist unless ``overwrite``.
        num_faces: N, or an upper limit, to be followed by ``trim_faces``.
        height: height of a face, pixels.
        width: width of a face, pixels.
        channels: names in order, e.g. ``["grey"]`` or ``["R", "G", "B"]``.
        overwrite: replace an existing packed data set at ``path``.

    Raises:
        DataError: ``path`` exists, or another run is writing it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_faces: int,
        height: int,
        width: int,
        channels: Sequence[str],
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        check_target(self.path, overwrite=overwrite)
        self._folder = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._shape = (num_faces, height, width, len(channels))
        self._lock = -1
        self._overwrite = overwrite
        self._records: list[Mapping[str, Any]] = []
        self._description: dict[str, Any] = {
            "format": PACKED_FORMAT,
            "name": self.path.name,
            "num_faces": num_faces,
            "height": height,
            "width": width,
            "channels": list(channels),
            "splits": {},
            "label_sets": {},
            "sources": {},
            "coverage": {},
            "faces": FaceRecipe().to_dict(),
        }

    def __enter__(self) -> PackedWriter:
        require_locks()
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self._folder.mkdir()
        self._lock = os.open(self._folder, os.O_RDONLY)
        try:
            lock_handle(self._lock)
            self._sweep()  # again: of two writers started at the same time, one detects the other
            with named_errors(self.path):
                self._begin_faces()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            raise
        return self

    def _begin_faces(self) -> None:
        self._faces = (self._folder / "faces.npy").open("wb")
        try:
            header = _write_header(self._faces, self._shape)
            self._start, self._hash, self._whole = len(header), sha256(header), True
            _reserve(self._faces, self._start + math.prod(self._shape))
        except BaseException:
            self._faces.close()
            raise

    def _sweep(self) -> None:
        """Delete temporary folders of killed writers of this data set; a running writer holds the lock of its folder.

        Raises:
            DataError: another writer is running.
        """
        mine = re.compile(rf"\.{re.escape(self.path.name)}\.\d+\.partial")
        for partial in self.path.parent.iterdir():
            if not mine.fullmatch(partial.name) or (partial == self._folder and self._lock >= 0):
                continue
            handle = os.open(partial, os.O_RDONLY)
            try:
                lock_handle(handle)
                shutil.rmtree(partial, ignore_errors=True)
            except BlockingIOError as error:
                raise DataError(f"{self.path}: another run is writing it; wait for it to end") from error
            finally:
                os.close(handle)
        sweep(self.path)

    def add_faces(self, image_NHWC: np.ndarray | Sequence[np.ndarray], records: Sequence[Mapping[str, Any]]) -> range:
        """Append faces.

        Args:
            image_NHWC: uint8, shape (n, height, width, channels), or n images.
            records: n rows of ``faces.csv``; ``key`` and ``source`` are required, see ``FACE_COLUMNS``.

        Returns:
            Their rows.
        """
        first = len(self._records)
        assert len(image_NHWC) == len(records) <= self._shape[0] - first, (len(image_NHWC), len(records), self._shape)
        for image_HWC in image_NHWC:
            assert image_HWC.dtype == np.uint8, image_HWC.dtype
            assert image_HWC.shape == self._shape[1:], (image_HWC.shape, self._shape)
            pixels = np.ascontiguousarray(image_HWC).data
            self._faces.write(pixels)
            self._hash.update(pixels)  # hashed here, while the pixels are in memory and workers continue
        self._records.extend(records)
        return range(first, len(self._records))

    def trim_faces(self) -> None:
        """Reduce the number of faces to those added so far, where some images were unreadable.

        Rewrites only the header of ``faces.npy`` and truncates the file.
        """
        num_faces = len(self._records)
        assert 0 < num_faces <= self._shape[0], (num_faces, self._shape)
        if num_faces == self._shape[0]:
            return
        self._shape = (num_faces, *self._shape[1:])
        self._description["num_faces"] = num_faces
        self._faces.seek(0)
        header = _write_header(self._faces, self._shape)
        assert len(header) == self._start, (len(header), self._start)
        self._faces.truncate(self._start + math.prod(self._shape))
        self._whole = False

    def add_triplets(
        self,
        split: str,
        *,
        faces_T3: np.ndarray,
        odd_T: np.ndarray,
        type_T: np.ndarray,
        votes_T3: np.ndarray,
        **extra: np.ndarray,
    ) -> None:
        """Write ``triplets/<split>.npz``.

        Args:
            split: e.g. ``train``.
            faces_T3: rows of faces.npy, shape (T, 3).
            odd_T: the odd face, 0..2, shape (T,).
            type_T: ``TripletType``, shape (T,).
            votes_T3: number of annotators who chose face k, shape (T, 3).
            **extra: further arrays, such as answer_offset, annotator and answer.
        """
        self._save(
            f"triplets/{split}.npz",
            faces=faces_T3.astype(np.int32),
            odd=odd_T.astype(np.int8),
            type=type_T.astype(np.int8),
            votes=votes_T3.astype(np.uint8),
            **extra,
        )
        counts = np.bincount(type_T, minlength=3).tolist()
        self._description["splits"].setdefault(split, {})["triplets"] = dict(
            zip(("one_class", "two_class", "three_class"), counts, strict=True)
        )

    def add_labels(
        self,
        label_set: str,
        split: str,
        *,
        classes: Sequence[str],
        faces_M: np.ndarray,
        label_M: np.ndarray,
        distribution_MK: np.ndarray | None = None,
        valence_arousal_M2: np.ndarray | None = None,
    ) -> None:
        """Write ``labels/<label_set>/<split>.npz``.

        Args:
            label_set: its name, e.g. ``ferplus``.
            split: e.g. ``train``.
            classes: K names in label order, the same for all splits of a label set.
            faces_M: rows of faces.npy, shape (M,).
            label_M: class index, -1 = missing, shape (M,).
            distribution_MK: share of the votes per class, shape (M, K), or None.
            valence_arousal_M2: both in -1..1, NaN = missing, shape (M, 2), or None.
        """
        arrays: dict[str, np.ndarray] = {"faces": faces_M.astype(np.int32), "label": label_M.astype(np.int64)}
        if distribution_MK is not None:
            arrays["distribution"] = distribution_MK.astype(np.float32)
        if valence_arousal_M2 is not None:
            assert valence_arousal_M2.shape == (len(label_M), 2), valence_arousal_M2.shape
            arrays["valence_arousal"] = valence_arousal_M2.astype(np.float32)
        self._save(f"labels/{label_set}/{split}.npz", **arrays)
        described = self._description["label_sets"].setdefault(label_set, {"classes": list(classes)})
        assert described["classes"] == list(classes), (label_set, described["classes"], classes)
        self._description["splits"].setdefault(split, {}).setdefault("labels", {})[label_set] = len(label_M)

    def add_array(self, name: str, array: np.ndarray) -> None:
        """Write an additional array ``<name>.npy``, such as the true expressions of synthetic faces."""
        target = self._folder / f"{name}.npy"
        assert not target.exists(), target
        np.save(target, array, allow_pickle=False)

    def set_coverage(self, coverage: Mapping[str, Any]) -> None:
        """Set the counts read, kept and dropped by reason, which are shown with every later table."""
        self._description["coverage"] = dict(coverage)

    @property
    def faces_NHWC(self) -> np.ndarray:
        """The faces added so far, uint8, shape (N, H, W, C); mapped from the disk."""
        self._faces.flush()
        shape = (len(self._records), *self._shape[1:])
        return np.memmap(self._folder / "faces.npy", np.uint8, "r", self._start, shape)

    def set_faces(self, recipe: FaceRecipe) -> None:
        """Set how images were turned into faces; nets trained on the set record it, to process new photos identically.

        By default, images are used as they are.
        """
        self._description["faces"] = recipe.to_dict()

    def set_sources(self, sources: Mapping[str, str]) -> None:
        """Set the provenance: file name or generator to sha256 or version."""
        self._description["sources"] = dict(sources)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with named_errors(self.path):
                    self._finish()
            elif isinstance(error, OSError):
                with named_errors(self.path):
                    raise error
        finally:
            with suppress(OSError):  # the incomplete file is deleted anyway
                self._faces.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)

    def _finish(self) -> None:
        """Write what is known only at the end, then rename the folder."""
        assert len(self._records) == self._shape[0], f"{len(self._records)} faces added, {self._shape[0]} expected"
        self._faces.flush()
        os.fsync(self._faces.fileno())
        with (self._folder / "faces.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FACE_COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self._records)
        known = {"faces.npy": self._hash.hexdigest()} if self._whole else {}  # trimming has changed the header
        self._description["files"] = {
            name: {"sha256": known.get(name) or hash_file(file), "bytes": file.stat().st_size}
            for file in sorted(self._folder.rglob("*"))
            if file.is_file() and (name := file.relative_to(self._folder).as_posix())
        }
        # Written last: a folder with a dataset.json is complete.
        text = json.dumps(self._description, indent=2, ensure_ascii=False)
        (self._folder / "dataset.json").write_text(text + "\n", encoding="utf-8")
        check_target(self.path, overwrite=self._overwrite)  # again: another run may have created it meanwhile
        put_in_place(self._folder, self.path)

    def _save(self, name: str, **arrays: np.ndarray) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, **arrays)  # type: ignore[arg-type]
