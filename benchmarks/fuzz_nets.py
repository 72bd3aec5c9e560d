"""Fuzzed: packed sets, runs, weights, bundles, graphs, indexes and studies, from the stored formats."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.fuzz_mutations import Files
from benchmarks.fuzz_target import FORMATS, Target, check, stored
from fecnet.data.face_rows import face_rows
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_answers import read_rater_answers
from fecnet.data.verify import verify_dataset
from fecnet.encoder.build import load_encoder
from fecnet.encoder.saved_net import open_saved_net
from fecnet.engine.checkpoint import load_info
from fecnet.engine.checkpointer import load_trainer, load_weights
from fecnet.modeling.models import ExpressionNet
from fecnet.modeling.weight_files import read_state_dicts
from fecnet.rate.overview import format_overview, overview_of
from fecnet.rate.study import Study
from fecnet.rate.votes import read_answers, read_votes
from fecnet.runs.listing import describe_run
from fecnet.runs.run import Run
from fecnet.search.index import FAISS, Index
from fecnet.utils.errors import UserError

_CHECKPOINT = "nets-1/run/checkpoints/2"
_KEYS = (b"train", b"val", b"mood", b"grey", b"R", b"format", b"flat", b"hnsw", b"auto", b"embedding", b"classes")


def _mended(files: Files, description: str, but: tuple[str, ...] = ()) -> Files:
    """The files with the hashes and sizes of all of them in their description, where it can still be read."""
    try:
        said = json.loads(files[description])
        for name, about in said["files"].items():
            if name in files and name not in but:
                about |= {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
    except (ValueError, KeyError, TypeError, AttributeError):
        return files
    return files | {description: json.dumps(said).encode()}


def _read_packed(folder: Path) -> None:
    dataset, problems = PackedDataset(folder), []
    for read in (
        lambda: [dataset.triplets(split) for split in ("train", "val")],
        lambda: [dataset.labels("mood", split) for split in ("train", "val")],
        lambda: read_rater_answers(dataset, "val"),
        lambda: dataset.array("expression"),
        lambda: list(face_rows(folder)),
    ):
        try:
            read()
        except UserError as error:
            problems.append(error)
    faults = verify_dataset(folder).faults
    check(bool(faults) or not problems, f"verified, and yet refused: {problems[:1]}")
    if problems or faults:
        raise problems[0] if problems else UserError(faults[0])


def _read_run(folder: Path) -> None:
    run = Run(folder)
    describe_run(run)
    for info in (run.last, run.best):
        check(bool(info.label_sets) == bool(info.classes), "classes without a label set")
    check(len(run.curves) >= 0 and bool(run.config), "no settings")


def _read_meta(folder: Path) -> None:
    check(bool(load_info(folder).settings()), "no settings")


def _read_trainer(folder: Path) -> None:
    check(bool(load_trainer(folder)), "no state")


@cache
def _net() -> ExpressionNet:
    return open_saved_net(FORMATS / _CHECKPOINT).net


def _read_weights(folder: Path) -> None:
    load_weights(folder, _net())
    check(all(bool(value.isfinite().all()) for value in _net().state_dict().values()), "weights that are not finite")


def _read_pretrained(folder: Path) -> None:
    for name in ("weights.pth", "weights.safetensors"):
        check(len(read_state_dicts(folder / name)) > 0, "no weights")


def _pretrained() -> list[Files]:
    held = io.BytesIO()
    torch.save({"epoch": 3, "state_dict": {"conv.weight": torch.ones(2, 1, 3, 3), "fc.bias": torch.zeros(4)}}, held)
    return [{"weights.pth": held.getvalue(), "weights.safetensors": stored(_CHECKPOINT)["model.safetensors"]}]


def _read_net(path: Path) -> None:
    encoder = load_encoder(path, device="cpu")
    found = encoder.encode(np.full((1, *encoder.face_shape), 99, np.uint8))
    check(all(bool(np.isfinite(value).all()) for value in found.outputs.values()), "outputs that are not finite")


def _read_index(folder: Path) -> None:
    index = Index(folder)
    found = index.search(index.vector_ND[:3], 2)
    check(bool(((found.row_QK >= 0) & (found.row_QK < len(index))).all()), f"rows {found.row_QK.tolist()}")
    check(bool(np.isfinite(found.distance_QK).all()), "distances that are not finite")
    check(sum(1 for _ in index.every_name()) == len(index), "names")


def _read_study(folder: Path) -> None:
    with Study(folder) as study:
        answers = read_answers(study)
        check(bool((np.abs(answers.choice_A) <= 2).all()), f"choices {answers.choice_A.tolist()}")
        read_votes(study)
        format_overview(overview_of(study))


def net_targets() -> Iterator[Target]:
    """Those of this file."""

    def mend_packed(files: Files) -> Files:
        return _mended(files, "dataset.json")

    def mend_index(files: Files) -> Files:
        return _mended(files, "index.json", (FAISS,))  # a damaged one is never given to faiss

    checkpoint, run = stored(_CHECKPOINT), stored("nets-1/run")
    described = {"meta.json": checkpoint["meta.json"]}
    yield Target("packed", lambda: [stored("packed-1")], _read_packed, _KEYS, mend=mend_packed, weight=12)
    yield Target("meta", lambda: [described], _read_meta, _KEYS, lines=True, weight=8)
    yield Target("run", lambda: [run], _read_run, _KEYS, lines=True)
    trainer = {"trainer.pt": checkpoint["trainer.pt"]}
    yield Target("trainer", lambda: [trainer], _read_trainer)
    weights = {"model.safetensors": checkpoint["model.safetensors"]}
    yield Target("weights", lambda: [weights], _read_weights)
    yield Target("pretrained", _pretrained, _read_pretrained)
    yield Target(
        "bundle", lambda: [stored(f"nets-1/{kind}") for kind in ("bundle", "half")], _read_net, _KEYS, lines=True
    )
    graph = stored("nets-1/net.onnx")
    yield Target("onnx", lambda: [graph], lambda folder: _read_net(folder / "net.onnx"), _KEYS, lines=True)
    yield Target("index", lambda: [stored("index-1")], _read_index, _KEYS, mend=mend_index)
    yield Target("study", lambda: [stored("study-1")], _read_study, writes=True)
