"""Google FEC as its page says it, with made-up photos: each command killed at random moments, and once left alone.

The annotation files are of full size, 450,000 and 50,000 rows with six to twelve raters who err at a known rate, on
87,500 photos with 156,000 faces. The photos lie on hosts of this machine. 30,000 are served: made from the annotated
photos of a folder (FECNET_FACES names it; without it from drawn faces) by crop, scale, turn and light. A third of them
is dead, slow, moved or no photo; all others are gone. The commands are those of ``docs/tutorials/fec.md``, verbatim:
photos, faces, training on three processes, evaluation, report, search. What they need here is added: private addresses
are allowed, and the net is small. Everything is done twice, in ``whole`` undisturbed, in ``killed`` with every stage
ended by SIGKILL at random moments and started again with the same command.

It measures seconds and memory of each stage; that every row, photo and triplet is kept or counted under the reason
that the files and hosts gave it; the table of accuracies; and that both folders end with equal data sets, weights,
tables and neighbours, to the bit. Accuracies say only that something was learned: the faces of ``train`` and ``test``
have the same few sources.

The parts stay in ``result/rehearsal``, 30 GB: the same command goes on after the last finished stage. With ``--rows N``
the files are smaller in proportion, all photos are served, so that triplets are left, and nothing is recorded.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.faces import DATA
from benchmarks.rehearsal_annotations import RATER_ERROR, FacesOfPhotos, Written, write_annotations
from benchmarks.rehearsal_check import check_counts, equal_ends, table_of
from benchmarks.rehearsal_photos import Sources, boxes_of, open_sources, photo_file, tiles_of, write_photos
from benchmarks.rehearsal_server import addresses, expected, free_ports, has_file, kinds_of, serving
from benchmarks.rehearsal_stages import Lane, Stage
from benchmarks.survive import ROOT
from fecnet.utils.files import replace_json

FOLDER = ROOT / "result" / "rehearsal"
ROWS, TEST_ROWS, PHOTOS, SERVED = 450_000, 50_000, 87_500, 30_000
RUN = "result/fec_code_resnet18"
_NAME = "faceexp-comparison-data-{}-public.csv"


@dataclass(frozen=True)
class Plan:
    """How large, how long, how often.

    Attributes:
        rows: of the training file.
        test_rows: of the test file.
        photos: whose addresses are in the files.
        served: of these.
        iterations: of training.
        batch: its triplets, the recipe's 90 unless in quick runs.
        kills: of downloading, preparing and training; other stages are killed once.
        prepare: words added to ``prepare fec``, besides those for private addresses.
        seed: of everything.
    """

    rows: int = ROWS
    test_rows: int = TEST_ROWS
    photos: int = PHOTOS
    served: int = SERVED
    iterations: int = 2000
    batch: int = 90
    kills: int = 4
    prepare: tuple[str, ...] = ()
    seed: int = 0


def run(*, quick: bool, rows: int = ROWS) -> dict[str, Any]:
    """Both folders, and what they say together; a quick run is of drawn faces without a detector, and keeps nothing."""
    if quick:
        small = ("--timeout", "2", "--detector", "none", "--size", "48", "--workers", "1")
        with tempfile.TemporaryDirectory() as temporary:
            return measure(
                Path(temporary), Plan(600, 150, 260, 240, iterations=16, batch=12, kills=1, prepare=small), None
            )
    photos: Path | None = Path(os.environ.get("FECNET_FACES", DATA / "faces"))
    if photos is not None and not (photos / "annotations.json").is_file():
        print(f"{photos} is absent: the faces are drawn, and cut by their boxes")
        photos = None
    drawn = ("--no-face", "box") if photos is None else ()
    if rows == ROWS:
        return measure(FOLDER, Plan(prepare=drawn), photos)
    photos_of, test_rows = round(PHOTOS * rows / ROWS), round(TEST_ROWS * rows / ROWS)
    plan = Plan(rows, test_rows, photos_of, photos_of, iterations=200, kills=2, prepare=(*drawn, "--timeout", "3"))
    measure(FOLDER.with_name(f"rehearsal-{rows}"), plan, photos)
    return {}


def measure(folder: Path, plan: Plan, photos: Path | None) -> dict[str, Any]:
    """All stages in both folders; stops with an error at the first thing that is not as it must be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the commands would ignore it where a shell's & does
    sources, ports = open_sources(photos), _kept_ports(folder, plan)
    kinds = kinds_of(plan.photos, plan.served, plan.seed)
    written = _write_files(folder / "FEC_FOLDER", plan, sources, addresses(kinds, ports))
    served = [number for number, kind in enumerate(kinds) if has_file(kind)]
    write_photos(folder / "photos", served, sources, plan.seed)
    whole, killed = (Lane(folder / name, plan.seed) for name in ("whole", "killed"))
    for lane in (whole, killed):
        shutil.copytree(folder / "FEC_FOLDER", lane.folder / "FEC_FOLDER", dirs_exist_ok=True)
        shutil.copy(photo_file(folder / "photos", served[0]), lane.folder / "me.jpg")
    with serving(folder / "photos", ports):
        told = [_run_both(whole, killed, stage) for stage in stages(plan)]
    used = written["train"].photos | written["test"].photos
    measured = {
        "plan": asdict(plan),
        "faces": {"from": sources.kind, "sources": len(sources.images), "rater_error": RATER_ERROR},
        "hours": round(sum(each["seconds"] + each["killed_seconds"] for each in told) / 3600, 2),
        "stages": {each.pop("stage"): each for each in told},
        **check_counts(killed.folder / "datasets" / "fec", written, expected(kinds, used)),
        "percent": table_of(killed.folder / RUN),
        "equal": equal_ends(whole.folder, killed.folder, RUN),
    }
    print(json.dumps(measured))
    return measured


