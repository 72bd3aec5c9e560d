"""Expressions without the person: identity leak and accuracy of the deviation head, beside the plain embedding's.

Both nets start from the same weights, of face recognition, and are trained equally long on the same triplets of other
people than those they are tested on:

- ``synthetic``: the faces of ``make demo``; weights of a classifier of the training people, trained here.
- ``ckplus``: CK+ with held-out people (``fecnet prepare ckplus CKPLUS_FOLDER datasets/ckplus_people --grey
  --hold-out-subjects 0.1,0.3 --triplets 6000 --eval-triplets 3000``); weights of dlib's face recognition, in
  ``weights/dlib_face_recognition_resnet_model_v1.dat``, from the package face-recognition-models.

The leak is that of ``fecnet search measure``: of the ten nearest neighbours of each test face, those that show another
expression, and how many of them are of the same person, above what chance gives. Required: at most half of the plain
net's, and ALL not lower by more than a point.

Runs are kept in ``result/identity_leak``: finished ones are not trained again, others are resumed. What is absent is
passed over.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.demo import ROOT
from benchmarks.raters import QUICK_RUN, QUICK_SET
from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import load_encoder
from fecnet.engine.evaluator import TripletMetric
from fecnet.evaluation.comparison import compare_settings
from fecnet.evaluation.identity_leak import identity_leak
from fecnet.evaluation.retrieval import retrieval
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.prepare.writer import PackedWriter
from fecnet.studies.scheduler import PlannedRun, train_all

NEIGHBOURS = 10
REQUIRED_LEAK, REQUIRED_POINTS = 0.5, -1.0  # at most of the plain net's leak; at least, in ALL


@dataclass(frozen=True)
class Task:
    """A set of triplets of people it knows, and how both nets are trained on it.

    Attributes:
        name: of the folder of its runs.
        data: packed set with splits train, val and test.
        recipe: of both nets.
        overrides: of the recipe, the same for both.
        weights: face recognition.
    """

    name: str
    data: Path
    recipe: str
    overrides: tuple[str, ...]
    weights: Path


_NO_HIDDEN_LAYER = ("MODEL.FEATURE_DIM", "512")  # the default, where a head has none
HEADS: dict[str, tuple[str, ...]] = {
    "plain": ("MODEL.HEAD", "embedding", "MODEL.PROJECTION_ORDER", "1"),
    "deviation": ("MODEL.HEAD", "deviation", *_NO_HIDDEN_LAYER),
}
_COMMON = ("EVAL.PERIOD", "0", "EVAL.BEST_METRIC", "last", "CHECKPOINT.PERIOD", "0", "DATA.EVAL_SPLITS", "[val]")


def run(*, quick: bool) -> dict[str, Any]:
    """Both tasks with three seeds; a quick run is of one seed and three iterations on few synthetic faces."""
    if quick:
        with tempfile.TemporaryDirectory() as temporary:
            data = Path(temporary) / "data"
            prepare_synthetic(data, progress=False, **QUICK_SET)
            return {"synthetic": measure(synthetic(data, Path(temporary), QUICK_RUN), Path(temporary), seeds=[0])}
    folder = ROOT / "result" / "identity_leak"
    found = {"synthetic": measure(synthetic(ROOT / "datasets" / "demo", folder, ()), folder, seeds=[0, 1, 2])}
    if CKPLUS.weights.is_file() and (CKPLUS.data / "dataset.json").is_file():
        found["ckplus"] = measure(CKPLUS, folder, seeds=[0, 1, 2])
    else:
        print(f"{CKPLUS.data} or {CKPLUS.weights} is absent: not measured")
    return found


CKPLUS = Task(
    "ckplus",
    ROOT / "datasets" / "ckplus_people",
    "fec_deviation",
    (
        *("MODEL.BACKBONE", "dlib_resnet", "DATA.INPUT_SIZE", "80", "DATA.HOLD_OUT", "0"),
        *("DATA.BALANCE_TRIPLET_TYPES", "false", "MODEL.PRETRAINED_ON", "dlib's faces"),
        *("SOLVER.LENGTH", "150", "SOLVER.WARMUP", "15", "SOLVER.BATCH_SIZE", "30"),
    ),
    ROOT / "weights" / "dlib_face_recognition_resnet_model_v1.dat",
)


def synthetic(data: Path, folder: Path, options: Sequence[str]) -> Task:
    """The task on synthetic faces, after a classifier of the training people was trained for its weights."""
    people = folder / "people"
    if not people.exists():
        write_people(PackedDataset(data), people)
    net = (
        "MODEL.HEAD",
        "classifier",
        "LOSS.CRITERIA",
        "[cross_entropy]",
        "LOSS.MARGIN_ONE_CLASS",
        "0.1",
        *_NO_HIDDEN_LAYER,
    )
    length = ("SOLVER.LENGTH", "1400", "SOLVER.BATCH_SIZE", "180")
    of_people = (*_COMMON, *of_set(people), "DATA.LABELS", "people")
    recognition = PlannedRun("recognition", (*of_people, *net, *length, *options))
    train_all(ROOT / "config" / "demo.yaml", [recognition], folder)
    weights = next((folder / "recognition" / "checkpoints").glob("*/model.safetensors"))
    overrides = ("MODEL.PRETRAINED_ON", "the training people", "SOLVER.LENGTH", "700", *options)
    return Task("synthetic", data, "demo", overrides, weights)


def of_set(data: Path) -> tuple[str, ...]:
    """The settings that train on it."""
    return ("DATA.PATH", str(data), "DATA.SOURCE", "")


def write_people(dataset: PackedDataset, path: Path) -> None:
    """Write the training faces as a set whose classes are its people; an eighth of each person's faces is ``val``."""
    rows = list(face_rows(dataset.path))
    faces_M = dataset.labels("synthetic", "train").faces_M
    people, label_M = np.unique([rows[row]["subject"] for row in faces_M], return_inverse=True)
    _, height, width, _ = dataset.faces_NHWC.shape
    shape = {"num_faces": len(faces_M), "height": height, "width": width}
    held_M = np.arange(len(faces_M)) % 8 == 0
    with PackedWriter(path, **shape, channels=dataset.description["channels"]) as writer:
        writer.add_faces(dataset.faces_NHWC[faces_M], [rows[row] for row in faces_M])
        for split, chosen_M in (("train", ~held_M), ("val", held_M)):
            place_M = np.flatnonzero(chosen_M)
            writer.add_labels("people", split, classes=list(people), faces_M=place_M, label_M=label_M[place_M])


