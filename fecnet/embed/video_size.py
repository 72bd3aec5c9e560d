"""The size that a video file should have according to its container, to detect truncated files.

Numbers of frames and durations are no use for this: they include hidden frames, and sound that lasts longer.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"styp", b"sidx", b"mfra", b"uuid", b"meta")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_FLV_SIZE = b"\x00\x08filesize\x00"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def promised_bytes(path: Path) -> int:
    """The size of the whole file in bytes according to its container; 0 = unknown.

    Known for MP4 and QuickTime, Matroska and WebM, AVI, ASF (WMV), and most FLV; not for streams that may end anywhere.

    Args:
        path: a video.
    """
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[4:8] in _BOXES:
            return _boxes(file)
        if head.startswith(_EBML):
            return _matroska(file)
        if head.startswith(b"RIFF"):
            return _riff(file)
        if head.startswith(b"FLV"):
            return _flv(file)
        return _asf(file) if head.startswith(_ASF[:12]) else 0


def _boxes(file: BinaryIO) -> int:
    """Boxes of ISO/IEC 14496-12; data that devices append after them does not count."""
    end = 0
    while len(head := file.read(16)) >= 8 and head[4:8] in _BOXES:
        size = int.from_bytes(head[:4])
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:])
        if size < 8:  # 0: to the end of the file
            break
        end += size
        file.seek(end)
    return end


def _matroska(file: BinaryIO) -> int:
    """The header and one segment; a live stream has no size."""
    end = 0
    for name in (_EBML, _SEGMENT):
        if file.read(4) != name:
            return 0
        first = file.read(1)
        length = 9 - first[0].bit_length() if first else 9  # bytes of the size field, encoded by leading zeros
        if length > 8:
            return 0
        size = int.from_bytes(first + file.read(length - 1)) & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:
            return 0
        end = file.tell() + size
        file.seek(end)
    return end


def _riff(file: BinaryIO) -> int:
    """AVI, including the further parts of a file above 1 GB."""
    end = 0
    while len(head := file.read(12)) == 12 and head[:4] == b"RIFF" and head[8:11] == b"AVI":
        (size,) = struct.unpack("<I", head[4:8])
        if not size:  # recording was not finished
            return 0
        end += 8 + size + size % 2
        file.seek(end)
    return end


def _asf(file: BinaryIO) -> int:
    """The size in the file properties, unless the file is a broadcast."""
    head = file.read(1 << 16)
    place = head.find(_ASF_FILE) + 40
    if place < 40 or len(head) < place + 56:
        return 0
    size, flags = int.from_bytes(head[place : place + 8], "little"), head[place + 48]
    return 0 if flags & 1 else size


def _flv(file: BinaryIO) -> int:
    """The number ``filesize`` of its metadata."""
    head = file.read(1 << 12)
    place = head.find(_FLV_SIZE) + len(_FLV_SIZE)
    if place < len(_FLV_SIZE) or len(head) < place + 8:
        return 0
    (size,) = struct.unpack(">d", head[place : place + 8])
    return int(size) if 0 < size < 1 << 60 else 0
