"""Source of a batch's faces: a memory map with prefetching, or a copy of all faces on the device."""

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

_MIN_FREE_FACTOR = 2  # auto: cache on a GPU whose free memory is this multiple of the faces; the net needs memory too
_CHUNK_BYTES = 1 << 28  # bytes copied at a time


class Faces(Protocol):
    """All faces of a data set, accessed by row."""

    def begin(self, row_U: Tensor, ahead: Executor) -> Callable[[], Tensor]:
        """Start fetching faces.

        Args:
            row_U: rows of ``faces.npy``, int64, on the CPU.
            ahead: executor with a background thread for prefetching.

        Returns:
            A function that waits for the faces and returns them: uint8, shape (U, C, H, W), channels-last.
        """


class MappedFaces:
    """Faces prefetched from a memory map by a background thread, and copied to a GPU in a separate stream.

    The thread runs a single torch call without Python code, so that the two threads do not compete for Python's
    global interpreter lock.

    Args:
        faces_NHWC: all faces, uint8, a memory map.
        device: of the batches.
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
        """Make the current stream wait for the copy, without blocking this process."""
        assert self._stream is not None
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        image_UCHW.record_stream(current)
        return image_UCHW


class ResidentFaces:
    """Faces selected from a copy of all faces on the device, made at the start.

    Args:
        faces_NHWC: all faces, uint8.
        device: of the batches.
    """

    def __init__(self, faces_NHWC: np.ndarray, device: torch.device) -> None:
        self._faces_NHWC = torch.empty(faces_NHWC.shape, dtype=torch.uint8, device=device)
        rows = max(1, _CHUNK_BYTES // max(1, faces_NHWC[:1].nbytes))
        starts = range(0, len(faces_NHWC), rows)
        for first in tqdm(starts, "copying faces", unit="chunk", disable=len(starts) < 4 or not comm.is_main()):
            part = slice(first, first + rows)
            self._faces_NHWC[part] = shared_tensor(faces_NHWC[part])

    def begin(self, row_U: Tensor, ahead: Executor) -> Callable[[], Tensor]:
        """See ``Faces``."""
        return partial(self._pick, row_U)

    def _pick(self, row_U: Tensor) -> Tensor:
        if self._faces_NHWC.device.type == "cuda":
            row_U = row_U.pin_memory().to(self._faces_NHWC.device, non_blocking=True)
        return self._faces_NHWC.index_select(0, row_U).permute(0, 3, 1, 2)


def place_faces(faces_NHWC: np.ndarray, device: torch.device, cache: str) -> Faces:
    """The faces, cached on the device or read from the memory map.

    Args:
        faces_NHWC: all faces, uint8, a memory map.
        device: of the batches.
        cache: ``always`` copies them to the device, ``never`` reads them when needed, ``auto`` copies them to a GPU
            whose free memory is at least twice their size.

    Raises:
        ConfigError: an unknown value, or ``always`` and the faces do not fit into the device's memory.
    """
    if cache not in ("auto", "always", "never"):
        raise ConfigError(f"DATA.CACHE_ON_DEVICE: unknown word '{cache}'; allowed: auto, always, never")
    if cache == "never" or (cache == "auto" and device.type != "cuda"):
        return MappedFaces(faces_NHWC, device)
    free = free_memory(device)
    if cache == "always" and faces_NHWC.nbytes > free:
        raise ConfigError(
            f"DATA.CACHE_ON_DEVICE: 'always', but the faces take {faces_NHWC.nbytes / 1e9:,.1f} GB and {device} has "
            f"{free / 1e9:,.1f} GB free; allowed here: auto, never"
        )
    if cache == "auto" and _MIN_FREE_FACTOR * faces_NHWC.nbytes > free:
        return MappedFaces(faces_NHWC, device)
    logger.info(f"caching {len(faces_NHWC):,} faces on {device}: {faces_NHWC.nbytes / 1e9:.1f} GB")
    return ResidentFaces(faces_NHWC, device)


def free_memory(device: torch.device) -> int:
    """Free bytes of a GPU, or available bytes of the machine; its total memory where that is unknown.

    Raises:
        UserError: the system does not report its memory, as Windows.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if not hasattr(os, "sysconf"):
        raise ConfigError(
            f"DATA.CACHE_ON_DEVICE: 'always', but {sys.platform} does not report its memory; allowed here: auto, never"
        )
    meminfo = Path("/proc/meminfo")  # of Linux
    text = meminfo.read_text(encoding="utf-8") if meminfo.is_file() else ""
    available = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return 1024 * int(available[1]) if available else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def shared_tensor(array: np.ndarray) -> Tensor:
    """A tensor that shares memory with an array, here a read-only memory map that is never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
