"""The page: runs one below the other, beneath what compares them; style, script and pictures are inside."""

from __future__ import annotations

import base64
import datetime
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fecnet
from fecnet.run_page.curves import compared_curves, run_curves
from fecnet.run_page.failures import triplet_failures, triplet_sheet, wrong_face_sheet, wrong_faces
from fecnet.run_page.map_figure import map_faces, map_figure
from fecnet.run_page.markup import Child, Markup, as_it_is, element
from fecnet.run_page.provenance import duration, provenance_section
from fecnet.run_page.run_record import RunRecord
from fecnet.run_page.tables import affect_table, class_tables, number, table, triplet_table

_HEADLINES = {  # of each table: the figure to quote, and how it is said
    "triplets": ("ALL", "of triplets judged as people do"),
    "classes": ("accuracy", "of faces called their label"),
    "affect": ("ccc", "of the possible concordance"),
}


def build_page(runs: Sequence[RunRecord], *, made: datetime.datetime) -> str:
    """The whole file.

    Args:
        runs: at least one.
        made: when.

    Raises:
        ValueError: a file of a run is damaged or does not fit its data.
    """
    names = _names(runs)
    title = f"fecnet: {names[0]}" if len(runs) == 1 else f"fecnet: {len(runs)} runs"
    script = _file("page.js")
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", as_it_is(_file("page.css"))),
    ]
    body: list[Child] = [element("header", element("h1", title), _contents(names))]
    if len(runs) > 1:
        body.append(_comparison(runs, names))
    body += [_run(run, name, place) for place, (run, name) in enumerate(zip(runs, names, strict=True), 1)]
    said = f"Made by fecnet {fecnet.__version__} on {made:%Y-%m-%d %H:%M} from what the runs have written."
    body += [element("footer", said), element("script", as_it_is(script))]
    html = element("html", element("head", head), element("body", element("main", body)), lang="en")
    return f"<!doctype html>\n{html}\n"


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Nothing is fetched, and no script runs but ours, whatever a file of the run may hold."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = ("style-src 'unsafe-inline'", "img-src data:", f"script-src 'sha256-{digest}'")
    return "; ".join(("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"))


def _names(runs: Sequence[RunRecord]) -> list[str]:
    """Of their folders; with those above where two are called alike."""
    names = [run.name for run in runs]
    return [str(run.path) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]


def _contents(names: Sequence[str]) -> Markup | None:
    if len(names) == 1:
        return None
    items = [element("li", element("a", name, href=f"#run{place}")) for place, name in enumerate(names, 1)]
    return element("nav", element("ul", items))


def _comparison(runs: Sequence[RunRecord], names: Sequence[str]) -> Markup:
    rows: list[list[Child]] = []
    for run, name in zip(runs, names, strict=True):
        meta = run.meta
        iteration = f"{meta['iteration']:,} of {meta.get('length') or '?'}"
        figures = "; ".join(f"{split} {percent} %" for split, percent, _ in _figures(run)) or "not measured"
        rows.append([name, meta["kind"], meta["data"]["name"], iteration, duration(meta.get("seconds")), figures])
    notes = [f"Other {what}: a figure of one run cannot be held against that of another." for what in _unlike(runs)]
    notes.append("One run each: how much a figure changes from seed to seed is not on this page.")
    head = ["run", "kind", "data", "checkpoint", "time", "measured"]
    return element(
        "section",
        element("h2", "Side by side"),
        table(head, rows, caption="The runs of this page"),
        [element("p", note, class_="note") for note in notes],
        compared_curves(runs, names),
        id="side-by-side",
    )


def _unlike(runs: Sequence[RunRecord]) -> list[str]:
    """What differs so that figures cannot be compared."""

    def differ(values: list[Any]) -> bool:
        return any(value != values[0] for value in values)

    found = {
        "data": [{key: run.meta["data"][key] for key in ("sources", "num_faces", "splits")} for run in runs],
        "coverage": [run.meta["coverage"] for run in runs],
        "classes": [run.meta.get("classes", []) for run in runs],
        "tasks": [run.meta["kind"] for run in runs],
    }
    return [what for what, values in found.items() if differ(values)]


