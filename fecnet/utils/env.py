"""Device, precision and provenance of this process."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import re
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from fecnet.utils import comm
from fecnet.utils.cores import usable_cores
from fecnet.utils.errors import ConfigError
from fecnet.utils.package import PACKAGE, VERSION
from fecnet.utils.shown import shown

_GPUS = "FECNET_GPUS"  # set by train.sh: the GPUs that -d names
_exact_lock, _exact, _tf32_before = threading.Lock(), 0, (False, False)  # of exact_float32
_SIDE, _PRODUCTS = 512, 8  # side of the matrices that time bf16, and the number of products
_FAST = 1.2  # bf16 is chosen from this speed-up on; well above timing noise
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device of this process.

    Args:
        name: ``auto``: a GPU where there is one; ``cpu``; ``cuda``: a GPU for each process of this machine; or one GPU
            of them, such as ``cuda:1``, for a single process.

    Raises:
        ConfigError: unknown name, a GPU that is not there, fewer GPUs than processes, or the CPU where the launcher
            was asked for GPUs.
    """
    if name == "cpu" or (name == "auto" and not gpu_count()):
        if asked := os.environ.get(_GPUS):
            raise ConfigError(
                f"DEVICE: {shown(name)} is the CPU here, but -d {asked} asks for GPUs; give one of the two"
            )
        return torch.device("cpu")
    device = find_gpu("cuda" if name == "auto" else name)
    torch.cuda.set_device(device)
    return device


