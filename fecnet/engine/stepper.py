"""One update from the micro-batches of one iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from fecnet.structures import Batch, Outputs, Relabels
from fecnet.utils import comm
from fecnet.utils.env import seed_device
from fecnet.utils.errors import UserError
from fecnet.utils.phase import phase

Augment = Callable[[Batch, int], Batch]
GradientRule = Callable[[nn.Module], None]

PHASES = ("data", "augment", "forward", "criterion", "backward", "reduce", "step")  # "data" is marked in the loader
_MIN_COUNT = 1e-12  # divisor of a term without items: its total is 0, and 0 / 0 would be NaN
CUDA_GRAPHS = "reduce-overhead"  # mode of torch.compile that replays kernels as CUDA graphs
_MIN_SCALE = 2.0**-10  # an fp16 loss scale below this was halved 26 times: gradients are NaN, not just overflowing


class Criterion(Protocol):
    """A loss as sums and counts of its terms (``fecnet.modeling.criterion``).

    It may also have ``begin(iteration)``, called before each iteration, ``feedback()``, called after each epoch, and a
    ``state_dict``, which is saved in checkpoints.
    """

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of the items' weights by term; known before the forward pass."""

    def __call__(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum over this rank's items by term."""


class Schedule(Protocol):
    """Learning-rate factor by iteration."""

    def factor(self, iteration: int) -> float:
        """Factor on the base learning rates at ``iteration``, counted from 1."""

    def feedback(self, metric: float) -> None:
        """Take the selection metric of an evaluation into account."""

    def state_dict(self) -> dict[str, Any]:
        """The state that ``factor`` depends on besides the iteration."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a ``state_dict``."""


class Guard(Protocol):
    """Blocks updates from the first gradient that is not finite."""

    def update(self, gradients: Iterable[Tensor], iteration: int) -> None:
        """Check the gradients of these parameters, before any rule changes them."""

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the parameters, unless blocked."""

    def first_bad(self) -> int:
        """The first iteration with a gradient that is not finite, or 0."""


class Average(Protocol):
    """A running average of the weights."""

    model: nn.Module

    def update(self, model: nn.Module, iteration: int) -> None:
        """Update the average with the weights after ``iteration``, counted from 1."""


class Measure(NamedTuple):
    """A mean over items of the training batches that is logged with the loss.

    Attributes:
        sums: returns, for one batch, the sum over its items and their number, float32 scalars on its device.
        scale: factor on the mean, such as 100 for a percentage.
    """

    sums: Callable[[Outputs, Batch], tuple[Tensor, Tensor]]
    scale: float = 1.0


class Stepper:
    """Forward pass, backward pass and update of one iteration; accumulates the sums that are logged.

    The loss is ``Σ total · world_size / count`` over terms, ``count`` summed over all ranks and micro-batches. Since
    gradients are *averaged* over ranks, the update equals that of one process with the whole batch, for any item
    weights, uneven shares and gradient accumulation.

    Args:
        model: the model itself, not wrapped for distributed training.
        criterion: totals and counts of a batch.
        optimizer: each of its groups has a ``base_lr``.
        schedule: factor on ``base_lr``.
        rules: applied to the gradients, in order.
        guard: blocks updates from gradients that are not finite.
        average: running average of the weights, or None.
        seed: seed of dropout, together with iteration and rank.
        precision: dtype of the forward pass.
        compile_mode: mode of ``torch.compile`` for the forward pass; empty where it is not compiled.
        accumulates: an iteration may have several micro-batches.
        device: device of the model.
        measures: means over the training batches by name, logged with the loss.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        *,
        rules: Sequence[GradientRule],
        guard: Guard,
        average: Average | None,
        seed: int,
        precision: torch.dtype,
        compile_mode: str = "",
        accumulates: bool = False,
        device: torch.device,
        measures: Mapping[str, Measure] | None = None,
    ) -> None:
        self.model = model.train()
        self.schedule = schedule
        self._criterion = criterion
        self._begin: Callable[[int], None] | None = getattr(criterion, "begin", None)
        self._optimizer = optimizer
        self._rules = rules
        self._guard = guard
        self._average = average
        self._seed = seed
        self.precision = precision
        self._device = device
        self._measures = dict(measures or {})
        self._parameters = list(model.parameters())
        self._compile_mode = compile_mode
        net = cast(nn.Module, torch.compile(model, mode=compile_mode)) if compile_mode else model
        self._net = comm.parallel(net, device, accumulates=accumulates)
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
        self._sums: dict[str, Tensor] = {}  # totals of this rank, counts of all; reset by ``read_terms``

    @property
    def inference_model(self) -> nn.Module:
        """The model that is evaluated and saved for inference: the average where there is one."""
        return self.model if self._average is None else self._average.model

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first parameter group."""
        return self._optimizer.param_groups[0]["lr"]

    def step(self, batches: Sequence[Batch], augment: Augment, iteration: int) -> None:
        """Update the weights from this rank's micro-batches, without synchronising with the device.

        The phases in ``PHASES`` are marked for ``torch.profiler``.
        """
        # Dropout is a function of (seed, iteration, rank), so no generator state needs to be saved.
        seed_device(self._device, ((self._seed * 1_000_003 + iteration) * 4099 + comm.rank()) % 2**63)
        factor = self.schedule.factor(iteration)
        for group in self._optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self._optimizer.zero_grad()  # to None; apex optimizers take no argument
        if not self.model.training:  # only after an evaluation, since visiting all modules takes time
            self.model.train()
        if self._begin is not None:
            self._begin(iteration)
        batches = [batch.to(self._device) for batch in batches]
        count = self._count(batches)
        for number, batch in enumerate(batches, start=1):
            with phase("augment"):
                augmented = augment(batch, iteration)
            with nullcontext() if number == len(batches) else comm.no_sync(self._net):
                self._backward(augmented, count)
        self._add({f"count/{name}": value for name, value in count().items()})
        with phase("reduce"):
            comm.average_gradients_and_statistics(self._net, self._parameters)
        with phase("step"):
            self._update(iteration)

    def read_terms(self) -> dict[str, float]:
        """Mean of each term over all items since the last call, and their sum as ``loss``; a collective.

        Also the mean of each of ``measures`` over its items; a measure without items is left out.
        """
        names = sorted(name for name in self._sums if name.startswith("total/"))
        sums = [*names, *(part for name in self._measures for part in _parts_of(name))]
        summed = comm.all_reduce_sum(torch.stack([self._sums[name] for name in sums])).tolist()
        totals, parts = summed[: len(names)], summed[len(names) :]
        counts = torch.stack([self._sums[name.replace("total/", "count/")] for name in names]).tolist()
        means = {
            name[6:]: total / count if count else 0.0 for name, total, count in zip(names, totals, counts, strict=True)
        }
        self._sums = {}
        measured = zip(self._measures.items(), parts[::2], parts[1::2], strict=True)
        found = {name: measure.scale * total / number for (name, measure), total, number in measured if number}
        return {"loss": sum(means.values()), **means, **found}

    def feedback(self) -> Relabels | None:
        """The label changes that the criterion found since the last call; None where it does not relabel.

        A collective.
        """
        feedback: Callable[[], Relabels | None] | None = getattr(self._criterion, "feedback", None)
        return None if feedback is None else feedback()

    def check_finite(self) -> None:
        """Raise if an update was blocked; synchronises with the device once.

        Raises:
            UserError: names the iteration.
        """
        iteration = self._guard.first_bad()
        if self._scaler.is_enabled() and self._scaler.get_scale() < _MIN_SCALE:
            raise UserError("fp16: every recent gradient was not finite; try SOLVER.PRECISION bf16 or fp32")
        if iteration:
            raise UserError(
                f"iteration {iteration}: the loss or a gradient is not finite; no update was made from there on; "
                "saved checkpoints are intact; try a lower SOLVER.BASE_LR, SOLVER.CLIP_NORM or SOLVER.PRECISION fp32"
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain dicts, with the raw weights where their average is used for inference. A collective."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "sums": {name: _of_all_ranks(value) for name, value in self._sums.items()},
            "raw": self.model.state_dict() if self._average is not None else {},
            "criterion": self._criterion.state_dict() if isinstance(self._criterion, nn.Module) else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a ``state_dict``; the weights of ``inference_model`` must be loaded before."""
        if self._average is not None:
            self.model.load_state_dict(state["raw"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        if isinstance(self._criterion, nn.Module):
            self._criterion.load_state_dict(state["criterion"])
        self._sums = {name: _of_this_rank(name, value).to(self._device) for name, value in state["sums"].items()}

    def _count(self, batches: Sequence[Batch]) -> Callable[[], dict[str, Tensor]]:
        """Start counting each term over all ranks and micro-batches; overlaps with the forward pass."""
        own = [self._criterion.count(batch) for batch in batches]
        names = list(own[0])
        summed = comm.all_reduce_sum_later(
            torch.stack([torch.stack([count[name] for count in own]).sum() for name in names])
        )
        return lambda: dict(zip(names, summed().unbind(), strict=True))

    def _backward(self, batch: Batch, count: Callable[[], dict[str, Tensor]]) -> None:
        use = torch.autocast(self._device.type, self.precision, enabled=self.precision != torch.float32)
        if self._compile_mode and batch.image_N is not None:  # the number of unique images varies
            torch._dynamo.maybe_mark_dynamic(batch.image_UCHW, 0)
        if self._compile_mode == CUDA_GRAPHS:
            torch.compiler.cudagraph_mark_step_begin()  # outputs of the last iteration may be overwritten
        with phase("forward"), use:
            out = {name: batch.of_samples(value_U) for name, value_U in self._net(batch.image_UCHW).items()}
        with phase("criterion"):
            totals = self._criterion(out, batch)
            counts = count()
            scale = {name: comm.world_size() / number.clamp_min(_MIN_COUNT) for name, number in counts.items()}
            loss = torch.stack([total * scale[name] for name, total in totals.items()]).sum()
        with phase("backward"):
            self._scaler.scale(loss).backward()
        self._add({f"total/{name}": total.detach() for name, total in totals.items()})
        for name, measure in self._measures.items():
            self._add(dict(zip(_parts_of(name), measure.sums(out, batch), strict=True)))

    def _update(self, iteration: int) -> None:
        if self._scaler.is_enabled():
            # In fp16 occasional overflows are expected: the scaler skips the update and lowers the scale.
            self._scaler.unscale_(self._optimizer)
            self._apply_rules()
            self._scaler.step(self._optimizer)
            self._scaler.update()
        else:
            self._guard.update(self._parameters, iteration)
            self._apply_rules()
            self._guard.step(self._optimizer)
        if self._average is not None:
            self._average.update(self.model, iteration)

    def _apply_rules(self) -> None:
        for rule in self._rules:
            rule(self.model)

    def _add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value


def _parts_of(name: str) -> tuple[str, str]:
    """Names of the two sums of a measure."""
    return f"measure/{name}/sum", f"measure/{name}/of"


def _of_all_ranks(sum_: Tensor) -> Tensor:
    """The sum of each rank, shape (world_size,): not reduced, since an earlier reduction would round differently."""
    return torch.cat(comm.gather_rows(sum_.view(1), [1] * comm.world_size())).cpu()


def _of_this_rank(name: str, sum_R: Tensor) -> Tensor:
    """This rank's part of ``_of_all_ranks``, also where the number of ranks has changed."""
    if len(sum_R) == comm.world_size():
        return sum_R[comm.rank()]
    if name.startswith("count/"):  # identical on all ranks
        return sum_R[0]
    return sum_R.sum() if comm.is_main() else torch.zeros_like(sum_R[0])
