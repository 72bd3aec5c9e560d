"""Ships a trained net: ``python -m benchmarks ship RUN NAME [--data DATASET]`` writes ``fecnet/nets/NAME/``.

The weights of the run in half precision, which must say what the run says; the measured record; the model card made of
it; the checksums. ``python -m benchmarks cards`` makes the cards of all shipped nets anew from their records.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.card import Split, classes_right, measure, outputs_of, read_split, triplets_right
from benchmarks.card_text import card_text
from benchmarks.record import seconds
from benchmarks.sample import Sample, choose_sample, count_right, write_sample
from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import load_encoder
from fecnet.encoder.encoder import Encoder
from fecnet.encoder.saved_net import open_saved_net
from fecnet.engine.checkpoint import load_info
from fecnet.engine.description import INFO_FILE, CheckpointInfo, parse_info
from fecnet.evaluation.triplet_accuracy import ROWS
from fecnet.export.agreement import Arrays, largest_differences
from fecnet.export.export import export_run
from fecnet.faces.recipe import FaceRecipe
from fecnet.modeling.cost import count_parameters
from fecnet.nets import shipped
from fecnet.prepare.labelled.fer2013 import IMAGES_SHA256
from fecnet.prepare.measured_square import with_square
from fecnet.utils.env import now, provenance
from fecnet.utils.errors import UserError
from fecnet.utils.files import replace_json, replace_text, whole_or_absent

POINTS = 0.2  # that a triplet row or class accuracy may differ in half precision
_FOLDERS = re.compile(r"(?<=[\s\"])/[^\s\"]*/")  # of an absolute path, all but its last part
_WEIGHTS, _README = "model.safetensors", "README.md"
ABOUT = {  # by the hash that a data set names as its source: data, licence, and both in full
    IMAGES_SHA256: (
        "FER2013 with FERPlus votes",
        "MIT; licence of the training pictures unclear",
        "Trained on FER2013 (arXiv:1307.0414): 35,887 grey faces of 48×48 pixels, found by a web search, with the ten\n"
        "votes for each face of FERPlus (arXiv:1608.01041, MIT licence). **The licence of the pictures is unclear**:\n"
        "nobody named their owners or asked them, and none of the pictures is in this package. What we hold in the\n"
        "weights is under fecnet's MIT licence; whether training on such pictures limits their use is for you to\n"
        "judge under your law.",
    ),
}


def ship(run: str, name: str, *, data: str = "", checkpoint: str = "best", overwrite: bool = False) -> Path:
    """Write a shipped net.

    Args:
        run: run or checkpoint folder of a net with an embedding and classes.
        name: of the net.
        data: the packed set to measure on; empty for that of the run.
        checkpoint: ``best`` or ``last``.
        overwrite: replace a net of that name.

    Returns:
        Its folder.

    Raises:
        UserError: the net exists, has no embedding or classes, or was trained on data that ``ABOUT`` does not know; or
            half precision changes its accuracy.
    """
    target = shipped.NETS / name
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; use --overwrite to replace it")
    full = load_encoder(run, checkpoint=checkpoint, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        made = export_run(run, "half", output=f"{folder}/{name}", checkpoint=checkpoint, check=data).path
        path = data or load_info(made).settings().DATA.PATH
        info = _with_square(_without_paths(load_info(made), Path(path)), PackedDataset(path))
        record, sample = _record(name, info, full, load_encoder(made, device="cpu"), path)
        with whole_or_absent(target) as place:
            place.mkdir()
            (place / _WEIGHTS).write_bytes((made / _WEIGHTS).read_bytes())
            replace_json(place / INFO_FILE, info.to_dict())
            record["megabytes"] = round((place / _WEIGHTS).stat().st_size / 1e6, 3)
            replace_json(place / shipped.CARD, record)
            write_sample(place / shipped.SAMPLE, sample)
            replace_text(place / _README, card_text(record, info))
            shipped.write_sums(place, [_WEIGHTS, INFO_FILE, shipped.CARD, shipped.SAMPLE])
    return target


def write_cards() -> list[Path]:
    """Make the model cards of all shipped nets anew from their records; returns the files."""
    files = []
    for name in shipped.shipped_names():
        folder = shipped.shipped_net(name)
        replace_text(folder / _README, card_text(shipped.read_card(name), load_info(folder)))
        files.append(folder / _README)
    return files


def _record(name: str, info: CheckpointInfo, full: Encoder, half: Encoder, data: str) -> tuple[dict[str, Any], Sample]:
    """All that is measured of a net, and the sample that a test measures again."""
    short, licence, about = _about(info)
    dataset, cfg = PackedDataset(data), info.settings()
    splits = [read_split(dataset, info, split) for split in cfg.DATA.REPORT_SPLITS]
    halves = [outputs_of(half, split.faces_NHWC) for split in splits]
    fulls = [outputs_of(full, split.faces_NHWC) for split in splits]
    differences = [largest_differences(*pair) for pair in zip(fulls, halves, strict=True)]
    points = max(_points(full, *pair) for pair in zip(splits, fulls, halves, strict=True))
    if not points <= POINTS:
        raise UserError(f"{name}: half precision changes an accuracy by {points:.2f} points; allowed: {POINTS:g}")
    measured = {split.name: measure(half, split, outputs) for split, outputs in zip(splits, halves, strict=True)}
    last, label_set = splits[-1], cfg.DATA.LABELS
    sample = choose_sample(last, label_set)
    machine = provenance()
    everything = measured[last.name]["conditions"]["all faces"]
    return {
        "name": name,
        "megabytes": 0.0,
        "parameters": count_parameters(open_saved_net(half.name).net),
        "accuracy": {
            "split": last.name,
            "triplets": everything["triplets"]["percent"],
            "classes": everything[label_set]["percent"],
        },
        "faces_per_s": _faces_per_s(half, last),
        "speed_on": f"{machine['processor']}, {torch.get_num_threads()} threads",
        "data": short,
        "licence": licence,
        "about": about,
        "selected_by": f"{info.selection.figure} of {info.selection.split}" if info.selection else "",
        "half": {
            "largest_difference": {key: max(each[key] for each in differences) for key in differences[0]},
            "points": points,
            "allowed": POINTS,
        },
        "sample": count_right(half, sample, dataset.faces_NHWC)._asdict(),
        "measured": measured,
        "command": f"python -m benchmarks ship result/{info.export.source.split(',')[0] if info.export else ''} {name}",
        "date": now(),
        "machine": machine,
    }, sample


def _about(info: CheckpointInfo) -> tuple[str, str, str]:
    if info.kind != "joint":
        raise UserError(f"{info.origin}: kind '{info.kind}'; allowed: joint, a net with an embedding and classes")
    known = [ABOUT[source] for source in info.data.sources.values() if source in ABOUT]
    if len(known) != 1 or len(info.data.sources) != 1:
        raise UserError(
            f"{info.origin}: trained on {', '.join(info.data.sources.values()) or 'data of no source'}; allowed: data "
            "whose licence this command states (ABOUT)"
        )
    return known[0]


def _points(encoder: Encoder, split: Split, full: Arrays, half: Arrays) -> float:
    """The largest difference of a triplet row or class accuracy, in points."""
    both = [_accuracies(encoder, split, outputs) for outputs in (full, half)]
    return max(abs(both[0][key] - both[1][key]) for key in both[0])


def _accuracies(encoder: Encoder, split: Split, outputs: Arrays) -> Mapping[str, float]:
    everything_N = split.rows_N >= 0
    triplets = triplets_right(split, outputs, everything_N)
    found = {row: triplets.percent(row) for row in ROWS}
    for name in split.labels:
        found[name] = classes_right(encoder, split, name, outputs, everything_N).metrics()["accuracy"] or 0.0
    return found


def _faces_per_s(encoder: Encoder, split: Split) -> float:
    """The best of three times over a thousand stored faces."""
    faces_NHWC = split.faces_NHWC[:1000]
    return round(len(faces_NHWC) / min(seconds(lambda: outputs_of(encoder, faces_NHWC)) for _ in range(3)), 1)


def _without_paths(info: CheckpointInfo, data: Path) -> CheckpointInfo:
    """The description without the folders of this machine: data and runs are where a checkout has them."""
    cfg, text = info.settings(), json.dumps(info.to_dict())
    places = {cfg.DATA.PATH: f"datasets/{info.data.name}", str(data): f"datasets/{data.name}", cfg.OUTPUT_DIR: "result"}
    for folder, place in places.items():
        if Path(folder).is_absolute():
            text = text.replace(json.dumps(folder)[1:-1], place)
    return parse_info(_FOLDERS.sub("", text), info.origin)


def _with_square(info: CheckpointInfo, dataset: PackedDataset) -> CheckpointInfo:
    """The description with how photos are cut, where the data set was prepared before that was measured."""
    recipe = FaceRecipe.from_dict(info.preprocessing.faces)
    if recipe.square is None:
        recipe = with_square(recipe, dataset.faces_NHWC)
    return replace(info, preprocessing=replace(info.preprocessing, faces=recipe.to_dict()))


def main(arguments: Sequence[str]) -> int:
    """Ship a net; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ship", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run or checkpoint folder")
    parser.add_argument("name", metavar="NAME", help="such as fecnet-base")
    parser.add_argument("--data", default="", metavar="DATASET", help="packed data set (default: that of the training)")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--overwrite", action="store_true", help="replace a net of that name")
    options = parser.parse_args(arguments)
    print(ship(**vars(options)))
    return 0
