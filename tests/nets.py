"""Nets for tests: trained for two iterations on a given data set, so that their checkpoints are real ones."""

import shlex

import numpy as np
from PIL import Image

from fecnet.config.node import load_config
from fecnet.runs.training import train_run
from tests.conftest import TINY_RECIPE

SHORT = shlex.split("SOLVER.LENGTH 2 SOLVER.BATCH_SIZE 4 EVAL.PERIOD 0 CHECKPOINT.PERIOD 0 DATA.EVAL_SPLITS [train]")


def train_on(dataset, folder, *overrides):
    """The run folder of a tiny net trained on ``dataset``; the settings of the net may be overridden."""
    path = folder / "net.yaml"
    path.write_text(TINY_RECIPE % (dataset, folder / "result"))
    name = f"net-{dataset.name}"
    assert train_run(load_config(path, [*SHORT, "NAME", name, *map(str, overrides)]), recipe="net") == 0
    return folder / "result" / name


def write_list(folder, names):
    """A list of triplets over the pictures of a folder, in their order."""
    num = len(names)
    lines = [f"{names[k]},{names[(k + 1) % num]},{names[(k + 2) % num]},1,ONE_CLASS_TRIPLET" for k in range(num)]
    path = folder / "list.csv"
    path.write_text("\n".join(lines))
    return path


def noisy(image_HWC, seed):
    """The bright squares of a photo with noise that distinguishes them; still above 100."""
    noise = np.random.default_rng(seed).integers(-90, 50, image_HWC.shape)
    return np.where(image_HWC > 0, np.clip(image_HWC + noise, 101, 255), 0).astype(np.uint8)


def save(folder, images):
    folder.mkdir()
    for number, image_HWC in enumerate(images):
        Image.fromarray(image_HWC).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(images))]


def fail(*_):
    """Fail like a full disk."""
    raise ValueError("full")
