"""Collective communication. Every function also works at world size 1, at no cost.

``torch.distributed`` is used only here and in ``rendezvous``. Collectives must be called by all ranks: never call one
from a branch that only some ranks take.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fecnet.utils import rendezvous
from fecnet.utils.errors import CheckpointError, ConfigError, DataError, FaultElsewhereError, UserError

T = TypeVar("T")

_hosts: dist.ProcessGroup | None = None  # gloo group for values on the CPU, where the ranks have GPUs


def start(device: torch.device, described: Mapping[str, Any]) -> None:
    """Initialise the process group from torchrun's environment variables; without torchrun, do nothing.

    Args:
        device: selects nccl or gloo.
        described: values that must be identical on all ranks, such as the configuration.

    Raises:
        UserError: on all ranks: a rank did not join within ``FECNET_TIMEOUT_S`` (default 600 seconds), the port is in
            use, or ``described`` differs between ranks.
    """
    global _hosts
    if rendezvous.launched_ranks() == 1 or dist.is_initialized():
        return
    store = rendezvous.meet(described)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=int(os.environ["RANK"]),
        world_size=rendezvous.launched_ranks(),
        timeout=rendezvous.timeout(),
    )
    if device.type == "cuda":
        _hosts = cast(dist.ProcessGroup, dist.new_group(backend="gloo"))


def stop() -> None:
    """Destroy the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Rank of this process, 0..world_size - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Rank of this process on its machine, which is the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    """Whether this is rank 0, which logs and writes files."""
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
    """Broadcast rank 0's picklable object to all ranks."""
    if world_size() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def from_main(function: Callable[[], T]) -> T:
    """Run ``function`` on rank 0 and broadcast its result; an exception is raised on all ranks, so that none waits.

    Raises:
        UserError: on all ranks, with the class and message of rank 0's UserError, or the message of its OSError.
        FaultElsewhereError: on the other ranks, where rank 0 raised something else.
    """
    if world_size() == 1:
        return function()
    result: T | None = None
    raised: Exception | None = None
    problem: tuple[type[Exception], str] | None = None
    if is_main():
        try:
            result = function()
        except Exception as error:  # raised below, after the broadcast
            raised, problem = error, _for_other_ranks(error)
    result, problem = broadcast_object((result, problem))
    if problem is None:
        return cast(T, result)
    kind, text = problem
    if raised is not None and kind is FaultElsewhereError:
        raise raised
    raise kind(text) from raised


def _for_other_ranks(error: Exception) -> tuple[type[Exception], str]:
    """Class and message of the exception that the other ranks raise for rank 0's ``error``."""
    if not isinstance(error, (UserError, OSError)):
        return FaultElsewhereError, f"rank 0 failed, see its output: {type(error).__name__}: {error}"
    kinds = (ConfigError, DataError, CheckpointError)
    return next((kind for kind in kinds if isinstance(error, kind)), UserError), str(error)