def stages(plan: Plan) -> list[Stage]:
    """The commands of the page in their order."""
    prepare = ("--allow-private", *plan.prepare)
    named = (*prepare, "--placeholder", "datasets/fec.work/download/repeated/*")
    packed = ("datasets/fec", "datasets/fec.work/faces-*")
    length, index = plan.iterations, "result/fec_faces"
    small = {"DATA.INPUT_SIZE": 48, "MODEL.WIDTH_MULT": 0.25, "SOLVER.BATCH_SIZE": plan.batch, "DEVICE": "cpu"}
    small |= {
        "SOLVER.BASE_LR": 1e-3,
        "SOLVER.LENGTH": length,
        "SOLVER.MILESTONES": f"[{length * 8 // 10}, {length * 9 // 10}]",
    }
    small |= {"EVAL.PERIOD": length // 4, "CHECKPOINT.PERIOD": max(1, length // 40)}
    net = tuple(str(word) for pair in small.items() for word in pair)
    pack, search = "fecnet prepare fec FEC_FOLDER datasets/fec", "fecnet search"
    train = "torchrun --standalone --nproc_per_node 3 -m fecnet train fec_code_resnet18 --resume auto"
    held_out = "DATA.HOLD_OUT 0.02 DATA.EVAL_SPLITS [hold_out] DATA.REPORT_SPLITS [test]"
    return [
        Stage("download", pack, prepare, plan.kills, removed=("datasets/fec*",), until="sent the same picture"),
        Stage("prepare", pack, named, plan.kills, removed=packed, made="datasets/fec/dataset.json"),
        Stage("verify", "fecnet data verify datasets/fec"),
        Stage("show", "fecnet data show datasets/fec"),
        Stage("train", f"{train} {held_out}", net, plan.kills, removed=("result",)),
        Stage("evaluate", f"fecnet evaluate {RUN} --baselines"),
        Stage("report", f"fecnet report {RUN}"),
        Stage(
            "build", f"{search} build {RUN} datasets/fec --output {index}", removed=(index,), made=f"{index}/index.json"
        ),
        Stage("query", f"{search} query {index} me.jpg", ("--json", "neighbours.json")),
    ]


def _run_both(whole: Lane, killed: Lane, stage: Stage) -> dict[str, Any]:
    """What a stage takes alone, and disturbed."""
    alone = whole.run_alone(stage)
    disturbed = killed.run_killed(stage, alone.seconds)
    told = {"stage": stage.name, "seconds": alone.seconds, "peak_mb": alone.peak_mb}
    told |= {"kills": len(disturbed.killed_after_s), "killed_after_s": disturbed.killed_after_s}
    return told | {"killed_seconds": disturbed.seconds, "killed_peak_mb": disturbed.peak_mb}


def _kept_ports(folder: Path, plan: Plan) -> list[int]:
    """The ports of this folder, which are in the addresses of its photos.

    Raises:
        SystemExit: the folder is of another plan.
    """
    file = folder / "plan.json"
    planned = json.loads(json.dumps(asdict(plan)))
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        replace_json(file, {"plan": planned, "ports": free_ports()})
    kept = json.loads(file.read_text())
    if kept["plan"] != planned:
        raise SystemExit(f"{folder}: of another plan, {kept['plan']}; now {planned}; remove the folder to begin again")
    return list(kept["ports"])


def _write_files(folder: Path, plan: Plan, sources: Sources, urls: list[str]) -> dict[str, Written]:
    """The annotation files, the same each time; what they hold."""
    folder.mkdir(exist_ok=True)
    text, photo_F, source_F = [], [], []
    for number, url in enumerate(tqdm(urls, desc="planning photos", unit="photo")):
        tiles = tiles_of(number, sources, plan.seed)
        text += [f"{url},{box}" for box in boxes_of(tiles, sources)]
        photo_F += [number] * len(tiles)
        source_F += [tile.source for tile in tiles]
    faces = FacesOfPhotos(text, np.array(photo_F), np.array(source_F))
    return {
        split: write_annotations(
            folder / _NAME.format(split),
            faces,
            sources.expression_SE,
            sources.label_S,
            rows=rows,
            seed=plan.seed + place,
        )
        for place, (split, rows) in enumerate({"train": plan.rows, "test": plan.test_rows}.items())
    }
