"""How this process keeps the memory that it frees."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")


def keep_freed_memory() -> None:
    """Let glibc keep what the main thread frees, in huge pages, rather than give it back to the system.

    An iteration frees and asks for the same large pieces over and over; had they gone back, each page of them would
    cost a fault when it is next touched. The price is memory: the process keeps the most that it ever had until it
    ends, and some more, for freed pieces are split (``python -m benchmarks kept_memory``). A loop that leaves something
    behind in each iteration splits more and more of them, and grows by more than it leaves; ours was not seen to.
    ``NUMPY_MADVISE_HUGEPAGE=0`` turns huge pages off.

    Call it from the main thread, after data were read and sorted: arrays freed before it go back. It holds for the
    whole process and for good; where the C library is not glibc nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or not mallopt(_M_MMAP_MAX, 0):  # M_MMAP_THRESHOLD cannot be set above 32 MB
        return
    mallopt(_M_TRIM_THRESHOLD, -1)
    _reserve_huge_pages(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def _reserve_huge_pages(size: int) -> None:
    """Make the heap reach over ``size`` bytes more, in pages of 2 MB where the kernel has them.

    They count as addresses alone until they are written to. Where the kernel counts addresses as memory, or limits
    them, nothing is reserved and the heap grows in small pages. That is tried without malloc first: after one that
    failed, glibc may turn to heaps that it does not keep.
    """
    if _OVERCOMMIT.is_file() and _OVERCOMMIT.read_text().strip() == "2":
        return
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return
    np.empty(size, np.uint8)  # NumPy asks the kernel for huge pages