def _run(run: RunRecord, name: str, place: int) -> Markup:
    meta = run.meta
    said = f"{meta['kind']} · {meta['data']['name']} · {meta['config']['MODEL']['BACKBONE']}"
    parts: list[Child] = [
        element("h2", name),
        element("p", f"{said} · checkpoint of iteration {meta['iteration']:,}", class_="note"),
        _cards(run),
        element("h3", "Curves"),
        run_curves(run),
        element("h3", "Tables"),
        _tables(run),
        element("h3", "Where net and people disagree"),
        _failures(run),
        element("h3", "Face map"),
        _map(run, f"run{place}"),
        element("h3", "Provenance"),
        provenance_section(run),
    ]
    return element("section", parts, id=f"run{place}")


def _figures(run: RunRecord) -> list[tuple[str, str, str]]:
    """Split, per cent and what it is, of all that was measured."""
    found = []
    for name, measured in run.measured.items():
        key, said = _HEADLINES[name]
        for split, values in measured["splits"].items():
            percent = values["fecnet"][key]["percent"] if name == "triplets" else values[key]
            selecting = " (this split selected the checkpoint)" if split == run.selecting_split() else ""
            found.append((split, number(percent), said + selecting))
    return found


def _cards(run: RunRecord) -> Markup | None:
    cards = [
        element("div", element("b", f"{percent} %"), element("span", said), element("small", split), class_="figure")
        for split, percent, said in _figures(run)
    ]
    return element("div", cards, class_="figures") if cards else None


def _tables(run: RunRecord) -> list[Child]:
    parts: list[Child] = [_not_measured(run, name) for name in run.expected() if name not in run.measured]
    for name, measured in run.measured.items():
        if measured["iteration"] != run.meta["iteration"]:
            said = f"The {name} below are of iteration {measured['iteration']}; the checkpoint to use is now "
            again = element("code", f"python inference.py {shlex.quote(str(run.path))}")
            parts.append(element("p", said, f"{run.meta['iteration']}: measure anew: ", again, class_="absent"))
        for split, found in measured["splits"].items():
            selected = " (selected the checkpoint)" if split == run.selecting_split() else ""
            parts.append(element("h4", f"{split}{selected}"))
            if name == "triplets":
                parts.append(triplet_table(found))
            else:
                parts.append(class_tables(found) if name == "classes" else affect_table(found))
    return parts


def _not_measured(run: RunRecord, what: str) -> Markup:
    command = element("code", f"python inference.py {shlex.quote(str(run.path))}")
    return element("p", f"{what.capitalize()} not measured: ", command, class_="absent")


def _failures(run: RunRecord) -> list[Child]:
    if run.dataset is None:
        return [_no_faces(run)]
    parts: list[Child] = []
    embedded = run.arrays("embeddings", ("embedding",)) if "triplets" in run.measured else None
    for split in run.measured["triplets"]["splits"] if embedded is not None else ():
        triplets = run.dataset.triplets(split)
        try:
            failures, counts = triplet_failures(triplets, embedded["rows"], embedded["embedding"])
        except ValueError as error:
            raise ValueError(f"{run.path / 'evaluation' / 'embeddings.npz'}: {error}") from error
        said = ", ".join(f"{row} {count:,}" for row, count in counts.items())
        parts += [
            element("h4", f"Triplets of {split}"),
            element("p", f"Judged otherwise than by people: {said} of {len(triplets):,}; {_LEGEND}", class_="note"),
            triplet_sheet(run.dataset, failures),
        ]
    predicted = run.arrays("predictions", ("label", "probability")) if "classes" in run.measured else None
    if predicted is not None:
        faces, num = wrong_faces(predicted["rows"], predicted["label"], predicted["probability"])
        known = int((predicted["label"] >= 0).sum())
        said = f"{num:,} of {known:,} labelled faces of all measured splits are called another class"
        parts += [
            element("h4", "Faces called another class than their label"),
            element("p", f"{said}; the surest mistakes, at most three of a kind.", class_="note"),
            wrong_face_sheet(run.dataset, faces, run.meta["classes"]),
        ]
    return parts or [element("p", "Neither triplets nor classes were measured.", class_="absent")]


_LEGEND = "shown are the net's surest mistakes of each type, with whom people and whom the net call the odd one."


def _map(run: RunRecord, name: str) -> Markup:
    if run.dataset is None:
        return _no_faces(run)
    faces = map_faces(run, run.dataset)
    if faces is None:
        return element("p", "No values of single faces were written: measure the run anew.", class_="absent")
    return map_figure(faces, run.dataset, name=name)


def _no_faces(run: RunRecord) -> Markup:
    return element("p", f"No faces on this page: {run.no_faces}", class_="absent")
