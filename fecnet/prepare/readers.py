"""The sources of labelled pictures by the name that ``fecnet prepare`` gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fecnet.prepare.affectnet import read_affectnet
from fecnet.prepare.ckplus import read_ckplus
from fecnet.prepare.class_folders import read_folder
from fecnet.prepare.csv_list import read_csv_list
from fecnet.prepare.expw import read_expw
from fecnet.prepare.fer2013_labels import read_fer2013_labels
from fecnet.prepare.labelled_source import LabelledSource
from fecnet.prepare.rafdb import read_rafdb

READERS: dict[str, Callable[[Path], LabelledSource]] = {
    "fer2013": read_fer2013_labels,
    "ckplus": read_ckplus,
    "rafdb": read_rafdb,
    "affectnet": read_affectnet,
    "expw": read_expw,
    "folder": read_folder,
    "csv": read_csv_list,
}
