"""The sole user of ``torch.distributed``. Every function works at world size 1 too, where it costs nothing.

Collectives are called by all ranks or by none: no function here is called from a branch that one rank alone takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

_ANSWER_S = 10.0  # how long ranks that are known to be alive may take to answer
_store: dist.Store | None = None  # what the ranks tell each other outside of collectives; set by start


def start(device: torch.device, described: Mapping[str, Any]) -> None:
    """Join the process group that torchrun describes in the environment; nothing to do without torchrun.

    Args:
        device: decides between nccl and gloo.
        described: what must be the same on all ranks, such as the settings.

    Raises:
        ValueError: on all ranks alike: ranks that have not come within ``FECNET_TIMEOUT_S`` (default 600 seconds), a
            port in use, or ranks that are described differently.
    """
    global _store
    if _launched_ranks() == 1 or dist.is_initialized():
        return
    seconds = _timeout_s()
    _store = _open_store(seconds)
    check_same("start", described)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore("group", _store),
        rank=int(os.environ["RANK"]),
        world_size=_launched_ranks(),
        timeout=timedelta(seconds=seconds),
    )


def stop() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def check_same(topic: str, described: Mapping[str, Any]) -> None:
    """Make sure that all ranks have come and are described alike; rank 0 judges, all hear.

    Args:
        topic: a name used once.
        described: plain values by name.

    Raises:
        ValueError: on all ranks alike: the missing ranks, or what differs with both values.
    """
    if _store is None:
        return
    own, ranks, seconds = int(os.environ["RANK"]), _launched_ranks(), _timeout_s()
    verdict, read = f"{topic}/verdict", f"{topic}/read"
    try:
        _store.set(f"{topic}/{own}", json.dumps([socket.gethostname(), dict(described)], default=str))
        if own == 0:
            problem = _judge(_store, topic, ranks, seconds)
            _store.set(verdict, problem or "same")
        elif _absent(_store, [verdict], seconds + _ANSWER_S):
            raise ValueError(f"rank 0 of {ranks} has not answered within {seconds + _ANSWER_S:g} s (FECNET_TIMEOUT_S)")
        heard = _store.get(verdict).decode()
        _store.set(f"{read}/{own}", "")
        if own == 0:  # it may hold the store: the others hear the verdict before it leaves
            came = [rank for rank in range(ranks) if _store.check([f"{topic}/{rank}"])]
            _absent(_store, [f"{read}/{rank}" for rank in came], _ANSWER_S)
    except dist.DistError as error:
        raise ValueError(f"rank {own}: the store of the launcher or of rank 0 is gone; see what they said") from error
    if heard != "same":
        raise ValueError(heard)


def _judge(store: dist.Store, topic: str, ranks: int, seconds: float) -> str:
    """What is wrong with what the ranks said of themselves; empty if nothing."""
    absent = _absent(store, [f"{topic}/{rank}" for rank in range(ranks)], seconds)
    if absent:
        missing = ", ".join(key.split("/")[1] for key in absent)
        return f"of {ranks} ranks these have not come within {seconds:g} s (FECNET_TIMEOUT_S): {missing}"
    first_text = store.get(f"{topic}/0")
    first_host, first = json.loads(first_text)
    for rank in range(1, ranks):
        text = store.get(f"{topic}/{rank}")
        host, found = json.loads(text)
        keys = [key for key in {**first, **found} if first.get(key) != found.get(key)]
        if keys:
            named = "; ".join(
                f"'{key}' is {first.get(key)!r} on rank 0 ({first_host}), {found.get(key)!r} on rank {rank} ({host})"
                for key in keys[:3]
            )
            return f"all ranks must agree: {named}"
    return ""


def _absent(store: dist.Store, keys: Sequence[str], seconds: float) -> list[str]:
    """The keys that nobody has set when ``seconds`` are over; looked for until then."""
    deadline = time.monotonic() + seconds
    absent = list(keys)
    while absent := [key for key in absent if not store.check([key])]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return absent


def _open_store(seconds: float) -> dist.Store:
    """The key-value store of this launch: torchrun's own, or else one that rank 0 holds.

    Raises:
        ValueError: the port is taken, or nobody answers there.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    holds = os.environ["RANK"] == "0" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        if holds:
            _check_port(port)
        store = dist.TCPStore(host, port, is_master=holds, timeout=timedelta(seconds=seconds), wait_for_workers=False)
    except (OSError, dist.DistError) as error:
        if holds:
            raise ValueError(f"MASTER_PORT: {port} is in use or not allowed on {host}; give another") from error
        raise ValueError(f"rank 0 has not answered at {host}:{port} within {seconds:g} s (FECNET_TIMEOUT_S)") from error
    # torchrun keeps its store when it restarts the ranks: they must not meet what the dead ones said
    return dist.PrefixStore(f"fecnet/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _check_port(port: int) -> None:
    """Raise OSError where the port is taken; TCPStore would say so in several lines."""
    if socket.has_dualstack_ipv6():
        socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True).close()
    else:
        socket.create_server(("", port)).close()


