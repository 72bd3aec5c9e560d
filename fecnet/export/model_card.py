"""The model card of an exported net: training data, metrics, preprocessing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fecnet.engine.description import CheckpointInfo, Export
from fecnet.evaluation.coverage import format_coverage
from fecnet.structures import of_label_set

_OUTPUTS = {
    "embedding": "an embedding of facial expressions: unit vectors, close where annotators see similar expressions",
    "classifier": "a classifier of facial expressions",
    "joint": "an embedding of facial expressions and a classifier of them, from one backbone",
    "affect": "valence and arousal of facial expressions",
}


def model_card(info: CheckpointInfo) -> str:
    """The model card in Markdown.

    Args:
        info: description of the checkpoint, with ``export``.
    """
    assert info.export is not None
    return "\n".join(_lines(info, info.export)) + "\n"


def _lines(info: CheckpointInfo, export: Export) -> Iterator[str]:
    model, data = info.settings().MODEL, info.data
    yield f"# {export.name}\n"
    yield f"{_OUTPUTS[info.kind].capitalize()}. Trained with fecnet; iteration {info.iteration}.\n"
    if info.classes:
        yield f"Classes in the order of the logits: {', '.join(info.classes)}.\n"
    for name, classes in (info.extra_classes or {}).items():
        yield f"Classes of label set {name}, in the order of its logits: {', '.join(classes)}.\n"
    yield f"Net: `{model.BACKBONE}`, neck `{model.NECK}`, head `{model.HEAD}`.\n"
    yield "## Use\n"
    yield '```python\nimport fecnet\n\nencoder = fecnet.load("THIS_FOLDER")\n```\n'
    yield "It predicts what the annotators of its data would say of an image, not what anybody feels.\n"
    yield "## Data\n"
    yield f"Trained on `{data.name}`, {data.num_faces:,} faces, of:\n"
    yield from (f"- {name}: `{value}`" for name, value in data.sources.items())
    yield f"\nPretrained weights: {info.pretraining or 'none'}.\n"
    yield f"```text\n{format_coverage(info.coverage)}\n```\n"
    yield "## Metrics\n"
    yield from _measured(info)
    yield "## Preprocessing\n"
    yield from _preprocessing(info)
    yield "## This export\n"
    yield from _checked(export)
    yield "## Licences\n"
    yield "fecnet is under the MIT licence. The faces and the pretrained weights named above have terms of their own,"
    yield "which neither this card nor the data set records: read them at their source before passing these weights on."


def _measured(info: CheckpointInfo) -> Iterator[str]:
    if info.accuracy is None:
        yield "Not evaluated in training.\n"
        return
    yield "In training, %:\n"
    yield "| split | metric | % | of |\n| --- | --- | --- | --- |"
    for split, figures in info.accuracy.splits.items():
        if "ALL" in figures:
            rows = {row: figures[row] for row in ("ONE", "TWO", "THREE", "ALL")}
            yield from (f"| {split} | triplets {row} | {_percent(cell)} |" for row, cell in rows.items())
        if "accuracy" in figures:
            yield f"| {split} | classes | {figures['accuracy']:.1f} | {sum(figures['total'])} |"
        for name in info.extra_classes or {}:
            extra = figures[of_label_set("classes", name)]
            yield f"| {split} | classes of {name} | {extra['accuracy']:.1f} | {sum(extra['total'])} |"
    selection = info.accuracy.selection
    how = f"Selected by {selection.figure} of {selection.split}" if selection else "Not selected by any metric"
    yield f"\n{how}. Metrics on a split that selected the checkpoint are biased upwards.\n"


def _percent(cell: Mapping[str, Any]) -> str:
    return f"{'-' if cell['percent'] is None else format(cell['percent'], '.1f')} | {cell['total']}"


def _preprocessing(info: CheckpointInfo) -> Iterator[str]:
    pre = info.preprocessing
    yield (
        f"Faces of {pre.height}×{pre.width} pixels, channels {', '.join(pre.channels)}, made by: "
        f"`{json.dumps(pre.faces)}`. The net's input is {pre.crop:g} of each side, resized to "
        f"{pre.input_size} pixels, as 0..1, minus {pre.mean}, divided by {pre.std} (these two inside the "
        f"net); views: {info.settings().EVAL.TTA}.\n"
    )


def _checked(export: Export) -> Iterator[str]:
    yield f"`{export.kind}` of `{export.source}`, {export.date}, fecnet {export.fecnet}.\n"
    if export.checked is not None:
        yield f"```text\n{export.checked['text']}\n```\n"
