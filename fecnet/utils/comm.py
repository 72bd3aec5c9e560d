"""What the ranks exchange. Every function works at world size 1 too, where it costs nothing.

``torch.distributed`` is used here and in ``rendezvous``, and nowhere else. Collectives are called by all ranks or by
none: no function here is called from a branch that one rank alone takes.
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

_hosts: dist.ProcessGroup | None = None  # for what no device need know, where the ranks have GPUs


def start(device: torch.device, described: Mapping[str, Any]) -> None:
    """Join the process group that torchrun describes in the environment; nothing to do without torchrun.

    Args:
        device: decides between nccl and gloo.
        described: what must be the same on all ranks, such as the settings.

    Raises:
        UserError: on all ranks alike: ranks that have not come within ``FECNET_TIMEOUT_S`` (default 600 seconds), a
            port in use, or ranks that are described differently.
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


def from_main(function: Callable[[], T]) -> T:
    """What ``function`` returns on rank 0, on all ranks; what goes wrong there is raised on all, so that none waits.

    Raises:
        UserError: on all ranks, of the kind and with the message of rank 0's UserError or OSError.
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
        except Exception as error:  # raised below, once the others know
            raised, problem = error, _told(error)
    result, problem = broadcast_object((result, problem))
    if problem is None:
        return cast(T, result)
    kind, text = problem
    if raised is not None and kind is FaultElsewhereError:
        raise raised
    raise kind(text) from raised


def _told(error: Exception) -> tuple[type[Exception], str]:
    """What the other ranks raise for what rank 0 met."""
    if not isinstance(error, (UserError, OSError)):
        return FaultElsewhereError, f"rank 0 has failed, see what it said: {type(error).__name__}: {error}"
    kinds = (ConfigError, DataError, CheckpointError)
    return next((kind for kind in kinds if isinstance(error, kind)), UserError), str(error)


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


def all_reduce_sum_later(value: Tensor) -> Callable[[], Tensor]:
    """Begin ``all_reduce_sum``; what is returned waits for the sum and gives it."""
    if world_size() == 1:
        return lambda: value
    total = value.clone()
    return _waiting(dist.all_reduce(total, async_op=True), lambda: total)


def agree_max_later(value: int) -> Callable[[], int]:
    """Begin to find the largest value of any rank; what is returned waits for it and gives it.

    Exchanged between hosts, also where the ranks have GPUs: no device is waited for.
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
    """The model as all ranks train it, with the weights of rank 0: under DDP on GPUs, else itself.

    Args:
        model: on ``device``.
        device: of this rank.
        accumulates: ``no_sync`` will be used, with which DDP cannot take the graph as static: the hooks that it sets in
            the first iteration are not there.
    """
    if world_size() == 1:
        return model
    if device.type != "cuda":
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # broadcast_buffers has a new name from torch 2.15 on
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[device.index],
            broadcast_buffers=False,  # average_gradients_and_statistics does it
            gradient_as_bucket_view=True,
            static_graph=not accumulates,
        )


def no_sync(net: nn.Module) -> AbstractContextManager[Any]:
    """While inside, gradients of a parallel model are added up locally: for all micro-batches but the last."""
    return net.no_sync() if isinstance(net, nn.parallel.DistributedDataParallel) else nullcontext()


def average_gradients_and_statistics(net: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """After backward: give all ranks the mean of the gradients and of the batch-norm statistics, in one exchange.

    DDP, where ``parallel`` took it, has averaged the gradients already, while backward went on. On a CPU there is no
    idle core for that to happen on, and its many small exchanges cost a tenth of an iteration.

    Statistics are made equal after each iteration: were it done only when evaluating or saving, a run that saves once
    more (since a signal came) would go on with other statistics than one that does not, and resume would not be exact.

    Args:
        net: what ``parallel`` returned.
        parameters: of the net, the same on all ranks. One without a gradient counts as zeros if another rank has one.
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
    """The mean over the ranks, in place, of float32 tensors of the same shapes on all ranks."""
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def _as_stored(tensor: Tensor) -> Tensor:
    """A view with the axes in the order in which they lie in memory: flattening it copies nothing."""
    stride = tensor.stride()
    return tensor.permute(sorted(range(tensor.ndim), key=lambda axis: (-stride[axis], axis)))


def _has_own_statistics(module: nn.Module) -> bool:
    """Frozen ones stay to the bit: the mean of three equal numbers is not always that number."""
    batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
    return batch_norm and module.training and module.running_mean is not None


def _statistics(module: nn.Module) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], (module.running_mean, module.running_var))


def gather_counts(number: int) -> list[int]:
    """Every rank's ``number``, in rank order, on all ranks; exchanged between hosts, so no device is waited for."""
    if world_size() == 1:
        return [number]
    held = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(held, torch.tensor([number]), group=_hosts)
    return torch.cat(held).tolist()


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
