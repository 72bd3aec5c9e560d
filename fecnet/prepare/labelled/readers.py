"""Readers of labelled images by their name in ``fecnet prepare``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fecnet.prepare.labelled.affectnet import read_affectnet
from fecnet.prepare.labelled.ckplus import read_ckplus
from fecnet.prepare.labelled.class_folders import read_folder
from fecnet.prepare.labelled.csv_list import read_csv_list
from fecnet.prepare.labelled.expw import read_expw
from fecnet.prepare.labelled.fer2013_labels import read_fer2013_labels
from fecnet.prepare.labelled.jaffe import read_jaffe
from fecnet.prepare.labelled.kdef import read_kdef
from fecnet.prepare.labelled.labelled_source import LabelledSource
from fecnet.prepare.labelled.rafdb import read_rafdb

READERS: dict[str, Callable[[Path], LabelledSource]] = {
    "fer2013": read_fer2013_labels,
    "ckplus": read_ckplus,
    "rafdb": read_rafdb,
    "affectnet": read_affectnet,
    "expw": read_expw,
    "jaffe": read_jaffe,
    "kdef": read_kdef,
    "folder": read_folder,
    "csv": read_csv_list,
}
