"""The source images of vectors: photos, rows of packed sets, frames of videos."""

from __future__ import annotations

from pathlib import Path

from fecnet.data.packed import PackedDataset
from fecnet.embed.videos import Video
from fecnet.encoder.pictures import Item
from fecnet.faces.picture_files import is_video
from fecnet.search.index import Index, Name
from fecnet.utils.errors import UserError


def open_packed(index: Index, name: str) -> PackedDataset:
    """A packed set that an index was built from.

    Raises:
        UserError: it is missing, or its faces have changed.
    """
    dataset = PackedDataset(Path(index.description["folder"], name))
    if dataset.faces_sha256 != index.description["packed"].get(name):
        raise UserError(f"{dataset.path}: its faces changed since {index.path} was built; rebuild the index")
    return dataset


class Pictures:
    """Opens source images, for a contact sheet.

    Args:
        index: the index that names the pictures; None: pictures named by a user.
    """

    def __init__(self, index: Index | None = None) -> None:
        self._index = index
        self._packed: dict[str, PackedDataset] = {}

    def open(self, name: Name) -> Item:
        """A path, or the pixels of a row or frame.

        Raises:
            UserError: a packed set or video is missing, damaged or has changed, or has no such row or frame.
        """
        path = Path(self._index.description["folder"] if self._index else "", name.file)
        if name.number < 0:
            return path
        if is_video(path):
            for _, _, image_HWC in Video(path).frames(first=name.number):
                return image_HWC
            raise UserError(f"{path}: ends before frame {name.number}")
        if name.file not in self._packed:
            self._packed[name.file] = open_packed(self._index, name.file) if self._index else PackedDataset(path)
        faces_NHWC = self._packed[name.file].faces_NHWC
        if name.number >= len(faces_NHWC):
            raise UserError(f"{path}: {len(faces_NHWC)} faces; no row {name.number}")
        return faces_NHWC[name.number]