def find_gpu(name: str, *, key: str = "DEVICE", others: str = "auto, cpu") -> torch.device:
    """The GPU of this process: the one of its local rank for ``cuda``, or a numbered one, such as ``cuda:1``.

    Args:
        name: ``cuda`` or ``cuda:NUMBER``.
        key: the setting that ``name`` was given by, for the error message.
        others: further values that the setting allows, for the error message.

    Raises:
        ConfigError: not the name of a GPU, no such GPU, or fewer GPUs than processes on this machine.
    """
    asked, there = re.fullmatch(r"cuda(?::(\d{1,4}))?", name), gpu_count()
    processes = max(comm.local_rank() + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if asked is None or int(asked[1] or 0) >= there:
        gpus = f", cuda, cuda:0{f' to cuda:{there - 1}' if there > 1 else ''}" if there else ""
        raise ConfigError(f"{key}: {shown(name)} cannot be used: torch finds {_gpus()}; allowed here: {others}{gpus}")
    if asked[1] and processes > 1:
        raise ConfigError(
            f"{key}: {shown(name)} is one GPU for {processes} processes; allowed: cuda, one for each of them"
        )
    if processes > there:
        raise ConfigError(
            f"{key}: {processes} processes on this machine, but torch finds {_gpus()}; allowed here: {there} "
            f"{'process' if there == 1 else 'processes'}, or {key} cpu"
        )
    return torch.device("cuda", int(asked[1] or comm.local_rank()))


def visible_gpus(numbers: Sequence[str], *, key: str) -> list[str]:
    """The entries of ``CUDA_VISIBLE_DEVICES`` for these GPUs.

    Args:
        numbers: indices from 0 among the GPUs that this process sees, as text.
        key: the option, for the error message.

    Raises:
        ConfigError: an index that is no number, has no GPU, or is given twice.
    """
    there = gpu_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if there else []
    names = visible if any(visible) else [str(number) for number in range(there)]
    for place, number in enumerate(numbers):
        if not number.isdecimal() or int(number) >= there or number in numbers[:place]:
            raise ConfigError(
                f"{key} {','.join(numbers)}: '{number}' cannot be used: torch finds {_gpus()}; "
                f"allowed: the numbers of different GPUs, from 0"
            )
    return [names[int(number)] for number in numbers]


def gpu_count() -> int:
    """Number of GPUs that this process sees and can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _gpus() -> str:
    """The GPUs that torch finds, in words."""
    there = gpu_count()
    if not there:
        return "no CUDA GPU"
    return f"{there} {'GPU' if there == 1 else 'GPUs'} ({torch.cuda.get_device_name(0)})"


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the forward pass in training; ``auto`` on a CPU is a collective.

    Args:
        name: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: where it will run.

    Raises:
        ConfigError: unknown name, or fp16 on a CPU.
    """
    if name == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else bf16_speed() >= _FAST
        return torch.bfloat16 if fast else torch.float32
    if name not in PRECISIONS:
        raise ConfigError(f"SOLVER.PRECISION: unknown name {shown(name)}; allowed: auto, {', '.join(PRECISIONS)}")
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("SOLVER.PRECISION: 'fp16' needs a GPU; allowed on a CPU: auto, bf16, fp32")
    return PRECISIONS[name]


def why_no_compile(device: torch.device) -> str:
    """Why ``torch.compile`` does not work here, such as a missing C++ compiler, in one line; empty where it works."""
    try:
        torch.compile(lambda value: value + 1)(torch.zeros(2, device=device))
    except Exception as error:  # the compiler raises many classes
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the random generator of ``device`` only.

    ``torch.manual_seed`` seeds every device type and, without a GPU, records the call stack each time for a later
    lazy CUDA initialisation.
    """
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@cache
def bf16_speed() -> float:
    """Speed of bf16 matrix products on this CPU relative to fp32; measured once, on rank 0 for all ranks.

    Without bf16 instructions (AVX512 BF16, AMX, SVE) bf16 is slower than fp32; a list of such CPUs would go stale.
    """

    def seconds(matrix: torch.Tensor) -> float:
        begun = time.perf_counter()
        matrix @ matrix
        return time.perf_counter() - begun

    def measure() -> float:
        single, half = (torch.ones(_SIDE, _SIDE, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
        taken = [(seconds(single), seconds(half)) for _ in range(2)]
        while len(taken) < _PRODUCTS and min(half_s for _, half_s in taken) < _PRODUCTS * taken[-1][0]:
            taken.append((seconds(single), seconds(half)))
        return min(single_s for single_s, _ in taken) / min(half_s for _, half_s in taken)

    return comm.from_main(measure)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute matrix products and convolutions in full float32, without TF32. Used in evaluation; thread-safe.

    The TF32 flags are global to the process: the first thread to enter clears them, the last to leave restores them.
    """
    global _exact, _tf32_before
    with _exact_lock:
        if _exact == 0:
            _tf32_before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
            _allow_tf32(False, False)
        _exact += 1
    try:
        yield
    finally:
        with _exact_lock:
            _exact -= 1
            if _exact == 0:
                _allow_tf32(*_tf32_before)


def _allow_tf32(matmul: bool, cudnn: bool) -> None:
    """Set only flags that differ: torch.compile recompiles after any assignment, even of an equal value."""
    if torch.backends.cuda.matmul.allow_tf32 != matmul:
        torch.backends.cuda.matmul.allow_tf32 = matmul
    if torch.backends.cudnn.allow_tf32 != cudnn:
        torch.backends.cudnn.allow_tf32 = cudnn


def provenance(device: torch.device | None = None) -> dict[str, Any]:
    """What is recorded with every result: code version, commit, hardware, library versions."""
    return {
        "fecnet": VERSION,
        "commit": _commit(PACKAGE.parent),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": usable_cores(),
        "device": torch.cuda.get_device_name(device) if device is not None and device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "world_size": comm.world_size(),
    }


def now() -> str:
    """Local date and time with time zone, to the second."""
    return datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


@cache  # computed once: the sources may be edited while this process runs
def code_hash() -> str:
    """Versions of fecnet and torch, and a hash of all sources of fecnet: equal where two machines run the same code."""
    root = PACKAGE
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"fecnet {VERSION}, torch {torch.__version__}, sources {digest.hexdigest()[:12]}"


@cache
def _commit(root: Path) -> str | None:
    """Commit of fecnet's own checkout, with ``+`` for uncommitted changes; None outside of a checkout.

    An installed package may lie inside another project's repository (its ``.venv``), whose commit is irrelevant.
    """
    if not ((root / ".git").exists() and _names_fecnet(root / "pyproject.toml")):
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _names_fecnet(project: Path) -> bool:
    try:
        return bool(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["name"] == "fecnet")
    except (OSError, ValueError, KeyError):
        return False


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
