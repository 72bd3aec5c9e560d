"""The page: a comparison, then the runs one below the other; style, script and images are inline."""

from __future__ import annotations

import base64
import datetime
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from fecnet.run_page.comparison import comparison_section, headline_metrics
from fecnet.run_page.curves import reliability_chart, run_curves
from fecnet.run_page.disagreement import disagreement_section, no_faces
from fecnet.run_page.map_figure import map_faces, map_figure
from fecnet.run_page.markup import Child, Markup, as_it_is, element
from fecnet.run_page.provenance import provenance_section
from fecnet.run_page.run_record import RunRecord
from fecnet.run_page.tables import affect_table, class_tables, copies_note, near_ties_note, spread_note, triplet_table
from fecnet.utils.package import VERSION


def build_page(runs: Sequence[RunRecord], *, made: datetime.datetime) -> str:
    """The whole file.

    Args:
        runs: at least one run.
        made: date and time shown on the page.

    Raises:
        UserError: a file of a run is damaged or does not fit its data.
    """
    names = _names(runs)
    title = names[0] if len(runs) == 1 else f"{len(runs)} runs"
    script = _file("page.js")
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · fecnet report"),
        element("style", as_it_is(_file("page.css"))),
    ]
    body: list[Child] = [element("header", element("h1", title), _contents(names))]
    if len(runs) > 1:
        body.append(comparison_section(runs, names))
    heads = [element("h2", name) for name in names] if len(runs) > 1 else [None]
    body += [_run(run, head, place) for place, (run, head) in enumerate(zip(runs, heads, strict=True), 1)]
    footer = f"Made by fecnet {VERSION} on {made:%Y-%m-%d %H:%M} from what the runs have written."
    body += [element("footer", footer), element("script", as_it_is(script))]
    html = element("html", element("head", head), element("body", element("main", body)), lang="en")
    return f"<!doctype html>\n{html}\n"


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Content security policy: nothing is fetched and only fecnet's script runs, whatever the run's files contain."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = ("style-src 'unsafe-inline'", "img-src data:", f"script-src 'sha256-{digest}'")
    return "; ".join(("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"))


def _names(runs: Sequence[RunRecord]) -> list[str]:
    """Folder names; whole paths where two are the same."""
    names = [run.name for run in runs]
    return [str(run.path) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]


def _contents(names: Sequence[str]) -> Markup | None:
    if len(names) == 1:
        return None
    items = [element("li", element("a", name, href=f"#run{place}")) for place, name in enumerate(names, 1)]
    return element("nav", element("ul", items))


def _run(run: RunRecord, head: Markup | None, place: int) -> Markup:
    info = run.best
    summary = f"{info.kind} · {info.data.name} · {run.config.MODEL.BACKBONE}"
    parts: list[Child] = [
        head,
        element("p", f"{summary} · checkpoint of iteration {info.iteration:,}", class_="note"),
        _cards(run),
        element("h3", "Curves"),
        run_curves(run),
        element("h3", "Tables"),
        _tables(run),
        element("h3", "Where net and annotators disagree"),
        disagreement_section(run),
        element("h3", "Face map"),
        _map(run, f"run{place}"),
        element("h3", "Provenance"),
        provenance_section(run),
    ]
    return element("section", parts, id=f"run{place}")


def _cards(run: RunRecord) -> Markup | None:
    cards = [
        element("div", element("b", f"{percent} %"), element("span", text), element("small", split), class_="figure")
        for split, percent, text in headline_metrics(run)
    ]
    return element("div", cards, class_="figures") if cards else None


def _tables(run: RunRecord) -> list[Child]:
    parts: list[Child] = [_not_evaluated(run, name) for name in run.expected if name not in run.tables]
    for name, measured in run.tables.items():
        if measured["iteration"] != run.best.iteration:
            note = f"The {name} below are of iteration {measured['iteration']}; the best checkpoint is now of "
            again = element("code", f"fecnet evaluate {shlex.quote(str(run.path))}")
            parts.append(element("p", note, f"{run.best.iteration}; evaluate it with: ", again, class_="absent"))
        for split, found in measured["splits"].items():
            selected = " (selected the checkpoint)" if split == run.selecting_split else ""
            views = measured["views"]
            shown = f", mean over the views {views}" if views != "center" else ""
            parts.append(element("h4", f"{split}: {name}{selected}{shown}"))
            if name == "triplets":
                spread, near = ((measured.get(key) or {}).get(split) for key in ("spread", "near_ties"))
                parts += [triplet_table(found), spread_note(spread), near_ties_note(near)]
            elif name == "affect":
                parts.append(affect_table(found))
            else:
                chart = reliability_chart(found["calibration"])
                parts += [class_tables(found), near_ties_note(found.get("near_ties")), copies_note(found)]
                parts.append(element("div", chart, class_="charts") if chart else None)
    return parts


def _not_evaluated(run: RunRecord, what: str) -> Markup:
    command = element("code", f"fecnet evaluate {shlex.quote(str(run.path))}")
    return element("p", f"{what.capitalize()} not evaluated: ", command, class_="absent")


def _map(run: RunRecord, name: str) -> Markup:
    if run.dataset is None:
        return no_faces(run)
    faces = map_faces(run, run.dataset)
    if faces is None:
        return element("p", "No outputs of single faces were written: evaluate the run again.", class_="absent")
    return map_figure(faces, run.dataset, name=name)
