"""Any recipe as a run of two iterations on a handful of random faces that have all it reads."""

import shlex
from pathlib import Path

import numpy as np

from fecnet.config.node import load_config
from fecnet.prepare.labelled.affectnet import AFFECTNET_CLASSES
from fecnet.prepare.labelled.ckplus import CKPLUS_CLASSES
from fecnet.prepare.labelled.fer2013 import FER_CLASSES, FERPLUS_CLASSES
from fecnet.prepare.labelled.rafdb import RAFDB_CLASSES
from fecnet.prepare.writer import PackedWriter

SETS = {  # label set: classes in order, channels
    "": ((), ["grey"]),
    "synthetic": (tuple(f"expression {number}" for number in range(12)), ["grey"]),
    "fer": (FER_CLASSES, ["grey"]),
    "ferplus": (FERPLUS_CLASSES, ["grey"]),
    "ferplus_noise30": (FERPLUS_CLASSES, ["grey"]),
    "ckplus": (CKPLUS_CLASSES, ["grey"]),
    "rafdb": (RAFDB_CLASSES, ["R", "G", "B"]),
    "affectnet": (AFFECTNET_CLASSES, ["R", "G", "B"]),
    "label": (("angry", "happy", "sad"), ["R", "G", "B"]),
}
FACES = 20  # of a split, two of a person: ten folds of persons
TWO_ITERATIONS = shlex.split(
    "SOLVER.UNIT iteration SOLVER.LENGTH 2 SOLVER.WARMUP 0 SOLVER.BATCH_SIZE 6 SOLVER.GRAD_ACCUM_STEPS 1 "
    "SOLVER.PRECISION fp32 EVAL.PERIOD 0 EVAL.BATCH_SIZE 20 CHECKPOINT.PERIOD 0 LOG.PERIOD 1 LOG.TENSORBOARD false "
    "DEVICE cpu"
)


def short(recipe: Path) -> list[str]:
    """Overrides that leave two iterations of small faces, and the search for wrong labels in the second."""
    cfg = load_config(recipe)
    overrides = list(TWO_ITERATIONS)
    if cfg.DATA.INPUT_SIZE > 100:  # Inception-ResNet needs about 96 pixels
        overrides += ["DATA.INPUT_SIZE", "96" if "inception" in cfg.MODEL.BACKBONE else "64"]
    few_triplets = cfg.DATA.HOLD_OUT and not cfg.DATA.LABELS
    if cfg.DATA.HOLD_OUT > 0.25 or few_triplets:  # of few faces, so that each class or type is on both sides
        overrides += ["DATA.HOLD_OUT", "0.25"]
    if cfg.EVAL.TTA == "ten_crop":  # of whole nets takes a minute; tests/data/test_views.py has it
        overrides += ["EVAL.TTA", "center"]
    if cfg.LOSS.SCN_RELABEL_AFTER:
        overrides += ["LOSS.SCN_RELABEL_AFTER", "1"]
    if cfg.SOLVER.LABELLED_BATCH_SIZE:
        overrides += ["SOLVER.LABELLED_BATCH_SIZE", "6"]
    if cfg.DATA.TEACHERS:
        overrides += ["DATA.TEACHERS", "[]", "DATA.TEACHER_SHARE", "0.5"]
    if cfg.MODEL.PRETRAINED:
        overrides += ["MODEL.PRETRAINED", "", "MODEL.PRETRAINED_ON", ""]
    return overrides


def write_faces(path: Path, recipe: Path) -> Path:
    """A packed set of random faces with the splits, labels, votes, affect, subjects and triplets a recipe may read."""
    cfg = load_config(recipe)
    channels = SETS[cfg.DATA.LABELS][1]
    splits = dict.fromkeys([cfg.DATA.TRAIN_SPLIT, *cfg.DATA.EVAL_SPLITS, *cfg.DATA.REPORT_SPLITS])
    for part in ("hold_out", "fold"):  # of the training split
        splits.pop(part, None)
    rng = np.random.default_rng(0)
    num_faces = FACES * len(splits)
    with PackedWriter(path, num_faces=num_faces, height=48, width=48, channels=channels) as writer:
        records = [{"key": f"{n:03d}", "source": f"random:{n}"} for n in range(num_faces)]
        if cfg.DATA.LABELS:
            records = [record | {"subject": f"p{n // 2}"} for n, record in enumerate(records)]
        writer.add_faces(rng.integers(0, 256, (num_faces, 48, 48, len(channels)), np.uint8), records)
        for number, split in enumerate(splits):
            rows = np.arange(FACES) + FACES * number
            writer.add_triplets(
                split,
                faces_T3=np.stack([rng.permutation(rows)[:3] for _ in range(12)]),
                odd_T=rng.integers(0, 3, 12),
                type_T=np.arange(12) % 3,
                votes_T3=rng.integers(1, 4, (12, 3)),
            )
            for label_set in filter(None, (cfg.DATA.LABELS, *cfg.DATA.EXTRA_LABELS)):
                classes = SETS[label_set][0]
                label_M = np.arange(FACES) % len(classes)
                writer.add_labels(
                    label_set,
                    split,
                    classes=classes,
                    faces_M=rows,
                    label_M=label_M,
                    distribution_MK=0.7 * np.eye(len(classes))[label_M] + 0.3 / len(classes),
                    valence_arousal_M2=rng.uniform(-1, 1, (FACES, 2)),
                )
        writer.set_coverage({"faces": {"read": num_faces, "kept": num_faces}})
    return path
