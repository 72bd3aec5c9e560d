"""Nets for the tests of deploy: trained for two iterations on a given data set, so that a checkpoint is a real one."""

import shlex

from fecnet.config.node import load_config
from fecnet.training import train_run
from tests.conftest import TINY_RECIPE

SHORT = shlex.split("SOLVER.LENGTH 2 SOLVER.BATCH_SIZE 4 EVAL.PERIOD 0 CHECKPOINT.PERIOD 0 DATA.EVAL_SPLITS [train]")


def train_on(dataset, folder, *overrides):
    """The run folder of a tiny net trained on ``dataset``; the settings of the net may be overridden."""
    path = folder / "net.yaml"
    path.write_text(TINY_RECIPE % (dataset, folder / "result"))
    name = f"net-{dataset.name}"
    assert train_run(load_config(path, [*SHORT, "NAME", name, *map(str, overrides)]), recipe="net") == 0
    return folder / "result" / name
