"""From a checkpoint to the ONE/TWO/THREE-CLASS table, the embeddings and a sheet of nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fecnet.config.node import Frozen, flatten, load_config
from fecnet.data.augment import center_view
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_meta, load_weights, run_of
from fecnet.engine.evaluator import TripletEvaluator
from fecnet.evaluation.baselines import MAX_LINEAR_TRIPLETS, linear_embedding, pixel_embedding, small_faces
from fecnet.evaluation.coverage import format_coverage
from fecnet.evaluation.neighbours import neighbour_sheet
from fecnet.evaluation.triplet_accuracy import ROWS, TripletAccuracy, format_table
from fecnet.modeling.build import build_model
from fecnet.utils import comm, rendezvous
from fecnet.utils.env import choose_device, code_hash, provenance
from fecnet.utils.files import replace_arrays, replace_json
from fecnet.utils.logging import say


def newest_run(folder: Path) -> Path:
    """The run in ``folder`` that saved last.

    Raises:
        ValueError: no run has saved yet.
    """
    saved = sorted(folder.glob("*/checkpoints/last"), key=lambda path: path.stat().st_mtime)
    if not saved:
        raise ValueError(f"{folder}: no run with a checkpoint here; train one with: python train.py")
    return saved[-1].parents[1]


def build_evaluator(
    cfg: Frozen, dataset: PackedDataset, splits: Sequence[str], device: torch.device, *, progress: bool = False
) -> TripletEvaluator:
    """Measures ``splits`` in the evaluation view of ``cfg``."""
    tables = {split: dataset.triplets(split) for split in splits}
    return TripletEvaluator(
        dataset.faces_NHWC,
        {split: (table.faces_T3, table.odd_T, table.type_T) for split, table in tables.items()},
        view=partial(center_view, input_size=cfg.DATA.INPUT_SIZE, crop=cfg.DATA.CROP),
        batch_size=cfg.EVAL.BATCH_SIZE,
        device=device,
        progress=progress,
    )


def infer_run(
    path: str,
    *,
    which: str = "best",
    splits: Sequence[str] = (),
    baselines: bool = False,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure a checkpoint, print the tables and write them beside it.

    Writes ``evaluation/triplets.json``, ``embeddings.npz`` (``rows`` of faces.npy and their ``embedding``) and
    ``neighbours.png`` into the run's folder.

    Args:
        path: a run or checkpoint folder; empty for the newest run.
        which: ``best`` or ``last``, for a run folder.
        splits: triplet splits; empty for ``DATA.REPORT_SPLITS``.
        baselines: measure pixels, a linear map and an untrained net; where they are known, also half of the raters
            against the other half, and an oracle with the true expressions.
        overrides: ``KEY VALUE`` pairs, such as ``DATA.PATH``.

    Returns:
        What ``triplets.json`` holds.

    Raises:
        ValueError: no checkpoint, or one that does not fit the data or the code.
    """
    if not path:
        path = str(newest_run(Path(load_config(overrides=overrides).OUTPUT_DIR)))
    checkpoint = find_checkpoint(path, which)
    meta = load_meta(checkpoint)
    cfg = load_config(overrides=overrides, base=meta["config"], base_name=f"{checkpoint}/meta.json")
    device = choose_device(cfg.DEVICE)
    comm.start(device, {**dict(flatten(cfg)), "checkpoint": checkpoint, "code": code_hash()})
    dataset = PackedDataset(cfg.DATA.PATH)
    rendezvous.check_same("data", {f"{dataset.path}: {key}": value for key, value in flatten(dataset.description)})
    _check_fit(checkpoint, meta, dataset)
    splits = list(splits) or list(cfg.DATA.REPORT_SPLITS)
    evaluator = build_evaluator(cfg, dataset, splits, device, progress=True)
    model = build_model(cfg, len(dataset.channels)).to(device)
    load_weights(checkpoint, model)

    embedding_ND = evaluator.embed(model)
    columns = {"fecnet": evaluator.judge(embedding_ND)}
    if baselines:
        columns |= _baselines(cfg, dataset, evaluator, device)
    result = _describe(checkpoint, meta, dataset, evaluator, columns, splits) | {"provenance": provenance(device)}
    _print(cfg, dataset, columns, splits)
    comm.from_main(lambda: _write(checkpoint, dataset, evaluator.rows, embedding_ND, result))
    return result