def gather_rows(share: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Gather the rows of all ranks, in rank order, on all ranks.

    Args:
        share: this rank's rows, shape (counts[rank], ...).
        counts: number of rows of each rank, known on all ranks, so they need no exchange.
    """
    if world_size() == 1:
        return [share]
    # The collective needs equal shapes; the padding is removed below.
    padded = share.new_zeros((max(counts), *share.shape[1:]))
    padded[: share.shape[0]] = share
    held = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(held, padded)
    return [rows[:count] for rows, count in zip(held, counts, strict=True)]


def all_reduce_sum_later(value: Tensor) -> Callable[[], Tensor]:
    """Start an asynchronous ``all_reduce_sum``; call the result to wait for the sum."""
    if world_size() == 1:
        return lambda: value
    total = value.clone()
    return _waiting(dist.all_reduce(total, async_op=True), lambda: total)


def agree_max_later(value: int) -> Callable[[], int]:
    """Start an asynchronous maximum over all ranks; call the result to wait for it.

    Uses gloo on the CPU even where the ranks have GPUs, so it synchronises no device.
    """
    if world_size() == 1:
        return lambda: value
    held = torch.tensor(value)
    return _waiting(dist.all_reduce(held, dist.ReduceOp.MAX, group=_hosts, async_op=True), lambda: int(held))


def _waiting(work: dist.Work, read: Callable[[], T]) -> Callable[[], T]:
    def result() -> T:
        work.wait()
        return read()

    return result


def parallel(model: nn.Module, device: torch.device, *, accumulates: bool) -> nn.Module:
    """The model with the weights of rank 0, wrapped in DDP on GPUs.

    Args:
        model: on ``device``.
        device: of this rank.
        accumulates: ``no_sync`` will be used. DDP's ``static_graph`` is then off: under ``no_sync`` the hooks that it
            registers in the first iteration are missing.
    """
    if world_size() == 1:
        return model
    if device.type != "cuda":
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # broadcast_buffers is renamed in torch 2.15
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[device.index],
            broadcast_buffers=False,  # done by average_gradients_and_statistics
            gradient_as_bucket_view=True,
            static_graph=not accumulates,
        )


def no_sync(net: nn.Module) -> AbstractContextManager[Any]:
    """Context in which gradients accumulate locally, without averaging: for all micro-batches but the last."""
    return net.no_sync() if isinstance(net, nn.parallel.DistributedDataParallel) else nullcontext()


def average_gradients_and_statistics(net: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """After backward: average gradients and batch-norm statistics over all ranks, in one all-reduce.

    Under DDP the gradients are averaged already, overlapping the backward pass. On a CPU no core is idle for that, and
    DDP's many small all-reduces take a tenth of an iteration.

    Statistics are averaged after each iteration. If they were averaged only before evaluating or saving, an extra
    checkpoint (after a signal) would change them, and resuming would not be exact.

    Args:
        net: what ``parallel`` returned.
        parameters: of the net, the same on all ranks. A missing gradient counts as zero where another rank has one.
    """
    if world_size() == 1:
        return
    statistics = [tensor for module in net.modules() if _has_own_statistics(module) for tensor in _statistics(module)]
    if isinstance(net, nn.parallel.DistributedDataParallel):
        _average(statistics)
        return
    has_grad_P = torch.tensor([float(parameter.grad is not None) for parameter in parameters])
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    _average([has_grad_P, *statistics, *(_as_stored(cast(Tensor, parameter.grad)) for parameter in parameters)])
    for parameter, has_grad in zip(parameters, has_grad_P.tolist(), strict=True):
        if not has_grad:
            parameter.grad = None


def _average(tensors: Sequence[Tensor]) -> None:
    """Average float32 tensors, of equal shapes on all ranks, in place over the ranks."""
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def _as_stored(tensor: Tensor) -> Tensor:
    """A view with the axes in memory order, so that flattening it copies nothing."""
    stride = tensor.stride()
    return tensor.permute(sorted(range(tensor.ndim), key=lambda axis: (-stride[axis], axis)))


def _has_own_statistics(module: nn.Module) -> bool:
    """Whether to average its statistics. Not frozen ones: a float mean of three equal numbers may differ from them."""
    batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
    return batch_norm and module.training and module.running_mean is not None


def _statistics(module: nn.Module) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], (module.running_mean, module.running_var))


def gather_counts(number: int) -> list[int]:
    """Gather every rank's ``number``, in rank order, on all ranks; on the CPU, so it synchronises no device."""
    if world_size() == 1:
        return [number]
    held = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(held, torch.tensor([number]), group=_hosts)
    return torch.cat(held).tolist()


def gather_differentiable(share: Tensor, counts: Sequence[int]) -> Tensor:
    """Gather the rows of the global batch, in rank order, on all ranks, for a loss over the whole batch.

    Differentiable: the backward pass sums the gradients of all ranks. Where every rank computes the same loss, its rows
    receive ``world_size`` times the gradient; averaging gradients over ranks divides by ``world_size`` again.

    Args:
        share: this rank's rows, float, shape (counts[rank], ...).
        counts: rows of each rank.

    Returns:
        Shape (sum(counts), ...); ``share`` itself at world size 1.
    """
    return share if world_size() == 1 else cast(Tensor, _Gather.apply(share, tuple(counts)))


def average_gradient(value: Tensor) -> Tensor:
    """Identity whose gradient is averaged over all ranks: for parameters outside of a ``parallel`` model."""
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
