"""Makes one small file of each format as this version writes it: python -m tests.formats.make

``tests/formats/<kind>-<version>/`` must open for ever. So this is run once for a version, when its number is new, and
writes no folder that is there: the old ones stay as the fecnet of their time wrote them.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np

import fecnet
from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset
from fecnet.embed.sources import Sources
from fecnet.engine.description import CHECKPOINT_FORMAT
from fecnet.export.export import export_run
from fecnet.prepare.writer import PackedWriter
from fecnet.rate.answers import GivenAnswer, take_answer
from fecnet.rate.new import new_study
from fecnet.rate.plan import Plan
from fecnet.rate.raters import exclude, invite
from fecnet.rate.schema import VERSION as STUDY_FORMAT
from fecnet.rate.study import DATABASE, Study
from fecnet.rate.tasks import tasks_from
from fecnet.runs.training import train_run
from fecnet.search.building import build_index
from fecnet.search.index import FORMAT as INDEX_FORMAT
from fecnet.structures import PACKED_FORMAT
from fecnet.utils.program import COMMAND

FORMATS = Path(__file__).parent
VERSIONS = {"packed": PACKED_FORMAT, "nets": CHECKPOINT_FORMAT, "index": INDEX_FORMAT, "study": STUDY_FORMAT}
CLASSES = ("calm", "glad", "cross")
FACES, SIDE = 9, 8  # of three people

SETTINGS = {
    **{"NAME": "run", "DEVICE": "cpu", "OUTPUT_DIR": ".", "DATA.PATH": "packed", "DATA.LABELS": "mood"},
    **{"DATA.EVAL_SPLITS": "[val]", "DATA.REPORT_SPLITS": "[val]", "DATA.INPUT_SIZE": SIDE},
    **{"MODEL.BACKBONE": "resnet18", "MODEL.WIDTH_MULT": 1 / 16, "MODEL.BLOCKS": "[1]", "MODEL.STEM": "cifar"},
    **{"MODEL.NECK": "none", "MODEL.HEAD": "joint", "MODEL.FEATURE_DIM": 4, "MODEL.EMBEDDING_DIM": 3},
    **{"LOSS.CRITERIA": "[triplet, choice, cross_entropy]", "LOSS.WEIGHTS": "[1.0, 1.0, 1.0]"},
    **{"SOLVER.LENGTH": 2, "SOLVER.BATCH_SIZE": 3, "SOLVER.LABELLED_BATCH_SIZE": 3, "SOLVER.PRECISION": "fp32"},
    **{"SOLVER.EMA_DECAY": 0.9, "EVAL.PERIOD": 1, "CHECKPOINT.PERIOD": 0, "LOG.PERIOD": 1, "LOG.TENSORBOARD": "false"},
}


def settings(**changes):
    """The settings of the run, as overrides."""
    return [str(part) for pair in (SETTINGS | changes).items() for part in pair]


def write_packed(path):
    """Faces with all that a packed set may say of them."""
    rng = np.random.default_rng(0)
    records = [
        {"key": f"face {row}", "source": f"photo {row}.png", "box": "0 0 8 8", "subject": f"person {row // 3}"}
        for row in range(FACES)
    ]
    records[8]["duplicate_of"] = 7
    with PackedWriter(path, num_faces=FACES, height=SIDE, width=SIDE, channels=["grey"]) as writer:
        writer.add_faces(rng.integers(256, size=(FACES, SIDE, SIDE, 1), dtype=np.uint8), records)
        for split, rows in (("train", np.arange(6)), ("val", np.arange(6, 9))):
            answer_TR = np.array([[0, 0, 1], [2, 2, 2], [1, 1, 0]])
            votes_T3 = (answer_TR[..., None] == np.arange(3)).sum(1)
            label_M = np.arange(len(rows)) % 3
            share_MK = np.eye(3)[label_M] * 0.75 + np.eye(3)[label_M - 1] * 0.25
            affect_M2 = np.stack([np.linspace(-1, 1, len(rows)), np.linspace(0.5, 0, len(rows))], 1)
            affect_M2[-1] = np.nan
            writer.add_triplets(
                split,
                faces_T3=np.stack([rng.permutation(rows)[:3] for _ in range(3)]),
                odd_T=votes_T3.argmax(1),
                type_T=np.arange(3),
                votes_T3=votes_T3,
                answer_offset=np.arange(0, 10, 3),
                annotator=np.tile(np.arange(3, dtype=np.int32), 3),
                answer=answer_TR.reshape(-1).astype(np.int8),
            )
            writer.add_labels(
                "mood",
                split,
                classes=CLASSES,
                faces_M=rows,
                label_M=label_M,
                distribution_MK=share_MK,
                valence_arousal_M2=affect_M2,
            )
        writer.add_array("expression", rng.random((FACES, 2), np.float32))
        writer.set_sources({"photos": "noise"})
        writer.set_coverage({"faces": {"read": 10, "kept": FACES, "dropped": {"no_face": 1}}})


def write_nets(path):
    """A run with its checkpoint, the bundles and the graph made of it, and what they all answer."""
    path.mkdir()
    assert train_run(load_config(overrides=settings(OUTPUT_DIR=path)), recipe="run") == 0
    for kind, name in (("bundle", "bundle"), ("half", "half"), ("onnx", "net.onnx")):
        export_run(str(path / "run"), kind, output=str(path / name), progress=False)
    encoder = fecnet.load(path / "run", device="cpu")
    found = encoder.encode(PackedDataset("packed").faces_NHWC[:])
    np.savez(path / "answers.npz", **{name: found.outputs[name] for name in ("embedding", "logits")})


def write_index(path):
    """An index of the packed set for faiss's graph."""
    build_index(fecnet.load("nets/run", device="cpu"), Sources(["packed"]), path, kind="hnsw", progress=False)


def write_study(path):
    """A study of three raters: one answered a task anew, one could not tell, one is excluded."""
    new_study(path, "packed", Plan(4, raters=3, controls=1, control_every=3), progress=False)
    with Study(path) as study:
        for rater, _ in invite(study, 3):
            for task in tasks_from(study, rater.id)[:3]:
                place = None if (rater.id, task.number) == (2, 1) else task.faces.index(min(task.faces))
                take_answer(study, rater, GivenAnswer(task.number, f"first-{rater.id}-{task.number}", place, 1.5))
            if rater.id == 1:
                answer = tasks_from(study, 1, 1)[0].answer
                take_answer(study, rater, GivenAnswer(1, "again-1-1", 2, 2.5, replaces=answer))
        exclude(study, 3)
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as database:
        for line in ("journal_mode = DELETE", "page_size = 512"):  # 4096 of each of twenty tables and indices
            database.execute(f"PRAGMA {line}")
        database.execute("VACUUM")
        database.execute("PRAGMA journal_mode = WAL")


WRITE = {"packed": write_packed, "nets": write_nets, "index": write_index, "study": write_study}


def main():
    """Write what is not there."""
    os.environ[COMMAND] = "python -m tests.formats.make"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for kind, version in VERSIONS.items():
            WRITE[kind](Path(kind))
            for file in Path(kind).rglob("*.json"):
                file.write_text(file.read_text().replace(folder, "/data"))
            target = FORMATS / f"{kind}-{version}"
            if not target.exists():
                shutil.copytree(kind, target)
                print(json.dumps({file.name: file.stat().st_size for file in target.rglob("*") if file.is_file()}))


if __name__ == "__main__":
    main()
