"""Provenance of a run's results: command, code, hardware, time, data, settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from fecnet.config.node import flatten, load_config
from fecnet.evaluation.coverage import format_coverage
from fecnet.run_page.markup import Child, Markup, element
from fecnet.run_page.run_record import RunRecord
from fecnet.utils.typed_json import to_json

_AGAIN = ("fecnet", "train")


def provenance_section(run: RunRecord) -> list[Markup]:
    """Everything that is recorded about how the run was made."""
    info, made = run.best, to_json(run.best.provenance)
    facts: list[tuple[str, Child]] = [
        ("trained by", element("code", info.command)),
        ("started", info.started),
        ("again", element("code", shlex.join([*_AGAIN, str(run.path / "config.yaml"), "NAME", f"{run.name}-again"]))),
        ("time", duration(info.seconds)),
        ("code", _version(made)),
        ("hardware", _hardware(made)),
        ("iteration", iterations(run)),
        ("selected by", run.selecting_split or "nothing: the last iteration"),
        ("pretraining", info.pretraining or "no"),
        ("data", _data(run)),
    ]
    for name, table in run.tables.items():
        facts.append((f"{name} evaluated", _measured(table)))
    return [
        _definitions(facts),
        _folded("Coverage of the data: what was read, kept and dropped", format_coverage(info.coverage)),
        _settings(run.config),
    ]


def iterations(run: RunRecord) -> str:
    """Iteration of the best checkpoint, and the length of the training."""
    return f"{run.best.iteration:,} of {run.best.length or '?'}"


def duration(seconds: float) -> str:
    """A duration in a fitting unit."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _definitions(facts: Iterable[tuple[str, Child]]) -> Markup:
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in facts])


def _version(known: Mapping[str, Any]) -> str:
    commit = f"commit {known['commit']}" if known["commit"] else "commit unknown"
    return f"fecnet {known['fecnet']}, {commit}, torch {known['torch']}, Python {known['python']}"


def _hardware(known: Mapping[str, Any]) -> str:
    parts = [known["processor"] or "processor unknown", f"{known['cores']} cores", known["device"]]
    parts.append(f"{known['world_size']} process(es) of {known['threads']} thread(s)")
    return ", ".join([*parts, *([known["precision"]] if "precision" in known else [])])


def _data(run: RunRecord) -> str:
    data = run.best.data
    sources = "; ".join(f"{name}: {value}" for name, value in data.sources.items())
    return f"{data.name}, {data.num_faces:,} faces" + (f" ({sources})" if sources else "")


def _measured(table: Mapping[str, Any]) -> list[Child]:
    known = table["provenance"]
    parts = (f"checkpoint {table['checkpoint']}", f"data {table['data']}", _version(known), _hardware(known))
    return [element("code", table["command"]), " ", " · ".join((*parts, table["date"]))]


def _settings(config: Mapping[str, Any]) -> Markup:
    """All settings, those that differ from the defaults first."""
    defaults = dict(flatten(load_config()))
    every = dict(flatten(config))
    other = {key: value for key, value in every.items() if key not in defaults or defaults[key] != value}
    lines = [f"{key}: {value!r}" for key, value in other.items()]
    rest = [f"{key}: {value!r}" for key, value in every.items() if key not in other]
    text = "\n".join([*lines, "", f"# defaults ({len(rest)})", *rest])
    return _folded(f"Settings: {len(other)} of {len(every)} differ from the defaults", text)


def _folded(title: str, text: str) -> Markup:
    return element("details", element("summary", title), element("pre", text, tabindex=0))