def _print(
    cfg: Frozen, dataset: PackedDataset, columns: dict[str, dict[str, TripletAccuracy]], splits: Sequence[str]
) -> None:
    for split in splits:
        selected = " (the split that selected the best checkpoint)" if split == cfg.DATA.EVAL_SPLITS[0] else ""
        say(f"\n{split}{selected}: per cent of triplets judged as people judged them")
        say(format_table({name: accuracy[split] for name, accuracy in columns.items()}))
    say("\n" + format_coverage(dataset.coverage))


def _write(
    checkpoint: Path, dataset: PackedDataset, rows: np.ndarray, embedding_ND: torch.Tensor, result: dict[str, Any]
) -> None:
    """Into the run's folder, or into that of a checkpoint which lies alone."""
    in_run = checkpoint.resolve().parent.name == "checkpoints"
    folder = (run_of(checkpoint) if in_run else checkpoint) / "evaluation"
    folder.mkdir(exist_ok=True)
    replace_json(folder / "triplets.json", result)
    replace_arrays(folder / "embeddings.npz", rows=rows, embedding=embedding_ND.numpy())
    neighbour_sheet(dataset.faces_NHWC, rows, embedding_ND, folder / "neighbours.png")
    say(f"{checkpoint}: written to {folder}: triplets.json, embeddings.npz, neighbours.png")


def _check_fit(checkpoint: Path, meta: dict[str, Any], dataset: PackedDataset) -> None:
    if meta["kind"] != "embedding":
        raise ValueError(f"{checkpoint}: kind '{meta['kind']}'; expected 'embedding'")
    for key in ("channels", "height", "width"):
        wanted, found = meta["preprocessing"][key], dataset.description[key]
        if wanted != found:
            raise ValueError(f"{dataset.path}: {key} {found}; {checkpoint} was trained on {wanted}")


def _baselines(
    cfg: Frozen, dataset: PackedDataset, evaluator: TripletEvaluator, device: torch.device
) -> dict[str, dict[str, TripletAccuracy]]:
    """What the data give away without a trained net, on the same triplets."""
    images = small_faces(dataset.faces_NHWC, evaluator.rows)
    table = dataset.triplets(cfg.DATA.TRAIN_SPLIT)
    some = slice(None, None, -(-len(table) // MAX_LINEAR_TRIPLETS))
    torch.manual_seed(cfg.SEED)
    untrained = build_model(cfg, len(dataset.channels)).to(device)
    train_rows, train_faces = np.unique(table.faces_T3[some], return_inverse=True)
    linear = linear_embedding(
        small_faces(dataset.faces_NHWC, train_rows),
        train_faces.reshape(-1, 3),
        table.odd_T[some],
        images,
        dim=cfg.MODEL.EMBEDDING_DIM,
    )
    found = {
        "untrained net": evaluator.judge(evaluator.embed(untrained)),
        "pixel distance": evaluator.judge(torch.from_numpy(pixel_embedding(images))),
        "linear map": evaluator.judge(torch.from_numpy(linear)),
    }
    half_raters = dataset.coverage.get("half_raters")  # measured where faces have rater votes
    if half_raters is not None:
        found["half the raters"] = {split: _from_coverage(half_raters[split]) for split in evaluator.splits}
    expression = dataset.array("expression")  # known where the faces were drawn
    if expression is not None:
        found["oracle"] = evaluator.judge(torch.from_numpy(expression[evaluator.rows]))
    return found


def _from_coverage(rows: dict[str, Any]) -> TripletAccuracy:
    """Half the raters against the other half, counted over several splits of the raters."""
    right = (rows["ONE"]["correct"], rows["TWO"]["correct"], rows["THREE"]["correct"])
    total = (rows["ONE"]["counted"], rows["TWO"]["counted"], rows["THREE"]["counted"])
    return TripletAccuracy(right, total)


def _describe(
    checkpoint: Path,
    meta: dict[str, Any],
    dataset: PackedDataset,
    evaluator: TripletEvaluator,
    columns: dict[str, dict[str, TripletAccuracy]],
    splits: Sequence[str],
) -> dict[str, Any]:
    return {
        "checkpoint": str(checkpoint),
        "iteration": meta["iteration"],
        "data": str(dataset.path),
        "faces_embedded": len(evaluator.rows),
        "splits": {split: {name: accuracy[split].to_dict() for name, accuracy in columns.items()} for split in splits},
        "rows": list(ROWS),
        "coverage": dataset.coverage,
    }
