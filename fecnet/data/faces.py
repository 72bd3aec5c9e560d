"""Where a batch gets its faces from: a memory map that is read ahead, or a copy that lies on the device."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fecnet.utils import comm
from fecnet.utils.errors import ConfigError

logger = logging.getLogger(__name__)

_ROOM = 2  # a GPU whose free memory holds the faces so many times keeps them: the net needs room too
_PIECE = 1 << 28  # bytes that are copied at once


class Faces(Protocol):
    """All faces of a data set, to be had by row."""

    def begin(self, row_U: Tensor, ahead: Executor) -> Callable[[], Tensor]:
        """Begin to fetch faces.

        Args:
            row_U: rows of ``faces.npy``, int64, on the CPU.
            ahead: a thread that may do it meanwhile.

        Returns:
            What waits for them: uint8, shape (U, C, H, W) in channels-last memory.
        """


class MappedFaces:
    """Copied from a memory map in another thread, and on to a GPU in a stream of their own, while the net is busy.

    That thread does nothing in Python: the two would wait for each other's lock.

    Args:
        faces_NHWC: all faces, uint8, a memory map.
        device: where they are needed.
    """

    def __init__(self, faces_NHWC: np.ndarray, device: torch.device) -> None:
        self._faces_NHWC = shared_tensor(faces_NHWC)
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def begin(self, row_U: Tensor, ahead: Executor) -> Callable[[], Tensor]:
        """See ``Faces``."""
        fetched = ahead.submit(self._fetch, row_U)
        return fetched.result if self._stream is None else lambda: self._take(fetched.result())

    def _fetch(self, row_U: Tensor) -> Tensor:
        image_UCHW = self._faces_NHWC.index_select(0, row_U).permute(0, 3, 1, 2)
        if self._stream is None:
            return image_UCHW
        with torch.cuda.stream(self._stream):
            return image_UCHW.pin_memory().to(self._device, non_blocking=True)

    def _take(self, image_UCHW: Tensor) -> Tensor:
        """Make the stream of the net wait for the copy, not this process."""
        assert self._stream is not None
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        image_UCHW.record_stream(current)
        return image_UCHW


class ResidentFaces:
    """Picked from a copy of all faces on the device, made at the start.

    Args:
        faces_NHWC: all faces, uint8.
        device: where they are needed.
    """

    def __init__(self, faces_NHWC: np.ndarray, device: torch.device) -> None:
        self._faces_NHWC = torch.empty(faces_NHWC.shape, dtype=torch.uint8, device=device)
        rows = max(1, _PIECE // max(1, faces_NHWC[:1].nbytes))
        pieces = range(0, len(faces_NHWC), rows)
        for first in tqdm(pieces, "copying faces", unit="piece", disable=len(pieces) < 4 or not comm.is_main()):
            part = slice(first, first + rows)
            self._faces_NHWC[part] = shared_tensor(faces_NHWC[part])

    def begin(self, row_U: Tensor, ahead: Executor) -> Callable[[], Tensor]:
        """See ``Faces``."""
        return partial(self._pick, row_U)

    def _pick(self, row_U: Tensor) -> Tensor:
        if self._faces_NHWC.device.type == "cuda":
            row_U = row_U.pin_memory().to(self._faces_NHWC.device, non_blocking=True)
        return self._faces_NHWC.index_select(0, row_U).permute(0, 3, 1, 2)


def place_faces(faces_NHWC: np.ndarray, device: torch.device, resident: str) -> Faces:
    """The faces where the work is.

    Args:
        faces_NHWC: all faces, uint8, a memory map.
        device: where they are needed.
        resident: ``always`` copies them to the device, ``never`` reads them when needed, ``auto`` copies them to a GPU
            whose free memory holds them twice.

    Raises:
        ConfigError: an unknown word, or ``always`` and the memory of the device does not hold them.
    """
    if resident not in ("auto", "always", "never"):
        raise ConfigError(f"DATA.CACHE_ON_DEVICE: unknown word '{resident}'; allowed: auto, always, never")
    if resident == "never" or (resident == "auto" and device.type != "cuda"):
        return MappedFaces(faces_NHWC, device)
    free = free_memory(device)
    if resident == "always" and faces_NHWC.nbytes > free:
        raise ConfigError(
            f"DATA.CACHE_ON_DEVICE: 'always', but the faces take {faces_NHWC.nbytes / 1e9:,.1f} GB and {device} has "
            f"{free / 1e9:,.1f} GB free; allowed here: auto, never"
        )
    if resident == "auto" and _ROOM * faces_NHWC.nbytes > free:
        return MappedFaces(faces_NHWC, device)
    logger.info(f"{len(faces_NHWC):,} faces are copied to {device}: {faces_NHWC.nbytes / 1e9:.1f} GB")
    return ResidentFaces(faces_NHWC, device)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU, or that the machine has available: all of its memory where it does not say.

    Raises:
        UserError: a system that does not tell its memory, as Windows.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if not hasattr(os, "sysconf"):
        raise ConfigError(
            f"DATA.CACHE_ON_DEVICE: 'always', but {sys.platform} does not tell its memory; allowed here: auto, never"
        )
    meminfo = Path("/proc/meminfo")  # of Linux
    said = meminfo.read_text(encoding="utf-8") if meminfo.is_file() else ""
    available = re.search(r"MemAvailable:\s+(\d+) kB", said)
    return 1024 * int(available[1]) if available else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def shared_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the memory of an array, here a read-only memory map that nobody writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
