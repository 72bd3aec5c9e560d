"""The switches of the process that threads share."""

import threading

import pytest
import torch

from fecnet.utils.env import exact_float32


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
