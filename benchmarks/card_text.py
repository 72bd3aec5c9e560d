"""The model card of a shipped net in Markdown, made of its record: ``python -m benchmarks cards``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.card import conditions_table
from fecnet.engine.description import CheckpointInfo
from fecnet.evaluation.coverage import format_coverage
from fecnet.evaluation.triplet_accuracy import ROWS
from fecnet.utils.table import decimal

_NOT_FOR = """It predicts which expression annotators would see in a picture, not what anybody feels. It must not be
used to judge, select or watch people: at work, in schools, at borders, by the police, in insurance, in medicine.
Inferring emotions at work and in schools is prohibited in the European Union (Regulation 2024/1689, Article 5).
Accuracy by age, sex or skin colour is unknown: the data do not record them. One face says nothing of a person."""


def card_text(card: Mapping[str, Any], info: CheckpointInfo) -> str:
    """The model card.

    Args:
        card: the record of a shipped net, ``card.json``.
        info: its description.
    """
    return "\n".join(_lines(card, info)) + "\n"


def _lines(card: Mapping[str, Any], info: CheckpointInfo) -> Iterator[str]:
    name, model = card["name"], info.settings().MODEL
    yield f"# {name}\n"
    yield f"Expression embedding, {model.EMBEDDING_DIM} dimensions, and classes in the order of the logits:"
    yield "; ".join(f"`{label_set}`: {', '.join(classes)}" for label_set, classes in info.label_sets.items()) + "."
    yield f"{card['parameters']:,} parameters, {card['megabytes']:.2f} MB, backbone `{model.BACKBONE}`;"
    yield f"{card['faces_per_s']:.0f} faces/s of faces already cut out, on {card['speed_on']}.\n"
    yield f'```python\nimport fecnet\n\nencoder = fecnet.load("{name}")\n```\n'
    yield f"## What it must not be used for\n\n{_NOT_FOR}\n"
    yield f"## Data and licence\n\n{card['about']}\n"
    yield f"```text\n{format_coverage(info.coverage)}\n```\n"
    yield "## Accuracy\n"
    yield from _accuracy(card)
    yield "## Half precision\n"
    half = card["half"]
    differences = ", ".join(f"{output} {value:.1e}" for output, value in half["largest_difference"].items())
    yield "Filters and matrices are stored in float16 and computed in float32. Of the checkpoint in float32 the triplet"
    yield f"rows and class accuracies differ by at most {half['points']:.2f} points (allowed: {half['allowed']:g}), the"
    yield f"outputs by at most: {differences}.\n"
    yield "## Training\n"
    yield from _training(card, info)


def _accuracy(card: Mapping[str, Any]) -> Iterator[str]:
    splits = card["measured"]
    yield "Triplets: % with the odd face that the votes give, by type.\n"
    rows = [[name, *(decimal(part["triplets"][row]["percent"]) for row in ROWS)] for name, part in splits.items()]
    yield from _table([["split", *ROWS], *rows])
    for label_set in next(iter(splits.values()))["classes"]:
        yield f"Classes of label set `{label_set}`: % of the faces of each class, and of all.\n"
        parts = {name: part["classes"][label_set] for name, part in splits.items()}
        header = ["split", *next(iter(parts.values()))["classes"], "mean of classes", "all"]
        yield from _table([header, *([name, *_of_classes(part)] for name, part in parts.items())])
    for name, part in splits.items():
        yield f"{name}: parts of it and changed faces; of how many beside it. Covered: a grey rectangle on eyes and"
        yield "brows or on the mouth. Triplets of a part have all three faces in it.\n"
        yield from _table(conditions_table(part))
    selection = card["selected_by"]
    yield f"The checkpoint was selected by {selection}: that split is biased upwards.\n" if selection else ""


def _of_classes(part: Mapping[str, Any]) -> list[str]:
    recall = [100 * right / total if total else None for right, total in zip(part["right"], part["total"], strict=True)]
    return [decimal(value) for value in (*recall, part["mean_class_accuracy"], part["accuracy"])]


def _training(card: Mapping[str, Any], info: CheckpointInfo) -> Iterator[str]:
    where = info.provenance
    yield f"```bash\n{info.command}\n{card['command']}\n```\n"
    yield f"{info.iteration:,} iterations in {info.seconds / 3600:.1f} hours on {where.device}: {where.processor},"
    yield f"{where.world_size} processes, {where.threads} threads each, {where.precision}; fecnet {where.fecnet},"
    yield f"commit {where.commit}, torch {where.torch}, {info.started[:10]}."
    teachers = info.settings().DATA.TEACHERS
    yield f"Distilled from {', '.join(teachers)}." if teachers else "Not distilled from other nets."
    yield f"Pretrained weights: {info.pretraining or 'none'}. Measured {card['date'][:10]}.\n"


def _table(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    header, *others = ([str(cell) for cell in row] for row in rows)
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in others)
    yield ""
