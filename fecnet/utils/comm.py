"""The sole user of ``torch.distributed``. Every function works at world size 1 too, where it costs nothing.

Collectives are called by all ranks or by none: no function here is called from a branch that one rank alone takes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def start(device: torch.device, timeout_s: float = 600.0) -> None:
    """Join the process group that torchrun describes in the environment; nothing to do without torchrun."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1 or dist.is_initialized():
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))


def stop() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


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


def all_gather_object(value: T) -> list[T]:
    """Every rank's plain object, in rank order, on all ranks."""
    if world_size() == 1:
        return [value]
    held: list[Any] = [None] * world_size()
    dist.all_gather_object(held, value)
    return held


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
    """Give all ranks the mean of the float buffers (batch-norm statistics), before evaluating or saving."""
    if world_size() == 1:
        return
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            dist.all_reduce(buffer)
            buffer /= world_size()


def parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with gradients averaged over the ranks (DDP); the model itself at world size 1."""
    if world_size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        broadcast_buffers=False,  # equalise_buffers does it when it matters
        gradient_as_bucket_view=True,
    )


def no_sync(net: nn.Module) -> AbstractContextManager[Any]:
    """While inside, gradients of a parallel model are added up locally: for all micro-batches but the last."""
    return net.no_sync() if isinstance(net, nn.parallel.DistributedDataParallel) else nullcontext()
