"""Memory that the process frees and asks for again."""

import os
import platform
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import ROOT


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks to glibc's malloc")
@pytest.mark.parametrize("huge_pages", ["0", "1"])
def test_iterations_that_free_and_ask_for_large_pieces_cost_no_page_faults(huge_pages):
    """In a process of its own: the C library is told for good. Pieces differ in size."""
    script = """
        import resource, sys, torch
        from fecnet.utils.memory import keep_freed_memory
        if sys.argv[1] == "keep":
            keep_freed_memory()
        def faults(iteration):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            sizes = [(34 + (5 * iteration + 3 * place) % 7) << 20 for place in range(8)]
            pieces = [torch.ones(size, dtype=torch.uint8) for size in sizes]
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        print(sum([faults(iteration) for iteration in range(20)][-5:]))
    """
    faults = {}
    for what in ("keep", "give back"):
        command = [sys.executable, "-c", textwrap.dedent(script), what]
        environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": huge_pages}
        done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT, env=environment)
        faults[what] = int(done.stdout)
    assert 20 * faults["keep"] < faults["give back"], faults  # every 4 KB of 5 times 296 MB
