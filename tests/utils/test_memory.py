"""Memory that the process frees and asks for again. Each in a process of its own: the C library is told for good."""

import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks to glibc's malloc")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
LIMITED = """
import resource
torch.ones(512, 512) @ torch.ones(512, 512)  # starts threads, which have heaps of their own
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (2 << 30), taken + (2 << 30)))
"""
KEEP = """
from fecnet.utils.memory import keep_freed_memory
keep_freed_memory()
"""
ITERATE = """
import resource
def faults(iteration):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    sizes = [(34 + (5 * iteration + 3 * place) % 7) << 20 for place in range(8)]
    pieces = [torch.ones(size, dtype=torch.uint8) for size in sizes]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum([faults(iteration) for iteration in range(20)][-5:]))
"""
HEAP = """
def heap():
    megabytes = 0
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            is_heap = words[-1] == "[heap]"
        elif is_heap and words[0] == "Size:":
            size = int(words[1]) // 1024
        elif is_heap and words[0] == "VmFlags:" and "hg" in words:
            megabytes += size
    return megabytes
print(heap())
"""


def printed(*parts, huge_pages="1"):
    script = "\n".join(map(textwrap.dedent, ("import torch", *parts)))
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": huge_pages}
    command = [sys.executable, "-c", script]
    return int(subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT, env=environment).stdout)


@pytest.mark.parametrize("limit", ["", LIMITED])
def test_iterations_that_free_and_ask_for_large_pieces_cost_no_page_faults(limit):
    """Pieces differ in size. Where addresses are limited no heap is reserved; what is freed is kept all the same."""
    given_back = printed(limit, ITERATE, huge_pages="0")
    assert 20 * printed(limit, KEEP, ITERATE, huge_pages="0") < given_back  # every 4 KB of 5 times 296 MB
    assert 20 * printed(limit, KEEP, ITERATE) < given_back


@pytest.mark.skipif(not HUGE_PAGES.is_dir(), reason="this kernel has no huge pages to ask for")
def test_the_heap_reaches_over_a_quarter_of_memory_in_huge_pages_unless_told_not_to():
    quarter = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 >> 20
    if Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2":
        quarter = 0
    assert quarter - 4 <= printed(KEEP, HEAP) <= quarter + 4
    assert printed(KEEP, HEAP, huge_pages="0") == 0
