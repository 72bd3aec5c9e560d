"""The device, the switches of the process that threads share, and where the code comes from."""

import subprocess
import sys
import threading

import pytest
import torch

from fecnet.utils import env
from fecnet.utils.env import choose_device, exact_float32, provenance
from fecnet.utils.errors import UserError
from fecnet.utils.package import PACKAGE
from fecnet.utils.program import COMMAND, command_line


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


def test_the_gpu_of_macos_is_no_device():
    with pytest.raises(UserError, match=r"^DEVICE: unknown name 'mps'; allowed: auto, cpu, cuda$"):
        choose_device("mps")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/opt/venv/bin/fecnet", "fecnet train 'a b'"),
        (str(PACKAGE / "__main__.py"), "fecnet train 'a b'"),
        (str(PACKAGE / "studies" / "child.py"), "python -m fecnet.studies.child train 'a b'"),
        ("train.py", "python train.py train 'a b'"),
    ],
)
def test_a_command_is_recorded_as_one_would_type_it(monkeypatch, program, said):
    monkeypatch.delenv(COMMAND, raising=False)
    monkeypatch.setattr(sys, "argv", [program, "train", "a b"])
    assert command_line() == said


@pytest.mark.parametrize(
    ("project", "package", "known"),
    [
        ("fecnet", "fecnet", True),
        ("other", "fecnet", False),  # copied into another project
        ("other", ".venv/lib/site-packages/fecnet", False),  # installed in another project's environment
        ("fecnet", ".venv/lib/site-packages/fecnet", False),  # and in that of a checkout, whose code need not be it
    ],
)
def test_a_commit_is_recorded_of_the_own_checkout_alone(monkeypatch, tmp_path, project, package, known):
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    for command in ("init --quiet", "add .", "-c user.name=a -c user.email=a@b.c commit --quiet -m One"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    monkeypatch.setattr(env, "PACKAGE", tmp_path / package)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert provenance()["commit"] == (head[:12] if known else None)
