"""The model card of an exported net: what it was learnt from, how well it does, what it must be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fecnet.engine.description import CheckpointInfo, Export
from fecnet.evaluation.coverage import format_coverage

_OUTPUTS = {
    "embedding": "an embedding of facial expressions: unit vectors, close where people call expressions alike",
    "classifier": "a classifier of facial expressions",
    "joint": "an embedding of facial expressions and a classifier of them, from one backbone",
    "affect": "valence and arousal of facial expressions",
}


def model_card(info: CheckpointInfo) -> str:
    """Markdown of what an exported net says of itself.

    Args:
        info: of the checkpoint, with ``export``.
    """
    assert info.export is not None
    return "\n".join(_lines(info, info.export)) + "\n"


def _lines(info: CheckpointInfo, export: Export) -> Iterator[str]:
    model, data = info.settings().MODEL, info.data
    yield f"# {export.name}\n"
    yield f"{_OUTPUTS[info.kind].capitalize()}. Trained with fecnet; iteration {info.iteration}.\n"
    if info.classes:
        yield f"Classes in the order of the logits: {', '.join(info.classes)}.\n"
    yield f"Net: `{model.BACKBONE}`, neck `{model.NECK}`, head `{model.HEAD}`.\n"
    yield "## Use\n"
    yield '```python\nimport fecnet\n\nencoder = fecnet.load("THIS_FOLDER")\n```\n'
    yield "What it says is what the raters of its data would say of a picture, not what anybody feels.\n"
    yield "## Data\n"
    yield f"Learnt from `{data.name}`, {data.num_faces:,} faces, of:\n"
    yield from (f"- {name}: `{value}`" for name, value in data.sources.items())
    yield f"\nPretrained weights: {info.pretraining or 'none'}.\n"
    yield f"```text\n{format_coverage(info.coverage)}\n```\n"
    yield "## Measured\n"
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
        yield "In training: nothing.\n"
        return
    yield "In training, per cent:\n"
    yield "| split | figure | per cent | of |\n| --- | --- | --- | --- |"
    for split, figures in info.accuracy.splits.items():
        if "ALL" in figures:
            rows = {row: figures[row] for row in ("ONE", "TWO", "THREE", "ALL")}
            yield from (f"| {split} | triplets {row} | {_percent(cell)} |" for row, cell in rows.items())
        if "accuracy" in figures:
            yield f"| {split} | classes | {figures['accuracy']:.1f} | {sum(figures['total'])} |"
    selection = info.accuracy.selection
    told = f"Selected by {selection.figure} of {selection.split}" if selection else "Not selected by any figure"
    yield f"\n{told}: where a split selected, figures on it are higher than on faces that nothing was chosen by.\n"


def _percent(cell: Mapping[str, Any]) -> str:
    return f"{cell['percent']:.1f} | {cell['total']}" if cell["total"] else "- | 0"


def _preprocessing(info: CheckpointInfo) -> Iterator[str]:
    seen = info.preprocessing
    yield (
        f"Faces of {seen.height}×{seen.width} pixels, channels {', '.join(seen.channels)}, made by: "
        f"`{json.dumps(seen.faces)}`. The net sees {seen.crop:g} of each side, resized to "
        f"{seen.input_size} pixels, as 0..1, minus {seen.mean}, divided by {seen.std} (these two inside the "
        f"net); views: {info.settings().EVAL.TTA}.\n"
    )


def _checked(export: Export) -> Iterator[str]:
    yield f"`{export.kind}` of `{export.source}`, {export.date}, fecnet {export.fecnet}.\n"
    if export.checked is not None:
        yield f"```text\n{export.checked['text']}\n```\n"
