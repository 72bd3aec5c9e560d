"""Number of answers that a net needs: random triplets compared with informative ones, answered over HTTP.

Simulated raters of the synthetic set (``fecnet.synthetic.annotators``) look at the faces that a study shows them and
answer over HTTP; a net is trained on what the study then holds, by ``fecnet prepare study`` and the recipe
``own_triplets``, and judged on test triplets of other people. The strategies:

- ``random``: random triplets, six answers each, as FEC has them.
- ``few``: random triplets, two answers each and more where these differ, until two raters agree; what ``informative``
  does without its net.
- ``informative``: chosen by the net of the round before, and answered like ``few``; the first round is ``few``'s.

All strategies train equally long on equally many answers, each from scratch.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.demo import ROOT
from benchmarks.rate_load import Load
from benchmarks.rate_server import serving
from fecnet.config.node import load_config
from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.evaluation.drawing import new_figure, save_figure
from fecnet.evaluation.triplet_accuracy import triplet_accuracy
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.prepare.writer import PackedWriter
from fecnet.rate.new import new_study
from fecnet.rate.packing import prepare_study
from fecnet.rate.plan import Plan
from fecnet.rate.raters import invite
from fecnet.rate.rounds import more_triplets
from fecnet.rate.study import Study
from fecnet.runs.training import train_run
from fecnet.synthetic.annotators import ANNOTATOR_NOISE, NUM_ANNOTATORS

STRATEGIES = ("random", "few", "informative")
PICTURE = ROOT / "docs" / "images" / "rate_learning.png"
_PER_TRIPLET = 2.5  # answers of a triplet of "few" and "informative" on average, a guess from which rounds are sized
_COLOURS = {"random": "tab:gray", "few": "tab:orange", "informative": "tab:blue"}


@dataclass(frozen=True)
class Setting:
    """The size of the measurement.

    Attributes:
        identities: people of the training faces; 8 faces each.
        answers: at which nets are trained.
        iterations: of each training.
        seeds: of faces, triplets, raters and nets.
    """

    identities: int = 200
    answers: tuple[int, ...] = (600, 1200, 2400, 4800, 9600)
    iterations: int = 800
    seeds: tuple[int, ...] = (0, 1, 2)


QUICK = Setting(identities=24, answers=(90, 180), iterations=4, seeds=(0,))


def run(*, quick: bool, setting: Setting | None = None) -> dict[str, Any]:
    """All strategies and seeds; draws docs/images/rate_learning.png unless it is quick."""
    setting = setting or (QUICK if quick else Setting())
    curves: dict[str, list[list[float]]] = {strategy: [] for strategy in STRATEGIES}
    for seed in setting.seeds:
        with tempfile.TemporaryDirectory() as temporary:
            world = World(Path(temporary), setting, seed)
            for strategy in STRATEGIES:
                curves[strategy].append(world.curve(strategy))
                print(json.dumps({"seed": seed, "strategy": strategy, "percent": curves[strategy][-1]}), flush=True)
    needed = {name: share_needed(setting.answers, curves["random"], curves[name]) for name in STRATEGIES[1:]}
    print(needed)
    if not quick:
        draw(setting.answers, curves, PICTURE)
    told = {"answers": list(setting.answers), "iterations": setting.iterations, "seeds": len(setting.seeds)}
    return {**told, "faces": setting.identities * 8, "percent": curves, "share_of_answers_needed": needed}


class Guess:
    """In place of a net: embeddings at random, so that what it is undecided on is any triplet.

    Args:
        seed: of the embeddings.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def check_output(self, name: str) -> None:
        """It has an embedding."""

    def embed(self, items: Iterable[Any], **_: Any) -> tuple[np.ndarray, list[str]]:
        """A vector at random for each picture."""
        num = sum(1 for _ in items)
        return self._rng.standard_normal((num, 16)), ["ok"] * num


