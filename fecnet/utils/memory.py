"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")


def keep_freed_memory() -> None:
    """Let glibc keep the memory freed by the main thread, in huge pages, instead of returning it to the system.

    Each iteration allocates and frees the same large blocks; if they were returned, each of their pages would cost a
    page fault when next touched. The price is memory: the process holds its peak until it ends, and somewhat more
    through fragmentation (``python -m benchmarks kept_memory``). A loop that leaks in each iteration fragments the heap
    further and grows by more than it leaks; training did not. ``NUMPY_MADVISE_HUGEPAGE=0`` disables huge pages.

    Call it from the main thread after the data are loaded and sorted: arrays freed earlier are returned. It applies to
    the whole process and cannot be undone; where the C library is not glibc, it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or not mallopt(_M_MMAP_MAX, 0):  # M_MMAP_THRESHOLD cannot be set above 32 MB
        return
    mallopt(_M_TRIM_THRESHOLD, -1)
    _reserve_huge_pages(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def _reserve_huge_pages(size: int) -> None:
    """Grow the heap by ``size`` bytes, in 2 MB pages where the kernel has them.

    They use address space only, until they are written to. Where the kernel counts or limits address space (strict
    overcommit, ulimit), nothing is reserved and the heap grows in small pages. This is tested without malloc: after a
    failed malloc, glibc may switch to heaps that it does not keep.
    """
    if _OVERCOMMIT.is_file() and _OVERCOMMIT.read_text().strip() == "2":
        return
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return
    np.empty(size, np.uint8)  # NumPy asks the kernel for huge pages
