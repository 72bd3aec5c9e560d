"""A tiny labelled data set and a recipe for each kind of training on it."""

import numpy as np
import torch
from safetensors.torch import save_file

from fecnet.config.node import load_config
from fecnet.modeling.build import build_model
from fecnet.prepare.writer import PackedWriter

CLASSES = ("calm", "glad", "cross")
SPLITS = {"train": range(0, 40), "val": range(40, 52), "test": range(52, 64)}

RECIPE = """
DATA: {PATH: %s, EVAL_SPLITS: [val], REPORT_SPLITS: [val, test], INPUT_SIZE: 48, LABELS: mood}
AUGMENT: {FLIP: 0.5, TRANSLATE: 0.05, NOISE: 0.01}
MODEL: {BACKBONE: resnet18, WIDTH_MULT: 0.125, BLOCKS: [1, 1], NECK: conv1x1, NECK_CHANNELS: 16, HEAD: %s}
LOSS: {CRITERIA: [%s], WEIGHTS: %s}
SOLVER: {LENGTH: 6, BATCH_SIZE: 8, BASE_LR: 1e-3, SCHEDULE: cosine, PRECISION: fp32}
EVAL: {PERIOD: 3}
CHECKPOINT: {PERIOD: 2}
LOG: {PERIOD: 2, TENSORBOARD: false}
OUTPUT_DIR: %s
DEVICE: cpu
"""
KINDS = {  # head and what it alone uses, criteria, weights
    "classifier": ("classifier", "cross_entropy", "[1.0]"),
    "votes": ("classifier", "soft_targets", "[1.0]"),
    "hellinger": ("joint, FEATURE_DIM: 16", "hellinger, soft_targets", "[1.0, 1.0]"),
    "joint": ("joint, FEATURE_DIM: 16", "triplet, cross_entropy", "[1.0, 0.5]"),
    "choice": ("joint, FEATURE_DIM: 16", "triplet, choice, cross_entropy", "[0.5, 1.0, 0.5]"),
    "scn": ("scn", "cross_entropy, scn", "[1.0, 1.0]"),
    "ran": ("scn_ran", "cross_entropy, scn, ran", "[1.0, 1.0, 1.0]"),
    "wasserstein": ("classifier", "cross_entropy, wasserstein", "[1.0, 0.5]"),
    "affect": ("classifier_affect", "cross_entropy, valence_arousal", "[1.0, 1.0]"),
    "deviation": (
        "deviation, PROJECTION_ORDER: 2, PRETRAINED: START, PRETRAINED_ON: noise, PRETRAINED_PARTS: all",
        "hellinger",
        "[1.0]",
    ),
}


def labels_of(rows):
    """Two of three faces of each class in turn, every seventh without a label."""
    label = np.array(rows) % 3
    label[np.array(rows) % 7 == 6] = -1
    return label


def affect_of(rows):
    """Valence by class with a little of each face, arousal its opposite; every fifth without."""
    valence = np.array(rows) % 3 - 1 + np.sin(np.array(rows)) / 10
    affect = np.clip(np.stack([valence, -valence], axis=1), -1, 1)
    affect[np.array(rows) % 5 == 4] = np.nan
    return affect


TONES = ("dark", "bright")


def write_labelled(path, *, subjects=False, votes=True, affect=True, classes=CLASSES, tones=True):
    """Grey faces whose brightness tells the class, with triplets and the label sets ``mood`` and ``tone``."""
    rng = np.random.default_rng(0)
    num_faces = max(rows.stop for rows in SPLITS.values())
    level = 60 + 60 * (np.arange(num_faces) % 3)[:, None, None, None]
    image = np.clip(level + rng.integers(-30, 30, (num_faces, 48, 48, 1)), 0, 255).astype(np.uint8)
    records = [{"key": f"{row:03d}", "source": f"random:{row}"} for row in range(num_faces)]
    records = [record | ({"subject": f"p{row // 4}"} if subjects else {}) for row, record in enumerate(records)]
    with PackedWriter(path, num_faces=num_faces, height=48, width=48, channels=["grey"]) as writer:
        writer.add_faces(image, records)
        for split, rows in SPLITS.items():
            faces_T3 = np.stack([rng.permutation(rows)[:3] for _ in range(20)])
            odd_T = rng.integers(0, 3, 20)
            votes_T3 = rng.integers(1, 4, (20, 3))
            votes_T3[np.arange(20), odd_T] += 20 * (np.arange(20) % 2)  # raters agree on half of them
            writer.add_triplets(split, faces_T3=faces_T3, odd_T=odd_T, type_T=np.arange(20) % 3, votes_T3=votes_T3)
            label_M = labels_of(rows)
            share_MK = np.full((len(rows), len(classes)), 0.3 / (len(classes) - 1))
            share_MK[np.arange(len(rows)), np.maximum(label_M, 0)] = 0.7
            share_MK[label_M < 0] = np.nan
            writer.add_labels(
                "mood",
                split,
                classes=classes,
                faces_M=np.array(rows),
                label_M=label_M,
                distribution_MK=share_MK if votes else None,
                valence_arousal_M2=affect_of(rows) if affect else None,
            )
            if tones:  # of every second face, with and without a mood
                faces_M = np.array(rows)[::2]
                writer.add_labels("tone", split, classes=TONES, faces_M=faces_M, label_M=(faces_M % 3 > 0).astype(int))
        writer.set_coverage({"faces": {"read": num_faces, "kept": num_faces}})
    return path


def write_recipe(folder, kind):
    """A recipe that trains a tiny net of this kind in a second, and its data set where there is none."""
    data = folder / "moods"
    if not data.exists():
        write_labelled(data)
    path, start = folder / f"{kind}.yaml", folder / "start.safetensors"
    path.write_text((RECIPE % (data, *KINDS[kind], folder / "result")).replace("START", str(start)))
    if "START" in KINDS[kind][0] and not start.exists():
        write_start(start, path)
    return path


def write_start(path, recipe):
    """Weights of the net of a recipe for grey faces whose face branch has left its identity branch."""
    torch.manual_seed(0)
    net = build_model(load_config(recipe), 1)
    with torch.no_grad():
        for weight in net.backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    save_file(net.state_dict(), path)