class World:
    """Faces, raters and test triplets of a seed.

    Args:
        folder: to write into.
        setting: its size.
        seed: of everything.
    """

    def __init__(self, folder: Path, setting: Setting, seed: int) -> None:
        self._folder, self._setting, self._seed = folder, setting, seed
        prepare_synthetic(
            folder / "all",
            seed=seed,
            size=32,
            num_train_identities=setting.identities,
            num_val_identities=6,
            num_test_identities=100,
            num_train_triplets=30,
            num_val_triplets=30,
            num_test_triplets=3000,
            progress=False,
        )
        self._all = PackedDataset(folder / "all")
        perceptual = self._all.array("expression")
        assert perceptual is not None
        self._perceptual_NE = perceptual
        self._source = self._write_source()

    def _write_source(self) -> Path:
        """The training faces alone, without labels: all that the owner of a study has."""
        num = self._setting.identities * 8
        faces_NHWC = np.asarray(self._all.faces_NHWC[:num])
        path = self._folder / "source"
        with PackedWriter(path, num_faces=num, height=32, width=32, channels=["R", "G", "B"]) as writer:
            records = [row for _, row in zip(range(num), face_rows(self._all.path), strict=False)]
            writer.add_faces(faces_NHWC, [{"key": row["key"], "source": row["source"]} for row in records])
            writer.set_coverage({"faces": {"read": num, "kept": num}})
        return path

    def curve(self, strategy: str) -> list[float]:
        """Accuracy (ALL, %) after each number of answers."""
        path = self._folder / strategy
        net: Any = None if strategy == "random" else Guess(self._seed)
        first = self._setting.answers[0]
        each = NUM_ANNOTATORS if strategy == "random" else _PER_TRIPLET
        plan = Plan(
            triplets=int(first / each),
            raters=NUM_ANNOTATORS,
            strategy="random" if strategy == "random" else "informative",
            control_every=0,
            seed=self._seed,
        )
        new_study(path, self._source, plan, encoder=net, progress=False)
        percents: list[float] = []
        with Study(path) as study, serving(path) as server:
            pages = [f"/r/{token}" for _, token in invite(study, NUM_ANNOTATORS)]
            load = Load(server.port, pages, f"{strategy}-answers", self._rule(study))
            for target in self._setting.answers:
                while (missing := target - load.acknowledged) > 0:
                    load.run(missing)
                    missing = target - load.acknowledged
                    if missing > 0:  # all triplets have what they want
                        more_triplets(study, math.ceil(missing / each), strategy=plan.strategy, encoder=net)
                run_folder = self._train(study, f"{strategy}-{target}")
                trained = load_encoder(str(run_folder), device="cpu")
                percents.append(round(self._accuracy(trained), 2))
                if strategy == "informative":
                    net = trained
        return percents

    def _rule(self, study: Study) -> Callable[[int, list[int]], int]:
        """What a rater answers: the face outside the pair that is closest under the rater's noise."""
        row_of = {row["key"]: number for number, row in enumerate(face_rows(self._all.path))}
        rows = {row["id"]: row_of[row["name"]] for row in study.rows("SELECT id, name FROM faces")}

        def rule(rater: int, faces: list[int]) -> int:
            rng = np.random.default_rng([self._seed, rater, *sorted(faces)])
            seen_3E = self._perceptual_NE[[rows[face] for face in faces]]
            opposite_3 = np.linalg.norm(np.roll(seen_3E, -1, 0) - np.roll(seen_3E, -2, 0), axis=1)
            return int(np.argmin(opposite_3 + rng.standard_normal(3) * ANNOTATOR_NOISE[rater]))

        return rule

    def _train(self, study: Study, name: str) -> Path:
        packed = self._folder / f"packed-{name}"
        prepare_study(study, packed, workers=1, progress=False)
        settings: list[Any] = ["DATA.PATH", packed, "DATA.EVAL_SPLITS", "[train]", "DATA.REPORT_SPLITS", "[train]"]
        settings += ["SOLVER.BATCH_SIZE", min(60, len(PackedDataset(packed).triplets("train")))]
        settings += ["DATA.INPUT_SIZE", 32, "MODEL.WIDTH_MULT", 0.25, "SOLVER.WARMUP", 1, "SOLVER.EMA_DECAY", 0.99]
        settings += ["SOLVER.LENGTH", self._setting.iterations, "EVAL.PERIOD", 0, "CHECKPOINT.PERIOD", 0]
        settings += ["LOG.TENSORBOARD", "false", "DEVICE", "cpu", "SEED", self._seed, "NAME", name]
        settings += ["OUTPUT_DIR", self._folder / "result"]
        config = load_config(ROOT / "config" / "own_triplets.yaml", [*map(str, settings)])
        if train_run(config, recipe="own_triplets"):
            raise SystemExit(f"{name}: training failed")
        return self._folder / "result" / name

    def _accuracy(self, encoder: Encoder) -> float:
        table = self._all.triplets("test")
        rows, faces = np.unique(table.faces_T3, return_inverse=True)
        emb_ND = encoder.embed(np.asarray(self._all.faces_NHWC[rows]))
        found = triplet_accuracy(torch.from_numpy(emb_ND), faces.reshape(-1, 3), table.odd_T, table.type_T)
        return found.percent("ALL")


def share_needed(answers: tuple[int, ...], baseline: list[list[float]], other: list[list[float]]) -> dict[str, Any]:
    """Answers needed to reach what the baseline reaches, as a share of its own, by its number of answers.

    Interpolated between the measured numbers, on a logarithmic scale; the mean accuracies over the seeds. None where it
    is not reached.
    """
    mean_baseline, mean_other = np.mean(baseline, axis=0), np.mean(other, axis=0)
    best = np.maximum.accumulate(mean_other)
    found: dict[str, Any] = {}
    for number, goal in zip(answers[1:], mean_baseline[1:].tolist(), strict=True):
        reached = best >= goal
        if not reached.any():
            found[str(number)] = None
            continue
        place = int(reached.argmax())
        if place == 0:
            needed = float(answers[0])
        else:
            low, high = best[place - 1], best[place]
            part = (goal - low) / (high - low)
            needed = float(np.exp(np.interp(part, [0, 1], np.log(answers[place - 1 : place + 1]))))
        found[str(number)] = round(needed / number, 2)
    return found


def draw(answers: tuple[int, ...], curves: dict[str, list[list[float]]], path: Path) -> None:
    """Mean and band of least and largest over the seeds, against the number of answers."""
    figure, axes = new_figure(7, 4)
    for strategy, values in curves.items():
        percent_SA = np.array(values)
        axes.plot(answers, percent_SA.mean(axis=0), "o-", color=_COLOURS[strategy], label=strategy)
        axes.fill_between(answers, percent_SA.min(axis=0), percent_SA.max(axis=0), color=_COLOURS[strategy], alpha=0.2)
    axes.set_xscale("log")
    axes.set_xticks(answers, [f"{number:,}" for number in answers])
    axes.minorticks_off()
    axes.set_xlabel("answers of raters")
    axes.set_ylabel("triplet accuracy on other people, %")
    axes.legend(title="triplets")
    save_figure(figure, path)
