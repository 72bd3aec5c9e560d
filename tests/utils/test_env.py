"""The switches of the process that threads share."""

import platform
import subprocess
import sys
import textwrap
import threading

import pytest
import torch

from fecnet.utils.env import exact_float32
from tests.conftest import ROOT


@pytest.fixture
def tf32():
    """TF32 is on before the test, and as it was after it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def test_tf32_stays_off_until_the_last_thread_leaves(tf32):
    entered, leave = threading.Event(), threading.Event()

    def stay():
        with exact_float32():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with exact_float32():
        thread.start()
        assert entered.wait(10)
    assert not torch.backends.cuda.matmul.allow_tf32  # the other thread is still inside
    leave.set()
    thread.join()
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks to glibc's malloc")
def test_large_pieces_that_were_freed_are_used_again_without_page_faults():
    """In a process of its own: the C library is told for good."""
    script = """
        import resource, sys, torch
        from fecnet.utils.env import keep_freed_memory
        if sys.argv[1] == "keep":
            keep_freed_memory()
        def faults_of_a_piece():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            torch.ones(64 << 20, dtype=torch.uint8)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        faults_of_a_piece()
        print(faults_of_a_piece())
    """
    faults = {}
    for what in ("keep", "give back"):
        command = [sys.executable, "-c", textwrap.dedent(script), what]
        faults[what] = int(subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT).stdout)
    assert 4 * faults["keep"] < faults["give back"]  # 32 of 2 MB where the kernel gives huge pages, else 16,384
