"""The device, the switches of the process that threads share, and where the code comes from."""

import subprocess
import sys
import threading

import pytest
import torch

from fecnet.utils import env
from fecnet.utils.env import choose_device, exact_float32, provenance, visible_gpus
from fecnet.utils.errors import ConfigError
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


@pytest.fixture
def gpus(monkeypatch):
    """Sets how many GPUs torch finds."""

    def find(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H200")
        monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)

    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "CUDA_VISIBLE_DEVICES", "FECNET_GPUS"):
        monkeypatch.delenv(name, raising=False)
    return find


@pytest.mark.parametrize(
    ("name", "count", "there"),
    [
        ("cuda", 0, "no CUDA GPU; allowed here: auto, cpu"),
        ("cuda:3", 0, "no CUDA GPU; allowed here: auto, cpu"),
        ("cuda:3", 1, "1 GPU (H200); allowed here: auto, cpu, cuda, cuda:0"),
        ("cuda:2", 2, "2 GPUs (H200); allowed here: auto, cpu, cuda, cuda:0 to cuda:1"),
        ("mps", 0, "no CUDA GPU; allowed here: auto, cpu"),
        ("0", 1, "1 GPU (H200); allowed here: auto, cpu, cuda, cuda:0"),
        ("gpu", 1, "1 GPU (H200); allowed here: auto, cpu, cuda, cuda:0"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_is_there(gpus, name, count, there):
    gpus(count)
    with pytest.raises(ConfigError) as error:
        choose_device(name)
    assert str(error.value) == f"DEVICE: '{name}' cannot be used: torch finds {there}"


def test_devices_that_are_there(gpus, monkeypatch):
    gpus(0)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    gpus(2)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"^DEVICE: 'cuda:1' is one GPU for 2 processes; allowed: cuda, one for each"):
        choose_device("cuda:1")


@pytest.mark.parametrize("rank", ["0", "3"])
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_more_processes_than_gpus_are_one_line_on_all_of_them(gpus, monkeypatch, name, rank):
    gpus(1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(ConfigError) as error:
        choose_device(name)
    assert str(error.value) == (
        "DEVICE: 4 processes on this machine, but torch finds 1 GPU (H200); allowed here: 1 process, or DEVICE cpu"
    )


@pytest.mark.parametrize(("name", "count"), [("cpu", 2), ("cpu", 0), ("auto", 0)])
def test_settings_that_say_cpu_do_not_overrule_the_gpus_asked_for(gpus, monkeypatch, name, count):
    gpus(count)
    monkeypatch.setenv("FECNET_GPUS", "0,1")
    with pytest.raises(ConfigError, match=rf"^DEVICE: '{name}' is the CPU here, but -d 0,1 asks for GPUs"):
        choose_device(name)


def test_gpus_by_number_are_those_of_this_process(gpus, monkeypatch):
    gpus(3)
    assert visible_gpus(["2", "0"], key="--devices") == ["2", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    assert visible_gpus(["2", "0"], key="--devices") == ["7", "4"]
    for numbers, bad in ((["0", "3"], "3"), (["1", "1"], "1"), (["gpu0"], "gpu0"), (["0", ""], "")):
        with pytest.raises(ConfigError) as error:
            visible_gpus(numbers, key="--devices")
        assert str(error.value) == (
            f"--devices {','.join(numbers)}: '{bad}' cannot be used: torch finds 3 GPUs (H200); "
            "allowed: the numbers of different GPUs, from 0"
        )


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
