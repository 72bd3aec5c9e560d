"""Finds a package with weights, and what can be said of every opponent."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

FER_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # the order of FER2013's labels


class Absent(Exception):
    """Why an opponent cannot be measured here, and what to install."""


@dataclass(frozen=True)
class Package:
    """A package that is here.

    Attributes:
        title: name and version.
        licence: as the package states it.
        root: the folder that its files are in.
    """

    title: str
    licence: str
    root: Path

    def file(self, path: str) -> Path:
        """One of its files.

        Raises:
            Absent: this version does not have it.
        """
        found = self.root / path
        if not found.is_file():
            raise Absent(f"{self.title} has no {path}")
        return found


@dataclass(frozen=True, eq=False)
class Opponent:
    """An expression model.

    Attributes:
        name: of its package, with the version.
        classes: K names in the order of its outputs.
        licence: of its package; that of the data it was trained on is another matter.
        weights: the file.
        runs_in: what runs it here.
        probability: of each class, float, shape (N, K), for faces uint8, shape (N, H, W).
    """

    name: str
    classes: Sequence[str]
    licence: str
    weights: Path
    runs_in: str
    probability: Callable[[np.ndarray], np.ndarray]


def python_package(folder: Path, name: str) -> Package:
    """A package of pip in ``folder`` (``pip install --target``), else of this Python.

    Raises:
        Absent: it is in neither.
    """
    found = next(iter(metadata.distributions(name=name, path=[str(folder), *sys.path])), None)
    if found is None:
        raise Absent(f"not installed: pip install --no-deps --target {folder} {name}")
    about: Any = found.metadata
    classifiers = [text.rsplit(":: ", 1)[-1] for text in about.get_all("Classifier", []) if text.startswith("License")]
    told = [about.get("License-Expression"), *classifiers, about.get("License")]
    licence = next((text for text in told if text and text != "UNKNOWN"), "not stated")
    return Package(f"{name} {found.version}", licence.splitlines()[0], Path(str(found.locate_file(""))))


def node_package(folder: Path, name: str) -> Package:
    """A package of npm in ``folder`` (``npm install --prefix``).

    Raises:
        Absent: it is not there.
    """
    root = folder / "node_modules" / name
    if not (root / "package.json").is_file():
        raise Absent(f"not installed: npm install --ignore-scripts --prefix {folder} {name}")
    about = json.loads((root / "package.json").read_text(encoding="utf-8"))
    return Package(f"{name} {about['version']}", str(about.get("license", "not stated")), root)


def library(module: str, package: str = "") -> Any:
    """An optional library that runs a model.

    Raises:
        Absent: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Absent(f"{error}; pip install {package or module}") from error
