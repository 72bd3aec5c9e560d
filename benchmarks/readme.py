"""``python -m benchmarks readme``: the page of all measured results, generated from the JSON files and recipe headers.

Benchmarks come in groups, each with the question that it answers; those that have not been measured are listed last.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.record import read
from fecnet.utils.files import replace_text

ROOT = Path(__file__).parents[1]
_INTRO = """# Measured results

Records are made on demand only, by no test and no CI job. `python -m benchmarks NAME` measures and writes one.
`make bench` measures all: it lists first how long each took when it was last recorded, and names those that failed.
This page is made of the records and the headers of `config/*.yaml` (alone: `python -m benchmarks readme`); nothing
here is written by hand. A commit with `+` had changes that were not committed.
"""
_OTHERS, _RECIPES, _LACKING = "Other records", "Recipes", "Not measured"  # headings after those of the groups
_RECIPES_QUESTION = "What do the published settings reach?"
_SPREAD = {"median", "min", "max", "runs"}  # of record.spread


class Group(NamedTuple):
    """Benchmarks that answer one question of a reader.

    Attributes:
        title: heading.
        question: in one sentence.
        names: of the benchmarks, in order.
    """

    title: str
    question: str
    names: tuple[str, ...]


def write_readme(groups: Sequence[Group], results: Path) -> Path:
    """Write ``README.md`` into the folder of results; where it is."""
    path = results / "README.md"
    replace_text(path, readme(groups, results, ROOT / "config"))
    return path


def readme(groups: Sequence[Group], results: Path, recipes: Path) -> str:
    """The page as Markdown.

    Args:
        groups: all benchmarks there are, in order.
        results: folder of ``<name>.json``; records of other names come after those of the groups.
        recipes: folder of YAML recipes.

    Raises:
        ValueError: a JSON file that is no record of a measurement.
    """
    records = {path.stem: read(path) for path in sorted(results.glob("*.json"))}
    names = [name for group in groups for name in group.names]
    others = Group(_OTHERS, "What else was measured?", tuple(name for name in records if name not in names))
    measured = [
        group._replace(names=tuple(name for name in group.names if name in records)) for group in (*groups, others)
    ]
    measured = [group for group in measured if group.names]
    parts = [_INTRO, _contents(measured)]
    for group in measured:
        parts += [f"## {group.title}\n\n{group.question}\n"]
        parts += [_section(name, records[name]) for name in group.names]
    return "\n".join([*parts, _recipes(recipes), _not_measured([name for name in names if name not in records])])


def _contents(groups: Sequence[Group]) -> str:
    rows = [["question", "measured by"]]
    for title, question, names in groups:
        rows.append(
            [f"**[{title}](#{_anchor(title)})**: {question}", ", ".join(f"[{name}](#{name})" for name in names)]
        )
    rows.append([f"**[{_RECIPES}](#{_anchor(_RECIPES)})**: {_RECIPES_QUESTION}", "`python train.py RECIPE`"])
    rows.append([f"**[{_LACKING}](#{_anchor(_LACKING)})**", "the benchmarks without a record"])
    return _table(rows) + "\n"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(name: str, record: Mapping[str, Any]) -> str:
    hardware = dict(record["hardware"])
    machine = f"{hardware.get('processor', '?')}, {hardware.get('cores', '?')} cores, {hardware.get('device', '?')}"
    software = f"torch {hardware.get('torch', '?')}, Python {hardware.get('python', '?')}"
    threads = f"threads {hardware.get('threads', '?')}"
    return "\n".join(
        [
            f"### {name}\n\n{_claim(name)}\n",
            f"`{record['command']}` · {record['date']} · {_commit(record)} · {machine}, {threads} · {software}\n",
            "\n\n".join(_blocks(record["measured"])) + "\n",
        ]
    )


def _not_measured(names: Sequence[str]) -> str:
    rows = [["benchmark", "what it measures", "command"]]
    rows += [[name, _claim(name), f"`python -m benchmarks {name}`"] for name in names]
    return f"## {_LACKING}\n\n{_table(rows) if names else 'Every benchmark has a record.'}\n"


def _commit(record: Mapping[str, Any]) -> str:
    return f"commit {record['hardware'].get('commit') or 'unknown'}"


def _claim(name: str) -> str:
    """The first sentence of the benchmark's docstring, read without running it."""
    path = Path(__file__).with_name(f"{name}.py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None
    return " ".join((docstring or "").split("\n\n")[0].split())


def _blocks(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Tables of all that was measured: plain values first, then a table for what has rows, then what lies deeper.

    Raises:
        ValueError: a list that mixes records with other things.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{prefix}: {value!r} among records; expected records alone")
    plain = {key: item for key, item in value.items() if _is_plain(item)}
    if plain:
        yield _table([["", prefix or "measured"], *([_words(key), _cell(item)] for key, item in plain.items())])
    for key, item in value.items():
        title = f"{prefix} · {_words(key)}" if prefix else _words(key)
        if key in plain:
            continue
        rows = _rows(item)
        if rows:
            yield _table([[title, *rows[0][1]], *([name, *row.values()] for name, row in _cells(rows))])
        elif isinstance(item, Mapping):
            yield from _blocks(item, title)
        elif all(isinstance(row, list) and all(map(_is_plain, row)) for row in item):  # a matrix
            width = max(map(len, item))
            numbers = [str(number) for number in range(1, width + 1)]
            rows_of = [[str(number), *map(_cell, row)] for number, row in enumerate(item, 1)]
            yield _table([[title, *numbers], *(row + [""] * (width + 1 - len(row)) for row in rows_of)])
        else:
            for number, row in enumerate(item, 1):
                yield from _blocks(row, f"{title} {number}")


def _rows(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Named rows of plain values under the same columns, of a dict of dicts or a list of dicts; empty = it is none."""
    if isinstance(value, Mapping):
        rows = [(_words(name), row) for name, row in value.items()]
    else:
        rows = [(str(number), row) for number, row in enumerate(value, 1)]
    if not all(isinstance(row, Mapping) and all(map(_is_plain, row.values())) for _, row in rows):
        return []
    columns = list(rows[0][1])
    if any(list(row) != columns for _, row in rows):
        return []
    return [(name, {_words(column): cell for column, cell in row.items()}) for name, row in rows]


def _cells(rows: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, str]]]:
    for name, row in rows:
        yield name, {column: _cell(cell) for column, cell in row.items()}


def _is_plain(value: Any) -> bool:
    """Whether a value fits into one cell."""
    if isinstance(value, Mapping):
        return set(value) == _SPREAD or not value
    return not isinstance(value, list) or not any(isinstance(item, (Mapping, list)) for item in value)


def _cell(value: Any) -> str:
    if isinstance(value, (Mapping, list)) and not value:
        return "none"
    if isinstance(value, Mapping):
        least, most = _cell(value["min"]), _cell(value["max"])
        return f"{_cell(value['median'])} ({least} to {most}, {value['runs']} runs)"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        digits = f"{value:.4g}"
        return digits if "e" not in digits else f"{value:,.0f}" if value > 1 else digits
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else _escaped(str(value))


def _words(key: str) -> str:
    return _escaped(str(key).replace("_", " "))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def _recipes(folder: Path) -> str:
    rows = [["recipe", "command", "published", "measured"]]
    for path in sorted(folder.glob("*.yaml")):
        header = _header(path)
        measured = header.get("Measured", "not measured")
        told = [f"`{header['Command']}`" if "Command" in header else "-", header.get("Published", "-"), measured]
        rows.append([f"`config/{path.name}`", *(cell.replace("|", "\\|") for cell in told)])
    return f"## {_RECIPES}\n\n{_RECIPES_QUESTION} Their headers say:\n\n{_table(rows)}\n"


def _header(path: Path) -> dict[str, str]:
    """The fields of a recipe's header, such as ``Measured``; a field goes on in the lines indented below it."""
    fields: dict[str, str] = {}
    field = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        found = re.match(r"# ([A-Z]\w+): +(.*)", line)
        if found:
            field, text = found.groups()
            fields[field] = " ".join(text.split())
        elif field and line.startswith("#  "):
            fields[field] += f" {line[1:].strip()}"
        else:
            field = ""
    return fields
