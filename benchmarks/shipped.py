"""Our nets beside every expression model that ships its weights in a package, on the same held-out faces of FER2013.

``python -m benchmarks shipped [--net RUN_OR_NET …] [--split SPLIT] [--opponents FOLDER] [--ckplus]``. Opponents
(``benchmarks/opponents``) that are not installed are passed over, with the reason. Our nets are those in the package,
or those named.

- *triplets*: agreement (ALL) on 6,000 triplets of the split, an equal share of each type, by the distance between our
  embeddings; the others have none: between the square roots of their probabilities, which is Hellinger's distance.
  *triplets by classes* takes the square roots of ours too.
- *ferplus*: accuracy on faces of which one of FERPlus' eight classes has more than half of the votes. Who does not
  know contempt is wrong on it.
- *fer*: accuracy on FER2013's own labels, seven classes, by the most probable of these: contempt is left out.
- *without copies*: the same without the faces that are also Training rows; the triplets have none of them.
- *faces per s*: on one thread, from stored faces of 48×48 to probabilities, in the runtime named; of the processor's
  time, so that other load does not count, the best round of 64 faces. A package that must find the faces takes longer.

A picture of FER2013 is the cut that each package makes around a face, so it is fed whole; what follows the cut (size,
colour, scale, order of classes) is as in the package's code. Only ``private_test`` is recorded.

A missing data set must be prepared first: ``fecnet prepare ferplus FER2013_FOLDER datasets/ferplus``.

Shape suffixes: N faces, M labelled faces, T triplets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.card import Split, gather_split, triplets_right
from benchmarks.demo import ROOT
from benchmarks.shipped_ckplus import measure_ckplus
from benchmarks.shipped_models import Answers, Model, opponents_in, our_model
from fecnet.data.label_splits import select
from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.evaluation.classification import class_accuracy
from fecnet.nets.shipped import shipped_names
from fecnet.structures import TripletType
from fecnet.utils.table import align_columns, decimal

RECORDED = "private_test"
LABEL_SETS = ("ferplus", "fer")
NUM_TRIPLETS = 6000
CONTEMPT = "ferplus: wrong where a model does not know it; fer: left out"
_FEW = 8  # faces of a quick run


def run(
    *,
    quick: bool,
    nets: Sequence[str] = (),
    split: str = RECORDED,
    opponents: str = "datasets/opponents",
    ckplus: bool = False,
) -> dict[str, Any]:
    """Measure; without the data set a quick run skips it, and with it each model is asked for some faces only.

    Args:
        quick: see above.
        nets: runs, checkpoints or shipped nets; none for all shipped ones.
        split: of the data set; what is measured on another one than ``private_test`` is printed only.
        opponents: folder that the packages are installed in.
        ckplus: measure the models on CK+ too.
    """
    path = ROOT / "datasets" / "ferplus"
    if not (path / "dataset.json").is_file():
        if quick:
            print("datasets/ferplus is absent: not measured")
            return {}
        raise SystemExit("datasets/ferplus is absent: fecnet prepare ferplus FER2013_FOLDER datasets/ferplus")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        models, absent = opponents_in(Path(opponents))
        models = [*map(our_model, nets or shipped_names()), *models]
        for name, reason in absent.items():
            print(f"{name}: not measured: {reason}")
        held = read_split(PackedDataset(path), split)
        if quick:
            for model in models:
                print(f"{model.name}: {len(model.answer(held.faces_NHWC[:_FEW]).embedding_ND)} faces")
            return {}
        measured = measure(models, held) | {"not_measured": absent, "threads": 1}
        if ckplus:
            measured["ckplus"] = measure_ckplus(models, ROOT / "datasets" / "ckplus")
    finally:
        torch.set_num_threads(threads)
    return measured if split == RECORDED else {}


def read_split(dataset: PackedDataset, name: str) -> Split:
    """The faces, labels and some triplets of a split."""
    labels = {label_set: dataset.labels(label_set, name) for label_set in LABEL_SETS}
    labels["ferplus"] = with_majority(labels["ferplus"])
    return gather_split(dataset, name, some_triplets(dataset.triplets(name), NUM_TRIPLETS), labels)


def with_majority(table: LabelTable) -> LabelTable:
    """The faces of which one class has more than half of the votes."""
    shares_MK = table.distribution_MK
    return table if shares_MK is None else select(table, shares_MK.max(axis=1) > 0.5)


def some_triplets(table: TripletTable, num: int) -> TripletTable:
    """The first triplets of each type, an equal share; triplets of a type are in random order."""
    of_type = [np.flatnonzero(table.type_T == kind)[: num // len(TripletType)] for kind in TripletType]
    some = np.concatenate(of_type)
    return TripletTable(table.faces_T3[some], table.odd_T[some], table.type_T[some], table.votes_T3[some])


def measure(models: Sequence[Model], split: Split) -> dict[str, Any]:
    """The table, printed and returned."""
    everything_N = np.ones(len(split.rows_N), bool)
    rows = {}
    for model in models:
        answers = model.answer(split.faces_NHWC)
        classes = {name: class_percent(split, name, answers, everything_N) for name in LABEL_SETS}
        others = {f"{name}_without_copies": class_percent(split, name, answers, ~split.copy_N) for name in LABEL_SETS}
        rows[model.name] = {
            "triplets": _triplets(split, answers.embedding_ND),
            "triplets_by_classes": _triplets(split, answers.roots()),
            **classes,
            **others,
            "faces_per_s": model.faces_per_s(split.faces_NHWC),
            **model.about,
        }
        print(f"{model.name}: {rows[model.name]}", flush=True)
    if rows:
        print(table_text(rows))
    copies = {
        name: int(split.copy_N[np.searchsorted(split.rows_N, table.faces_M)].sum())
        for name, table in split.labels.items()
    }
    return {
        "split": split.name,
        "triplets": len(split.triplets.odd_T),
        "triplets_with_copies": int(split.copy_N[np.searchsorted(split.rows_N, split.triplets.faces_T3)].any(1).sum()),
        "faces": {name: len(table) for name, table in split.labels.items()},
        "copies": copies,
        "contempt": CONTEMPT,
        "models": rows,
    }


def table_text(rows: dict[str, dict[str, Any]]) -> str:
    """The table of all models, or of those on CK+."""
    columns = list(next(iter(rows.values())))
    cells = [
        [name, *(decimal(row[k]) if isinstance(row[k], float) else row[k] for k in columns)]
        for name, row in rows.items()
    ]
    return align_columns([["", *(column.replace("_", " ") for column in columns)], *cells])


def class_percent(split: Split, label_set: str, answers: Answers, keep_N: np.ndarray) -> float | None:
    """Accuracy over the labelled faces that are kept, %, by the most probable class of the set."""
    table = split.labels[label_set]
    place_M = np.searchsorted(split.rows_N, table.faces_M)
    keep_M = keep_N[place_M]
    probability_MK = answers.probability(label_set, table.classes)[place_M[keep_M]]
    return class_accuracy(torch.from_numpy(probability_MK), table.label_M[keep_M], table.classes).metrics()["accuracy"]


def _triplets(split: Split, embedding_ND: np.ndarray) -> float | None:
    everything_N = np.ones(len(split.rows_N), bool)
    return triplets_right(split, {"embedding": embedding_ND}, everything_N).metrics()["ALL"]
