"""Choice against hinge: nets trained equally long on the same triplets by either criterion, three seeds each.

On the synthetic set of ``make demo`` and on FERPlus' triplets, by the recipe of each: the accuracy of the choices (ALL)
on held-out triplets, and the expected calibration error of the probabilities, with the scale that was learned (of the
hinge: the default one) and with the one that fits the validation triplets best.

- ``hinge``: the recipe as it is, cut to ``LENGTH``.
- ``choice``: ``LOSS.CRITERIA [choice]``, the scale learned.

Runs are kept in ``result/choices``: finished ones are not trained again, others are resumed. A data set that is absent
is passed over.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.demo import ROOT
from benchmarks.raters import QUICK_RUN, QUICK_SET
from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.engine.evaluator import TripletMetric
from fecnet.evaluation.choices import ChoiceFit, choice_fit
from fecnet.evaluation.comparison import compare_settings
from fecnet.evaluation.triplet_accuracy import triplet_distances
from fecnet.layers.choice import DEFAULT_SCALE
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.studies.scheduler import PlannedRun, train_all

VARIANTS = ("hinge", "choice")
REQUIRED_ECE = 0.03


@dataclass(frozen=True)
class Task:
    """A data set with triplets and its recipe.

    Attributes:
        name: of the recipe, and of the folder of its runs.
        data: packed set.
        margin: of the hinge on triplets of one class.
        length: iterations of each run.
        fit: split whose triplets fit the scale.
        report: split that is reported.
    """

    name: str
    data: Path
    margin: float
    length: int
    fit: str
    report: str


TASKS = (
    Task("demo", ROOT / "datasets" / "demo", 0.2, 700, "val", "test"),
    Task("ferplus", ROOT / "datasets" / "ferplus", 0.1, 2000, "public_test", "private_test"),
)


def run(*, quick: bool) -> dict[str, Any]:
    """Both sets with three seeds; a quick run is of one seed and three iterations on few synthetic faces."""
    if quick:
        with tempfile.TemporaryDirectory() as temporary:
            data = Path(temporary) / "data"
            prepare_synthetic(data, progress=False, **QUICK_SET)
            return {"demo": measure(Task("demo", data, 0.2, 3, "val", "test"), Path(temporary), QUICK_RUN, seeds=[0])}
    present = [task for task in TASKS if (task.data / "dataset.json").is_file()]
    return {task.name: measure(task, ROOT / "result" / "choices" / task.name, (), seeds=[0, 1, 2]) for task in present}


def measure(task: Task, folder: Path, options: Sequence[str], *, seeds: Sequence[int]) -> dict[str, Any]:
    """Accuracy and calibration by variant and seed, and the difference between the variants.

    Args:
        task: what is learned.
        folder: of the runs.
        options: overrides of the recipe, the same for all.
        seeds: of the nets and the order of triplets.
    """
    common = ("EVAL.PERIOD", "0", "EVAL.BEST_METRIC", "last", "CHECKPOINT.PERIOD", "0")
    of_task = ("DATA.PATH", str(task.data), "DATA.SOURCE", "", "SOLVER.LENGTH", str(task.length))
    planned = [
        PlannedRun(f"{name}-{seed}", (*common, *of_task, *options, *_criterion(name, task), "SEED", str(seed)))
        for seed in seeds
        for name in VARIANTS
    ]
    train_all(ROOT / "config" / f"{task.name}.yaml", planned, folder)
    dataset = PackedDataset(task.data)
    found = {
        name: {
            seed: _judge(load_encoder(folder / f"{name}-{seed}", checkpoint="last", device="cpu"), dataset, task)
            for seed in seeds
        }
        for name in VARIANTS
    }
    told = {
        "length": task.length,
        "split": task.report,
        "settings": {name: _summary(list(by_seed.values())) for name, by_seed in found.items()},
        "differences": [
            difference.to_dict()
            for difference in compare_settings(
                {name: {seed: one["percent"] for seed, one in by_seed.items()} for name, by_seed in found.items()}
            )
        ],
        "required_ece": REQUIRED_ECE,
    }
    print(json.dumps({task.name: told}, indent=1))
    return told


def _criterion(name: str, task: Task) -> tuple[str, ...]:
    # a margin that choice does not read is left at its default
    criterion, margin = ("[triplet]", task.margin) if name == "hinge" else ("[choice]", 0.1)
    return ("LOSS.CRITERIA", criterion, "LOSS.MARGIN_ONE_CLASS", str(margin))


def _judge(encoder: Encoder, dataset: PackedDataset, task: Task) -> dict[str, float]:
    metric = TripletMetric({split: dataset.triplets(split) for split in (task.fit, task.report)})
    embedding_ND = torch.from_numpy(encoder.encode(dataset.faces_NHWC[metric.rows]).outputs["embedding"])

    def fit(split: str, scale: float) -> ChoiceFit:
        table = metric.tables[split]
        return choice_fit(triplet_distances(embedding_ND, metric.places(split)), table.odd_T, table.votes_T3, scale)

    scale = encoder.choice_scale or DEFAULT_SCALE
    fitted = fit(task.fit, scale).best_scale
    assert fitted is not None
    found = {
        "percent": metric.measure(embedding_ND)[task.report].percent(),
        "scale": scale,
        "fitted_scale": fitted,
    }
    for name, used in (("", scale), ("_fitted", fitted)):
        report = fit(task.report, used)
        ece = report.calibration.ece()
        assert report.log_likelihood is not None and ece is not None
        found |= {f"ece{name}": ece / 100, f"log_likelihood{name}": report.log_likelihood}
    return {name: round(value, 4) for name, value in found.items()}


def _summary(by_seed: Sequence[dict[str, float]]) -> dict[str, Any]:
    means = {name: round(statistics.fmean(one[name] for one in by_seed), 4) for name in by_seed[0]}
    return {"mean": means, "by_seed": list(by_seed)}
