"""Several label sets of the same faces: joined for training, and checked against each other.

Shape suffixes: M labelled faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fecnet.data.labels import LabelTable
from fecnet.data.packed import PackedDataset
from fecnet.utils.errors import ConfigError, DataError


def check_extra_labels(label_set: str, extra: Sequence[str]) -> None:
    """Check the names of ``DATA.EXTRA_LABELS``.

    Raises:
        ConfigError: one is given twice, or is ``DATA.LABELS``.
    """
    for place, name in enumerate(extra):
        if name in (label_set, *extra[:place]):
            raise ConfigError(
                f"DATA.EXTRA_LABELS: {list(extra)}, DATA.LABELS: '{label_set}': '{name}' is named twice; allowed: once"
            )


def join_faces(table: LabelTable, extra: Iterable[LabelTable]) -> LabelTable:
    """The table with the faces that only ``extra`` have added at its end, with absent values.

    Args:
        table: the labels of ``DATA.LABELS``.
        extra: the tables of further label sets.
    """
    every = [others.faces_M for others in extra]
    added = np.setdiff1d(np.concatenate(every), table.faces_M) if every else np.zeros(0, np.int64)

    def with_absent(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        return np.concatenate([values, np.full((len(added), *values.shape[1:]), np.nan, values.dtype)])

    return replace(
        table,
        faces_M=np.concatenate([table.faces_M, added]),
        label_M=np.concatenate([table.label_M, np.full(len(added), -1)]),
        distribution_MK=with_absent(table.distribution_MK),
        valence_arousal_M2=with_absent(table.valence_arousal_M2),
    )


def labels_of_faces(table: LabelTable, num_faces: int) -> np.ndarray:
    """The label of each face of the data set, -1 where it has none, int64, shape (num_faces,).

    Raises:
        DataError: a face occurs twice in the table.
    """
    check_unique(table.faces_M)
    label = np.full(num_faces, -1)
    label[table.faces_M] = table.label_M
    return label


def check_unique(faces_M: np.ndarray) -> None:
    """Raise DataError where a face occurs twice in a label table."""
    if len(np.unique(faces_M)) < len(faces_M):
        raise DataError(f"face {int(np.bincount(faces_M).argmax())} occurs twice in the labels; allowed: once")


def check_apart(dataset: PackedDataset, label_sets: Sequence[str], train_split: str, splits: Iterable[str]) -> None:
    """Check that no face that one label set trains on is evaluated by another.

    Args:
        dataset: the packed data set.
        label_sets: the label sets that are trained on.
        train_split: the split trained on.
        splits: the splits that are evaluated or reported.

    Raises:
        DataError: there is such a face.
    """
    trained = {name: dataset.labels(name, train_split).faces_M for name in label_sets}
    for split in dict.fromkeys(splits):
        known: Mapping[str, int] = dataset.description["splits"].get(split, {}).get("labels", {})
        for name in label_sets if split != train_split else ():
            for other in label_sets:
                if other == name or other not in known:
                    continue
                both = np.intersect1d(trained[name], dataset.labels(other, split).faces_M)
                if len(both):
                    raise DataError(
                        f"{dataset.path}: face {both[0]} is in '{train_split}' of label set '{name}' and in '{split}' "
                        f"of '{other}', as are {len(both)} faces; allowed with DATA.EXTRA_LABELS: none"
                    )
