"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor, nn
from tqdm import tqdm

from fecnet.engine.checkpointer import Checkpointer
from fecnet.engine.description import Accuracy, CheckpointInfo
from fecnet.engine.evaluator import SplitResult
from fecnet.engine.hard_triplets import HardTriplets
from fecnet.engine.stepper import Augment, Stepper
from fecnet.evaluation.scales import scale_metrics
from fecnet.evaluation.spread import COLLAPSED
from fecnet.layers.choice import SCALE_LIMITS
from fecnet.structures import Batch, Relabels
from fecnet.utils import comm
from fecnet.utils.logging import MetricsFile, TensorBoard
from fecnet.utils.signals import StopOnSignal
from fecnet.utils.typed_json import from_json

logger = logging.getLogger(__name__)

SPREAD = "spread"  # name of the measure of the mean distance of embeddings
CHOICE_SCALE = "choice_scale"  # name of the measure of the learned scale of the choice probabilities
_COLLAPSING = 0.01  # fraction of the first spread below which a warning is logged; trained embeddings keep 0.1 or more
_REMEDIES = (
    "a smaller SOLVER.BASE_LR, SOLVER.WARMUP, SOLVER.CLIP_NORM, batch norm (MODEL.BATCH_NORM), larger LOSS.MARGIN_*, "
    "pretrained weights (MODEL.PRETRAINED)"
)

_NEARLY = 1.01  # tolerance factor on a limit of the scale, since its mean over the last log period is compared

Loader = Callable[[int, int], Iterator[tuple[int, list[Batch]]]]
Evaluate = Callable[[nn.Module], dict[str, SplitResult]]
Scales = Callable[[nn.Module], Tensor]


class Labels(Protocol):
    """The labels trained on, which may change between epochs (``fecnet.data.label_overlay``)."""

    def change(self, relabels: Relabels) -> tuple[int, int]:
        """Change labels; returns how many were changed, and how many changes were refused."""

    def state_dict(self) -> dict[str, Tensor]:
        """The labels that differ from the files."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a ``state_dict``."""


@dataclass(frozen=True)
class Periods:
    """Length and periods in iterations; a period of 0 means only at the end, for ``epoch`` never."""

    last: int
    log: int
    evaluate: int
    save: int
    epoch: int = 0


@dataclass
class Progress:
    """State of the training loop besides weights; saved in every checkpoint."""

    iteration: int = 0
    best_iteration: int | None = None
    best_accuracy: float = -math.inf
    accuracy: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    first_spread: float | None = None  # spread of the embedding at the first log entry
    told_of_collapse: bool = False
    told_of_scale: bool = False


@dataclass(frozen=True)
class RunFiles:
    """Output files of a run.

    Attributes:
        checkpointer: writes the checkpoints on rank 0; None on other ranks.
        metrics: ``metrics.jsonl``.
        tensorboard: TensorBoard events.
    """

    checkpointer: Checkpointer | None
    metrics: MetricsFile
    tensorboard: TensorBoard

    def write(self, values: dict[str, Any]) -> None:
        """Log one line of metrics."""
        self.metrics.write(values)
        self.tensorboard.write(values)

    def finish(self) -> None:
        """Wait until the last checkpoint is on disk; a failure raises on all ranks."""
        comm.from_main(lambda: self.checkpointer.finish() if self.checkpointer is not None else None)

    def close(self) -> None:
        """Finish writing a pending checkpoint, whether training succeeded or failed."""
        if self.checkpointer is not None:
            self.checkpointer.close()
        self.tensorboard.close()


