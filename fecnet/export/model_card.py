"""The model card of an exported net: what it was learnt from, how well it does, what it must be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fecnet.evaluation.coverage import format_coverage

_OUTPUTS = {
    "embedding": "an embedding of facial expressions: unit vectors, close where people call expressions alike",
    "classifier": "a classifier of facial expressions",
    "joint": "an embedding of facial expressions and a classifier of them, from one backbone",
    "affect": "valence and arousal of facial expressions",
}


def model_card(meta: Mapping[str, Any]) -> str:
    """Markdown of what an exported net says of itself.

    Args:
        meta: of the checkpoint, with ``export``.
    """
    return "\n".join(_lines(meta)) + "\n"


def _lines(meta: Mapping[str, Any]) -> Iterator[str]:
    config, data, export = meta["config"], meta["data"], meta["export"]
    yield f"# {export['name']}\n"
    yield f"{_OUTPUTS[meta['kind']].capitalize()}. Trained with fecnet; iteration {meta['iteration']}.\n"
    if meta.get("classes"):
        yield f"Classes in the order of the logits: {', '.join(meta['classes'])}.\n"
    yield f"Net: `{config['MODEL']['BACKBONE']}`, neck `{config['MODEL']['NECK']}`, head `{config['MODEL']['HEAD']}`.\n"
    yield "## Use\n"
    yield '```python\nimport fecnet\n\nencoder = fecnet.load("THIS_FOLDER")\n```\n'
    yield "What it says is what the raters of its data would say of a picture, not what anybody feels.\n"
    yield "## Data\n"
    yield f"Learnt from `{data['name']}`, {data['num_faces']:,} faces, of:\n"
    yield from (f"- {name}: `{value}`" for name, value in data["sources"].items())
    yield f"\nPretrained weights: {meta.get('pretraining') or 'none'}.\n"
    yield f"```text\n{format_coverage(meta['coverage'])}\n```\n"
    yield "## Measured\n"
    yield from _measured(meta)
    yield "## Preprocessing\n"
    yield from _preprocessing(meta)
    yield "## This export\n"
    yield from _checked(export)
    yield "## Licences\n"
    yield "fecnet is under the MIT licence. The faces and the pretrained weights named above have terms of their own,"
    yield "which neither this card nor the data set records: read them at their source before passing these weights on."


def _measured(meta: Mapping[str, Any]) -> Iterator[str]:
    accuracy = meta.get("accuracy", {})
    if not accuracy.get("splits"):
        yield "In training: nothing.\n"
        return
    yield "In training, per cent:\n"
    yield "| split | figure | per cent | of |\n| --- | --- | --- | --- |"
    for split, figures in accuracy["splits"].items():
        if "ALL" in figures:
            rows = {row: figures[row] for row in ("ONE", "TWO", "THREE", "ALL")}
            yield from (f"| {split} | triplets {row} | {_percent(cell)} |" for row, cell in rows.items())
        if "accuracy" in figures:
            yield f"| {split} | classes | {figures['accuracy']:.1f} | {sum(figures['total'])} |"
    selection = accuracy.get("selection")
    told = f"Selected by {selection['figure']} of {selection['split']}" if selection else "Not selected by any figure"
    yield f"\n{told}: where a split selected, figures on it are higher than on faces that nothing was chosen by.\n"


def _percent(cell: Mapping[str, Any]) -> str:
    return f"{cell['percent']:.1f} | {cell['total']}" if cell["total"] else "- | 0"


def _preprocessing(meta: Mapping[str, Any]) -> Iterator[str]:
    seen = meta["preprocessing"]
    yield (
        f"Faces of {seen['height']}×{seen['width']} pixels, channels {', '.join(seen['channels'])}, made by: "
        f"`{json.dumps(seen.get('faces'))}`. The net sees {seen['crop']:g} of each side, resized to "
        f"{seen['input_size']} pixels, as 0..1, minus {seen['mean']}, divided by {seen['std']} (these two inside the "
        f"net); views: {meta['config']['EVAL']['TTA']}.\n"
    )


def _checked(export: Mapping[str, Any]) -> Iterator[str]:
    yield f"`{export['kind']}` of `{export['source']}`, {export['date']}, fecnet {export['fecnet']}.\n"
    if "checked" in export:
        yield f"```text\n{export['checked']['text']}\n```\n"
