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
FAULTS = """
import resource
def faults(iteration):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    sizes = [(34 + (5 * iteration + 3 * place) % 7) << 20 for place in range(3)]
    pieces = [torch.ones(size, dtype=torch.uint8) for size in sizes]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def iterate():
    print(sum([faults(iteration) for iteration in range(21)][-4:]))
"""
ITERATE = "iterate()"
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
    print(megabytes)
heap()
"""


def printed(*parts, huge_pages="1"):
    script = "\n".join(map(textwrap.dedent, ("import torch", *parts)))
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": huge_pages}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT, env=environment)
    return [int(line) for line in done.stdout.splitlines()]


def test_iterations_that_free_and_ask_for_large_pieces_cost_no_page_faults():
    """Pieces differ in size; the heap that is reserved lies in huge pages. It may still grow by a piece or two."""
    given_back, kept, heap = printed(FAULTS, ITERATE, KEEP, ITERATE, HEAP)
    assert 3 * kept < given_back  # every 4 KB of 4 times 111 MB
    overcommits = Path("/proc/sys/vm/overcommit_memory").read_text().strip() != "2"
    assert (heap > 0) == (HUGE_PAGES.is_dir() and overcommits)


@pytest.mark.parametrize("limit", ["", LIMITED])
def test_so_it_is_without_huge_pages_and_where_addresses_are_limited(limit):
    """Where addresses are limited no heap is reserved; what is freed is kept all the same."""
    given_back, kept, heap = printed(limit, FAULTS, ITERATE, KEEP, ITERATE, HEAP, huge_pages="0")
    assert 3 * kept < given_back
    assert heap == 0