def _launched_ranks() -> int:
    """Number of processes that the launcher announces."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _timeout_s() -> float:
    text = os.environ.get("FECNET_TIMEOUT_S", "600")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError(f"FECNET_TIMEOUT_S: '{text}'; give seconds, above 0")
    return seconds


def first_to_say(text: str) -> bool:
    """Whether no rank has said ``text`` yet: what goes wrong on all ranks is told once. Not a collective."""
    if _launched_ranks() == 1:
        return True
    try:
        store = _store if _store is not None else _open_store(_ANSWER_S)
        return store.add(f"said/{hashlib.sha256(text.encode()).hexdigest()}", 1) == 1
    except (ValueError, dist.DistError):
        return True  # better twice than never


def rank() -> int:
    """This process's place among all, 0..world_size - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """This process's place on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    """Whether this process speaks and writes for all."""
    return rank() == 0


def barrier() -> None:
    """Wait for all ranks."""
    if dist.is_initialized():
        dist.barrier()


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum over all ranks, on all ranks; ``value`` itself at world size 1."""
    if world_size() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total


def broadcast_object(value: T) -> T:
    """Rank 0's plain object, on all ranks."""
    if world_size() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def from_main(function: Callable[[], T]) -> T:
    """What ``function`` returns on rank 0, on all ranks; what a user can cause to go wrong there is raised on all.

    Raises:
        ValueError: on all ranks, with the message of rank 0's ValueError or OSError.
    """
    if world_size() == 1:
        return function()
    result: T | None = None
    problem = ""
    if is_main():
        try:
            result = function()
        except (ValueError, OSError) as error:
            problem = str(error)
    result, problem = broadcast_object((result, problem))
    if problem:
        raise ValueError(problem)
    return cast(T, result)


def gather_rows(share: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Every rank's rows, in rank order, on all ranks.

    Args:
        share: this rank's rows, shape (counts[rank], ...).
        counts: rows of each rank; known everywhere, so nothing is exchanged to learn them.
    """
    if world_size() == 1:
        return [share]
    # Equal shapes for the collective; the padding never leaves this function.
    padded = share.new_zeros((max(counts), *share.shape[1:]))
    padded[: share.shape[0]] = share
    held = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(held, padded)
    return [rows[:count] for rows, count in zip(held, counts, strict=True)]


def agree_max(value: int, device: torch.device) -> int:
    """The largest value of any rank, on all ranks: how a signal on one becomes known to all."""
    if world_size() == 1:
        return value
    held = torch.tensor(value, device=device)
    dist.all_reduce(held, dist.ReduceOp.MAX)
    return int(held)


def equalise_buffers(model: nn.Module) -> None:
    """Give all ranks the mean of the batch-norm statistics, in one exchange.

    Done after each iteration: were it done only when evaluating or saving, a run that saves once more (since a signal
    came) would go on with other statistics than one that does not, and resume would not be exact.
    """
    if world_size() == 1:
        return
    buffers = [buffer for module in model.modules() if _has_own_statistics(module) for buffer in _statistics(module)]
    if not buffers:
        return
    flat = torch.cat([buffer.flatten() for buffer in buffers])
    dist.all_reduce(flat)
    flat /= world_size()
    for buffer, mean in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def _has_own_statistics(module: nn.Module) -> bool:
    """Frozen ones stay to the bit: the mean of three equal numbers is not always that number."""
    batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
    return batch_norm and module.training and module.running_mean is not None


def _statistics(module: nn.Module) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], (module.running_mean, module.running_var))


def parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with gradients averaged over the ranks (DDP); the model itself at world size 1."""
    if world_size() == 1:
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # broadcast_buffers has a new name from torch 2.15 on
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,  # equalise_buffers does it
            gradient_as_bucket_view=True,
            # Otherwise buckets are laid out anew after the first iteration of a process, and with them the order in
            # which gloo adds three or more ranks: a resumed run would differ in the last bits.
            find_unused_parameters=device.type == "cpu",
        )


def no_sync(net: nn.Module) -> AbstractContextManager[Any]:
    """While inside, gradients of a parallel model are added up locally: for all micro-batches but the last."""
    return net.no_sync() if isinstance(net, nn.parallel.DistributedDataParallel) else nullcontext()


def gather_counts(number: int, device: torch.device) -> list[int]:
    """Every rank's ``number``, in rank order, on all ranks; with several GPUs it waits for the device."""
    if world_size() == 1:
        return [number]
    return torch.cat(gather_rows(torch.full((1,), number, device=device), [1] * world_size())).tolist()


def gather_differentiable(share: Tensor, counts: Sequence[int]) -> Tensor:
    """The rows of the global batch, in rank order, on all ranks, for a loss over the whole batch.

    Its backward adds up what all ranks ask of a row, as the transpose of a gather does: of a loss that every rank
    computes alike, each rank's rows receive ``world_size`` times the gradient, which averaging over ranks takes off.

    Args:
        share: this rank's rows, float, shape (counts[rank], ...).
        counts: rows of each rank.

    Returns:
        Shape (sum(counts), ...); ``share`` itself at world size 1.
    """
    return share if world_size() == 1 else cast(Tensor, _Gather.apply(share, tuple(counts)))


def average_gradient(value: Tensor) -> Tensor:
    """``value``, whose gradient becomes the mean over all ranks: for what is learnt outside of a ``parallel`` model."""
    return value if world_size() == 1 else cast(Tensor, _AverageGradient.apply(value))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.first, ctx.number = sum(counts[: rank()]), len(share)
        return torch.cat(gather_rows(share, counts))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return all_reduce_sum(gradient.contiguous()).narrow(0, ctx.first, ctx.number), None


class _AverageGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient.contiguous()) / world_size()
