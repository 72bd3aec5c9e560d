"""Profiles an iteration phase by phase, and compares the throughput with the machine's peak."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

from fecnet.config.node import Frozen, flatten
from fecnet.engine.stepper import PHASES
from fecnet.modeling.cost import count_activations, count_macs
from fecnet.runs.tasks import find_task
from fecnet.runs.training import build_trainer, open_dataset
from fecnet.utils import comm
from fecnet.utils.env import choose_device, code_hash
from fecnet.utils.errors import UserError
from fecnet.utils.memory import keep_freed_memory
from fecnet.utils.table import align_columns

_WARM = 5  # warm-up iterations: memory is allocated, kernels are chosen, nets are compiled
_OPERATIONS = 10  # number of operations listed, the most expensive first
_TRAINING = 3  # cost of training relative to the forward pass: itself, and the gradients of inputs and of weights
_SIDE = {"cpu": 2048, "cuda": 8192}  # side of the square matrices whose product is the ceiling
_TRIES = 5  # measurements of each ceiling
_COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes of the tensor whose copying is the ceiling


def profile_run(cfg: Frozen, *, iterations: int = 20, trace: str | Path = "") -> dict[str, Any]:
    """Train a recipe for some iterations, first without the profiler and then with it; nothing is saved.

    Args:
        cfg: resolved settings.
        iterations: iterations measured in each of the two passes, after a warm-up.
        trace: file for rank 0's events in Chrome's trace format, which ui.perfetto.dev opens; empty for none. With the
            suffix ``.gz`` it is compressed.

    Returns:
        ``phases_ms`` by name, of a profiled iteration, with ``rest`` for the time between them; ``iteration_ms``
        without and ``profiled_ms`` with the profiler (medians); ``operations``, the most expensive by their own time on
        the CPU; ``flops`` of an iteration of this rank, ``flops_per_s`` without the profiler, ``ceiling_flops_per_s``
        of a product of large matrices here, and ``mfu``, their ratio; ``bytes`` of inputs and outputs of all layers in
        an iteration, ``bytes_per_s``, ``ceiling_bytes_per_s`` of a copy of a large tensor here, and ``mbu``, their
        ratio; ``peak_memory_mb`` of the process, of the GPU where there is one; and what was profiled.

    Raises:
        UserError: fewer than one iteration, a trace in a missing folder, or an error of training with these settings.
    """
    if iterations < 1:
        raise UserError(f"--iterations {iterations}; allowed: 1 or more")
    if not Path(trace).parent.is_dir():
        raise UserError(f"--trace {trace}: no folder {Path(trace).parent}")
    device = choose_device(cfg.DEVICE)
    _peak_memory_mb(device)  # an unsupported system fails before anything is measured
    comm.start(device, {**dict(flatten(cfg)), "code": code_hash()})
    dataset = open_dataset(cfg)
    task = find_task(cfg, dataset)
    torch.manual_seed(cfg.SEED)
    trainer = build_trainer(cfg, dataset, task, device, None)
    if device.type == "cpu":
        keep_freed_memory()
    precision = trainer.stepper.precision

    updates = trainer.updates(1, _WARM + 2 * iterations)
    _seconds(updates, _WARM, device)
    plain_s = _seconds(updates, iterations, device)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as recorded:
        profiled_s = _seconds(updates, iterations, device)
    memory = _peak_memory_mb(device)
    if trace and comm.is_main():
        _write_trace(recorded, Path(trace))

    size = cfg.DATA.INPUT_SIZE
    model, image = trainer.stepper.model, torch.zeros(1, len(dataset.channels), size, size, device=device)
    faces = sum(len(batch.row_U) for _, batches in trainer.loader(1, iterations) for batch in batches) / iterations
    flops = 2 * _TRAINING * count_macs(model, image) * faces
    moved = precision.itemsize * _TRAINING * count_activations(model, image) * faces
    seconds = statistics.median(plain_s)
    flops_ceiling, bytes_ceiling = _product_flops_per_s(device, precision), _copy_bytes_per_s(device)
    return {
        "device": str(device),
        "precision": str(precision).removeprefix("torch."),
        "processes": comm.world_size(),
        "threads": torch.get_num_threads(),
        "faces": faces,
        "iterations": iterations,
        "iteration_ms": 1000 * seconds,
        "profiled_ms": 1000 * statistics.median(profiled_s),
        "phases_ms": phase_times(recorded.events(), 1000 * sum(profiled_s), iterations),
        "operations": _operations(recorded.key_averages(), iterations),
        "flops": flops,
        "flops_per_s": flops / seconds,
        "ceiling_flops_per_s": flops_ceiling,
        "mfu": flops / seconds / flops_ceiling,
        "bytes": moved,
        "bytes_per_s": moved / seconds,
        "ceiling_bytes_per_s": bytes_ceiling,
        "mbu": moved / seconds / bytes_ceiling,
        "peak_memory_mb": memory,
    }


def phase_times(events: EventList, total_ms: float, iterations: int) -> dict[str, float]:
    """Milliseconds per iteration of each of ``PHASES``, and the remainder as ``rest``."""
    spent = dict.fromkeys(PHASES, 0.0)
    for event in events:
        if event.name in spent and event.device_type == torch.autograd.DeviceType.CPU:
            spent[event.name] += event.cpu_time_total / 1000 / iterations  # of microseconds
    return {**spent, "rest": total_ms / iterations - sum(spent.values())}


def format_profile(found: dict[str, Any]) -> str:
    """The result of ``profile_run`` as tables."""
    whole = sum(found["phases_ms"].values())
    phases = [(name, f"{spent:.2f}", f"{100 * spent / whole:.1f} %") for name, spent in found["phases_ms"].items()]
    operations = [(op["name"][:43], f"{op['calls']:.0f}", f"{op['ms']:.2f}") for op in found["operations"]]
    lines = [
        f"{found['faces']:.4g} faces an iteration on each of {found['processes']} process(es), {found['device']}, "
        f"{found['precision']}, {found['threads']} thread(s)",
        align_columns([("phase", "ms", "share"), *phases]),
        f"an iteration takes {found['iteration_ms']:.2f} ms, and {found['profiled_ms']:.2f} ms under the profiler",
        f"MFU {100 * found['mfu']:.1f} %: {found['flops_per_s'] / 1e9:,.0f} GFLOP/s of the "
        f"{found['ceiling_flops_per_s'] / 1e9:,.0f} that a product of large matrices reaches here",
        f"MBU {100 * found['mbu']:.1f} %: {found['bytes_per_s'] / 1e9:,.1f} GB/s of the "
        f"{found['ceiling_bytes_per_s'] / 1e9:,.1f} that a copy of a large tensor reaches here",
        f"memory: {found['peak_memory_mb']:,.0f} MB at most",
        "",
        align_columns([("costliest operations", "calls", "ms"), *operations]),
    ]
    return "\n".join(lines)


def _seconds(updates: Iterator[int], number: int, device: torch.device) -> list[float]:
    """Duration of each of the next iterations, from the end of the previous one; of the first, from the call."""
    ended = [_now(device)]
    ended += [_now(device) for _ in islice(updates, number)]
    return [after - before for before, after in pairwise(ended)]


def _write_trace(recorded: profile, path: Path) -> None:
    partial = path.with_name(f".partial-{path.name}")  # the suffix decides on compression
    try:
        recorded.export_chrome_trace(str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _operations(averages: EventList, iterations: int) -> list[dict[str, Any]]:
    ops = [op for op in averages if op.key not in PHASES]
    ops.sort(key=lambda op: op.self_cpu_time_total, reverse=True)
    return [
        {"name": op.key, "calls": op.count / iterations, "ms": op.self_cpu_time_total / 1000 / iterations}
        for op in ops[:_OPERATIONS]
    ]


def _product_flops_per_s(device: torch.device, dtype: torch.dtype) -> float:
    """The throughput of one large matrix product here."""
    side = _SIDE[device.type]
    left, right = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _least_seconds(lambda: left @ right, device)


def _copy_bytes_per_s(device: torch.device) -> float:
    """Bytes read and written by the copy of one large tensor here."""
    source = torch.ones(_COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / _least_seconds(lambda: target.copy_(source), device)


def _least_seconds(run: Callable[[], object], device: torch.device) -> float:
    """The shortest of a few durations, after one warm-up."""
    taken = []
    for _ in range(_TRIES + 1):
        begun = _now(device)
        run()
        taken.append(_now(device) - begun)
    return min(taken[1:])


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource  # here, since Windows lacks it
    except ImportError as error:
        raise UserError("peak memory: not available on this system; allowed: Linux, macOS") from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
