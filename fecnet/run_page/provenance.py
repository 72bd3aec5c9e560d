"""Where a run's numbers come from: command, code, hardware, time, data, settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from fecnet.config.node import flatten, load_config
from fecnet.evaluation.coverage import format_coverage
from fecnet.run_page.markup import Child, Markup, element
from fecnet.run_page.run_record import RunRecord

_ABSENT = "not recorded"
_AGAIN = ("fecnet", "train")


def provenance_section(run: RunRecord) -> list[Markup]:
    """All that is known of how the run came about."""
    meta = run.meta
    facts: list[tuple[str, Child]] = [
        ("trained by", _code(meta.get("command"))),
        ("started", meta.get("started") or _ABSENT),
        ("again", element("code", shlex.join([*_AGAIN, str(run.path / "config.yaml"), "NAME", f"{run.name}-again"]))),
        ("time", duration(meta.get("seconds"))),
        ("code", _version(meta.get("provenance", {}))),
        ("hardware", _hardware(meta.get("provenance", {}))),
        ("iteration", f"{meta['iteration']:,} of {meta.get('length') or '?'}"),
        ("selected by", run.selecting_split() or "nothing: the last iteration"),
        ("trained before", meta.get("pretraining") or "no"),
        ("data", _data(run)),
    ]
    for name, table in run.measured.items():
        facts.append((f"{name} measured", _measured(table)))
    return [
        _definitions(facts),
        _folded("Coverage of the data: what was read, kept and dropped", format_coverage(meta["coverage"])),
        _settings(meta["config"]),
    ]


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return _ABSENT
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _definitions(facts: Iterable[tuple[str, Child]]) -> Markup:
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in facts])


def _code(text: str | None) -> Child:
    return element("code", text) if text else _ABSENT


def _version(known: Mapping[str, Any]) -> str:
    commit = known.get("commit")
    said = f"commit {commit}" if commit else "commit unknown"
    return (
        f"fecnet {known.get('fecnet', '?')}, {said}, torch {known.get('torch', '?')}, Python {known.get('python', '?')}"
    )


def _hardware(known: Mapping[str, Any]) -> str:
    parts = [
        known.get("processor") or "processor unknown",
        f"{known.get('cores', '?')} cores",
        known.get("device", "?"),
    ]
    parts.append(f"{known.get('world_size', '?')} process(es) of {known.get('threads', '?')} thread(s)")
    return ", ".join([*parts, *([known["precision"]] if "precision" in known else [])])


def _data(run: RunRecord) -> str:
    data = run.meta["data"]
    sources = "; ".join(f"{name}: {value}" for name, value in data["sources"].items())
    return f"{data['name']}, {data['num_faces']:,} faces" + (f" ({sources})" if sources else "")


def _measured(table: Mapping[str, Any]) -> list[Child]:
    known = table.get("provenance", {})
    parts = [f"checkpoint {table.get('checkpoint', '?')}", f"data {table.get('data', '?')}"]
    parts += [_version(known), _hardware(known), *([table["date"]] if "date" in table else [])]
    command = table.get("command")
    return [element("code", command) if command else None, " " if command else None, " · ".join(parts)]


def _settings(config: Mapping[str, Any]) -> Markup:
    """All settings, those apart first that are not the defaults."""
    defaults = dict(flatten(load_config()))
    every = dict(flatten(config))
    other = {key: value for key, value in every.items() if key not in defaults or defaults[key] != value}
    lines = [f"{key}: {value!r}" for key, value in other.items()]
    rest = [f"{key}: {value!r}" for key, value in every.items() if key not in other]
    text = "\n".join([*lines, "", f"# as the defaults ({len(rest)})", *rest])
    return _folded(f"Settings: {len(other)} of {len(every)} differ from the defaults", text)


def _folded(title: str, text: str) -> Markup:
    return element("details", element("summary", title), element("pre", text, tabindex=0))