def measure(task: Task, folder: Path, *, seeds: Sequence[int]) -> dict[str, Any]:
    """Leak and accuracy on the test split by head and seed, and their differences.

    Args:
        task: what is learned.
        folder: of the runs.
        seeds: of the nets and the order of triplets.
    """
    start = ("MODEL.PRETRAINED", str(task.weights))
    train_all(
        ROOT / "config" / f"{task.recipe}.yaml",
        [
            PlannedRun(
                f"{name}-{seed}", (*_COMMON, *of_set(task.data), *start, *task.overrides, *own, "SEED", str(seed))
            )
            for seed in seeds
            for name, own in HEADS.items()
        ],
        folder / task.name,
    )
    dataset = PackedDataset(task.data)
    found = {name: {seed: judge(folder / task.name / f"{name}-{seed}", dataset) for seed in seeds} for name in HEADS}
    mean = {
        name: {key: round(statistics.fmean(one[key] for one in of.values()), 3) for key in of[seeds[0]]}
        for name, of in found.items()
    }
    told = {
        "mean": mean,
        "by_seed": {name: list(of.values()) for name, of in found.items()},
        "leak_ratio": round(mean["deviation"]["leak"] / mean["plain"]["leak"], 3) if mean["plain"]["leak"] else None,
        "differences": [
            difference.to_dict()
            for difference in compare_settings(
                {name: {seed: one["percent"] for seed, one in of.items()} for name, of in found.items()}
            )
        ],
        "required_leak": REQUIRED_LEAK,
        "required_points": REQUIRED_POINTS,
    }
    print(json.dumps({task.name: told}, indent=1))
    return told


def judge(run: Path, dataset: PackedDataset) -> dict[str, float]:
    """ALL on the test triplets, and what its neighbours share, in %; ``leak`` is the excess over chance."""
    encoder = load_encoder(run, checkpoint="last", device="cpu")
    metric = TripletMetric({"test": dataset.triplets("test")})
    embedding_ND = encoder.encode(dataset.faces_NHWC[metric.rows]).outputs["embedding"]
    percent = metric.measure(torch.from_numpy(embedding_ND))["test"].percent()
    (label_set,) = dataset.description["label_sets"]
    table = dataset.labels(label_set, "test")
    labelled_ND = encoder.encode(dataset.faces_NHWC[table.faces_M]).outputs["embedding"]
    rows = list(face_rows(dataset.path))
    subject_M = np.array([rows[row]["subject"] for row in table.faces_M])
    query_M = np.arange(len(subject_M))
    near = retrieval(labelled_ND, table.label_M, table.classes, query_M, num=NEIGHBOURS, subject_N=subject_M)
    share = identity_leak(near.query_Q, near.alike_Q22, table.label_M, subject_M)["subject_in_other_classes"]
    same, chance = share.percent or 0.0, share.chance or 0.0
    found = {"percent": percent, "same_person": same, "chance": chance, "leak": same - chance}
    return {name: round(value, 3) for name, value in found.items()}
