"""Tables of the evaluation: triplets, classes with their confusion matrix, valence and arousal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fecnet.evaluation.affect import DIMENSIONS
from fecnet.evaluation.classification import ClassAccuracy
from fecnet.evaluation.near_ties import near_ties_text
from fecnet.evaluation.spread import Spread
from fecnet.evaluation.triplet_accuracy import AGREEMENT_ROWS, AGREEMENT_TEXT, ROWS
from fecnet.run_page.markup import Child, Markup, element

_METRICS = {"accuracy": "accuracy", "mean_class_accuracy": "mean class accuracy", "macro_f1": "macro F1"}
_DARK = 0.55  # share of the row above which a cell needs light text


def table(head: Sequence[Child], rows: Sequence[Sequence[Child]], *, caption: str, class_: str = "") -> Markup:
    """A table whose first column names the rows; it scrolls by itself where the page is narrow."""
    first = element("tr", [element("th", cell, scope="col") for cell in head])
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [cell if _is_cell(cell) else element("td", cell) for cell in row[1:]],
        )
        for row in rows
    ]
    html = element("table", element("thead", first), element("tbody", body), class_=class_ or None, aria_label=caption)
    return element("div", element("p", caption, class_="note"), element("div", html, class_="wide", tabindex=0))


def triplet_table(columns: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Triplet accuracy in %, a row for each method.

    Args:
        columns: ``ROWS``, and ``AGREEMENT_ROWS`` where they are known, with right, total and percent, by the name of
            the method.
    """
    counted = next(iter(columns.values()))
    names = [*ROWS, *(row for row in AGREEMENT_ROWS if row in counted)]
    rows: list[list[Child]] = [
        [name, *(_percent_of(found[row]) if row in found else "–" for row in names)] for name, found in columns.items()
    ]
    rows.append(["triplets", *(f"{counted[row]['total']:,}" if counted[row]["total"] else "–" for row in names)])
    caption = "Triplet accuracy, %" + (f"; {AGREEMENT_TEXT}" if len(names) > len(ROWS) else "")
    return table(["", *names], rows, caption=caption)


def spread_note(spread: Mapping[str, Any] | None) -> Markup | None:
    """The distances between the evaluated faces, and whether the embedding has collapsed; None if not recorded.

    Args:
        spread: one split's of ``triplets.json``.
    """
    if not spread:
        return None
    found = Spread(spread["mean"], spread["largest"])
    return element("p", f"{found.text()}.".capitalize(), class_="absent" if found.collapsed else "note")


def near_ties_note(found: Mapping[str, Any] | None) -> Markup | None:
    """By how many the counts of a split may differ elsewhere; None where it was not recorded."""
    return element("p", f"N{near_ties_text(found)[1:]}.", class_="note") if found else None


def class_tables(found: Mapping[str, Any]) -> Markup:
    """Recall, precision and F1 by class, and the confusion matrix beside them.

    Args:
        found: one split of ``classes.json``.
    """
    accuracy = ClassAccuracy(tuple(found["classes"]), np.array(found["confusion"], np.int64))
    return element("div", _class_table(accuracy), confusion_table(accuracy), class_="tables")


def copies_note(found: Mapping[str, Any]) -> Markup | None:
    """The metrics without faces that are also in the training split; None if there are none.

    Args:
        found: one split of ``classes.json``.
    """
    copies, others = found.get("copies_in_training"), found.get("without_copies")
    if not copies or not others:
        return None
    metrics = ", ".join(f"{label} {number(others[name])}" for name, label in _METRICS.items())
    where = f"that are also in {found.get('training_split', 'training')}, pixel for pixel"
    return element("p", f"Without the {copies:,} faces {where}: {metrics} %.", class_="note")


def _class_table(accuracy: ClassAccuracy) -> Markup:
    columns = (accuracy.total_K, accuracy.recall_K(), accuracy.precision_K(), accuracy.f1_K())
    rows: list[list[Child]] = [
        [name, f"{total:,}", _bar(recall), _bar(precision), _bar(f1)]
        for name, total, recall, precision, f1 in zip(accuracy.classes, *columns, strict=True)
    ]
    metrics = accuracy.metrics()
    total = int(accuracy.total_K.sum())
    largest = 100 * int(accuracy.total_K.max()) / total if total else math.nan
    text = ", ".join(f"{label} {number(metrics[name])}" for name, label in _METRICS.items())
    caption = f"{text} % of {total:,} faces (always predicting the largest class: {number(largest)})"
    return table(["class", "faces", "recall", "precision", "F1"], rows, caption=caption)


def confusion_table(accuracy: ClassAccuracy) -> Markup:
    """Faces by label (row) and predicted class (column), shaded by their share of the row."""
    share_KK = accuracy.confusion_KK / np.maximum(accuracy.total_K, 1)[:, None]
    rows: list[list[Child]] = []
    for name, counts, shares in zip(accuracy.classes, accuracy.confusion_KK.tolist(), share_KK.tolist(), strict=True):
        rows.append([name, *(_shaded(count, share) for count, share in zip(counts, shares, strict=True))])
    heads = [element("span", name) for name in accuracy.classes]
    caption = "Confusion matrix: faces by label (row) and predicted class (column); % of the row below the count"
    return table(["", *heads], rows, caption=caption, class_="confusion")


def affect_table(found: Mapping[str, Any]) -> Markup:
    """Concordance and error of valence and arousal."""
    rows: list[list[Child]] = [
        [name, _over_100(found[f"{name}_ccc"]), number(found[f"{name}_rmse"], 3)] for name in DIMENSIONS
    ]
    faces = f"{found['affect_faces']:,} faces"
    caption = f"Valence and arousal of {faces}: concordance correlation (1 = identical), root mean squared error"
    return table(["", "CCC", "RMSE"], rows, caption=caption)


def number(value: float | None, digits: int = 1) -> str:
    """A number with that many decimals; a dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _over_100(value: float | None) -> str:
    return number(None if value is None else value / 100, 3)


def _percent_of(cell: Mapping[str, Any]) -> Markup:
    count = f"{cell['right']:,} of {cell['total']:,}"
    return element("td", number(cell["percent"]), title=count)


def _bar(percent: float) -> Markup:
    """A number with a bar behind it."""
    if math.isnan(percent):
        return element("td", "–")
    return element("td", number(percent), class_="bar", style=f"--share:{percent / 100:.3f}")


def _shaded(count: int, share: float) -> Markup:
    percent = element("small", f"{100 * share:.0f}") if count else None
    return element("td", count, percent, class_="dark" if share > _DARK else None, style=f"--share:{share:.3f}")


def _is_cell(child: Child) -> bool:
    return isinstance(child, Markup) and child.startswith("<td")