class Trainer:
    """Trains, evaluates and saves, on one process or many.

    Args:
        stepper: makes one update from the micro-batches of one iteration.
        loader: yields iterations ``first`` to ``last`` with this rank's micro-batches.
        augment: turns a uint8 batch on the device into the net's input.
        evaluate: returns the results of each split; the first split selects the best checkpoint.
        info: metadata of the checkpoints; iteration, accuracy and seconds are filled in.
        periods: periods of logging, evaluation and saving.
        select: the metric of the first split that selects the best checkpoint; empty = none.
        labels: the labels trained on, which the criterion may change after an epoch; or None.
        scales: returns the absolute batch-norm scales under sparsity training, logged at each evaluation; or None.
        choice_scale: returns the scale of the choice probabilities, for the checkpoints' metadata; or None.
        hard_triplets: finds the triplets that the net gets wrong after each epoch; or None.
    """

    def __init__(
        self,
        stepper: Stepper,
        loader: Loader,
        augment: Augment,
        evaluate: Evaluate,
        *,
        info: CheckpointInfo,
        periods: Periods,
        select: str = "ALL",
        labels: Labels | None = None,
        scales: Scales | None = None,
        choice_scale: Callable[[], float] | None = None,
        hard_triplets: HardTriplets | None = None,
    ) -> None:
        self.stepper = stepper
        self.progress = Progress()
        self.loader = loader
        self._augment = augment
        self._evaluate = evaluate
        self._info = info
        self._periods = periods
        self._select = select
        self._labels = labels
        self._scales = scales
        self._choice_scale = choice_scale
        self._hard_triplets = hard_triplets

    def train(self, files: RunFiles, stop: StopOnSignal) -> int:
        """Train to the last iteration or until a signal.

        Returns:
            The signal that ended training early, or 0.

        Raises:
            UserError: a loss or gradient is not finite, or a checkpoint cannot be written.
        """
        first, last = self.progress.iteration + 1, self._periods.last
        started = time.monotonic() - self.progress.seconds
        signal = 0
        with _bar(first, last) as bar:
            for iteration in self.updates(first, last):
                bar.update()
                if self._periods.epoch and iteration % self._periods.epoch == 0:
                    self._end_epoch(files)
                if self._due(self._periods.log):
                    self._log(files, bar)
                best = self._due(self._periods.evaluate) and self._measure(files)
                signal = stop.agreed()
                if best or signal or self._due(self._periods.save):
                    self.progress.seconds = time.monotonic() - started
                    self._save(files, best)
                if signal:
                    break
        files.finish()
        return signal if self.progress.iteration < last else 0

    @property
    def selects(self) -> bool:
        """Whether a metric selects the best checkpoint."""
        return bool(self._select)

    @property
    def length(self) -> int:
        """Iterations of the whole training."""
        return self._periods.last

    def updates(self, first: int, last: int) -> Iterator[int]:
        """Run the updates of iterations ``first`` to ``last`` (both included) without logging, evaluation or saving."""
        for begin, end in self._spans(first, last):
            for iteration, batches in self.loader(begin, end):
                self.stepper.step(batches, self._augment, iteration)
                self.progress.iteration = iteration
                yield iteration

    def _spans(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """First and last iteration of the parts within which the loader may sample ahead."""
        epoch = self._periods.epoch
        if self._hard_triplets is not None:  # triplets found after an epoch already change the next batch
            for end in range(-(-first // epoch) * epoch, last, epoch):
                yield first, end
                first = end + 1
        yield first, last

    def state_dict(self) -> dict[str, Any]:
        """The training state as plain dicts, with the raw weights where they differ from those for inference.

        A collective.
        """
        labels = {} if self._labels is None else self._labels.state_dict()
        hard = {} if self._hard_triplets is None else {"hard_triplets": self._hard_triplets.state_dict()}
        return {"progress": dict(vars(self.progress)), "labels": labels, **hard, **self.stepper.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state`` to resume training; the model's weights must be loaded before."""
        self.progress = from_json(Progress, state["progress"], "progress")
        self.stepper.load_state_dict(state)
        if self._labels is not None:
            self._labels.load_state_dict(state["labels"])
        if self._hard_triplets is not None:
            self._hard_triplets.load_state_dict(state["hard_triplets"])

    def _due(self, period: int) -> bool:
        iteration = self.progress.iteration
        return iteration == self._periods.last or (period > 0 and iteration % period == 0)

    def _log(self, files: RunFiles, bar: tqdm[Any]) -> None:
        values = {"iteration": self.progress.iteration, **self.stepper.read_terms(), "lr": self.stepper.learning_rate}
        self.stepper.check_finite()
        files.write(values)
        bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
        if SPREAD in values:
            self._watch_spread(values[SPREAD])
        if CHOICE_SCALE in values:
            self._watch_scale(values[CHOICE_SCALE])

    def _watch_spread(self, spread: float) -> None:
        """Warn once where the embedding collapses; ``spread`` is the same on all ranks."""
        progress = self.progress
        if progress.first_spread is None:
            progress.first_spread = spread
        if progress.told_of_collapse or spread >= max(COLLAPSED, _COLLAPSING * progress.first_spread):
            return
        progress.told_of_collapse = True
        logger.warning(
            f"iteration {progress.iteration}: the embedding collapses: squared distances between the faces of a "
            f"triplet are {spread:.2g} on average, {progress.first_spread:.2g} at the start; what helps: {_REMEDIES}"
        )

    def _watch_scale(self, scale: float) -> None:
        """Warn once where the learned scale reaches one of its limits; the same on all ranks."""
        low, high = SCALE_LIMITS
        if self.progress.told_of_scale or low * _NEARLY < scale < high / _NEARLY:
            return
        self.progress.told_of_scale = True
        why = "with certainty" if scale > 1 else "no better than chance"
        logger.warning(
            f"iteration {self.progress.iteration}: LOSS.CHOICE_SCALE: the learned scale reached {scale:.3g} and is "
            f"limited to {low:g}..{high:g}: the net predicts the choices {why}; what helps: a fixed scale, a "
            "smaller SOLVER.BASE_LR, more LOSS.WEIGHTS for 'triplet'"
        )

    def _end_epoch(self, files: RunFiles) -> None:
        if self._labels is not None:
            self._relabel(self._labels, files)
        if self._hard_triplets is not None:
            self.stepper.check_finite()
            found = self._hard_triplets.find(self.stepper.inference_model)
            files.write({"iteration": self.progress.iteration, **found})

    def _relabel(self, labels: Labels, files: RunFiles) -> None:
        """Apply the label changes that the criterion found in this epoch, from the next iteration on."""
        relabels = self.stepper.feedback()
        if relabels is None:
            return
        changed, kept = labels.change(relabels)
        files.write({"iteration": self.progress.iteration, "relabelled": changed, "relabels_refused": kept})
        if kept:
            logger.info(f"iteration {self.progress.iteration}: {kept} relabels refused: a class would be empty")

    def _measure(self, files: RunFiles) -> bool:
        """Evaluate; returns whether the selection metric is the best so far."""
        self.stepper.check_finite()
        measured = self._evaluate(self.stepper.inference_model)
        iteration, split = self.progress.iteration, next(iter(measured))
        selecting = measured[split].metrics()[self._select] if self._select else None
        self.progress.accuracy = {
            "iteration": iteration,
            "selection": {"split": split, "figure": self._select, "percent": selecting} if self._select else None,
            "splits": {name: found.to_dict() for name, found in measured.items()},
        }
        for name, found in measured.items():
            metrics = found.metrics()
            files.write({"iteration": iteration, **{f"{name}/{metric}": value for metric, value in metrics.items()}})
            line = "  ".join(f"{metric} {_percent(value)}" for metric, value in metrics.items())
            logger.info(f"iteration {iteration}: {name} {line}")
            if warning := found.warning():
                logger.warning(f"iteration {iteration}: {name}: {warning}")
        if self._scales is not None:
            scale_S = self._scales(self.stepper.inference_model)
            files.write({"iteration": iteration, **scale_metrics(scale_S)})
            files.tensorboard.write_histogram("scales", scale_S, iteration)
        if not self._select:
            return False
        # a collapsed embedding is never the best
        value = -math.inf if measured[split].warning() else math.nan if selecting is None else selecting
        self.stepper.schedule.feedback(value)
        if not value > self.progress.best_accuracy:
            return False
        self.progress.best_iteration, self.progress.best_accuracy = iteration, value
        return True

    def _save(self, files: RunFiles, best: bool) -> None:
        self.stepper.check_finite()
        state = self.state_dict()
        info = replace(
            self._info,
            iteration=self.progress.iteration,
            accuracy=self._accuracy(),
            seconds=round(self.progress.seconds, 1),
            choice_scale=None if self._choice_scale is None else round(self._choice_scale(), 6),
        )

        def save() -> None:
            assert files.checkpointer is not None
            files.metrics.flush()
            weights = self.stepper.inference_model.state_dict()
            files.checkpointer.save(info, weights=weights, trainer=state, best=best)

        comm.from_main(save)

    def _accuracy(self) -> Accuracy | None:
        """The last evaluation, None before the first; ``progress`` keeps it as plain values for ``trainer.pt``."""
        measured = self.progress.accuracy
        return from_json(Accuracy, measured, "accuracy") if measured else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _bar(first: int, last: int) -> tqdm[Any]:
    """Progress bar of rank 0, updated at most twice a second since writing it takes as long as several kernels."""
    silent = not comm.is_main()
    return tqdm(total=last, initial=first - 1, unit="it", dynamic_ncols=True, mininterval=0.5, disable=silent)
