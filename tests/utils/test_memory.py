"""Memory that the process frees and asks for again. Each in a process of its own: the C library is told for good."""

import contextlib
import io
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.distributed.ranks import run_ranks

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
def iterate(first=0):
    print(sum([faults(iteration) for iteration in range(first, 21)][-4:]))
"""
LAST, ITERATE = "iterate(17)", "iterate()"  # where memory is given back the first cost as much as the last
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


FORKS = """
import os, sys
def in_a_fork(script):
    if not os.fork():
        exec(script, globals())
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0
"""


def joined(*parts):
    return "\n".join(map(textwrap.dedent, ("import torch", *parts)))


def printed(script):
    """The numbers that a script prints in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(script, {})
    return numbers(said.getvalue())


def numbers(text):
    return [int(line) for line in text.splitlines()]


def test_iterations_that_free_and_ask_for_large_pieces_cost_no_page_faults():
    """Pieces differ in size; the heap that is reserved lies in huge pages. It may still grow by a piece or two."""
    script = joined(FAULTS, LAST, KEEP, ITERATE, HEAP)
    ((given_back, kept, heap),) = run_ranks(1, printed, script, join=False)  # forked where nothing was kept yet
    assert 3 * kept < given_back  # every 4 KB of 4 times 111 MB
    overcommits = Path("/proc/sys/vm/overcommit_memory").read_text().strip() != "2"
    assert (heap > 0) == (HUGE_PAGES.is_dir() and overcommits)


def test_so_it_is_without_huge_pages_and_where_addresses_are_limited():
    """Where addresses are limited no heap is reserved; what is freed is kept all the same."""
    cases = [joined(limit, FAULTS, LAST, KEEP, ITERATE, HEAP) for limit in ("", LIMITED)]
    script = joined(FORKS, *(f"in_a_fork({case!r})" for case in cases))
    command = [sys.executable, "-c", script]  # NumPy reads the environment when it is imported
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT, env=environment)
    found = numbers(done.stdout)
    assert len(found) == 6
    for given_back, kept, heap in (found[:3], found[3:]):
        assert 3 * kept < given_back
        assert heap == 0
