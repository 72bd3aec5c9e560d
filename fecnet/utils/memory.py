"""How this process keeps the memory that it frees."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep what is freed rather than give it back to the system, in huge pages; elsewhere nothing.

    An iteration frees and asks for the same large pieces over and over, of which every 4 KB that were given back cost a
    page fault. The price is some more memory, for freed pieces are split (``python -m benchmarks kept_memory``). The
    heap is made to reach over a quarter of the machine's memory, of which nothing is taken before it is written to;
    what lies beyond is kept too, in pages of the system's size. ``NUMPY_MADVISE_HUGEPAGE=0`` turns huge pages off.

    To be called once data are read, so that what they were sorted in goes back.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)  # glibc maps, and gives back, any piece above 32 MB, whatever the threshold
    mallopt(_M_TRIM_THRESHOLD, -1)
    with suppress(MemoryError):  # a limit on addresses
        np.empty(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4, np.uint8)  # NumPy asks for huge pages
