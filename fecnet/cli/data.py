"""``fecnet data show``, ``verify`` and ``raters``: contents and integrity of a packed data set, and who rated it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fecnet.cli.json_option import STDOUT, add_json_option, print_text, write_json

if TYPE_CHECKING:
    from fecnet.data.packed import PackedDataset

_COLUMNS = 12  # faces in a row of a sheet


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="counts, class balance, triplets, subjects, duplicates across splits")
    show.add_argument("--sheet", type=Path, metavar="FILE", help="also write a PNG with a row of faces per class")
    add_json_option(show, "the results")
    show.set_defaults(run=_show)
    verify = actions.add_parser("verify", help="verify every file: hashes, shapes, ranges, counts")
    verify.set_defaults(run=_verify)
    raters = actions.add_parser("raters", help="each rater: answers, agreement with the others, reliability")
    raters.description = (
        "Each rater of triplets: number of answers, agreement with the others, reliability by Dawid and Skene's model "
        "(probability of choosing the odd face), and with --run the ability that a net learned."
    )
    raters.add_argument("--split", default="train", help="split of the triplets (default train)")
    raters.add_argument(
        "--run", dest="trained", metavar="RUN", help="trained with rater_choice: also the ability that it learned"
    )
    raters.add_argument("--plot", type=Path, metavar="FILE", help="also write a PNG with a point per rater")
    add_json_option(raters, "the results")
    raters.set_defaults(run=_raters)
    for action in (show, verify, raters):
        action.add_argument("path", type=Path, metavar="DIR", help="packed data set, such as datasets/demo")


def _show(options: argparse.Namespace) -> int:
    from fecnet.data.inspect import format_inspection, inspect_dataset
    from fecnet.data.packed import PackedDataset
    from fecnet.evaluation.coverage import format_coverage

    dataset = PackedDataset(options.path)
    found = inspect_dataset(dataset)
    write_json(options.json, found)
    print_text(options.json, f"{format_inspection(found)}\n\n{format_coverage(found['coverage'])}")
    if found["warnings"]:
        print_text(options.json, "\n" + "\n".join(f"WARNING: {line}" for line in found["warnings"]))
    if options.sheet:
        _write_sheet(dataset, options.sheet, tell=options.json != STDOUT)
    return 0


def _write_sheet(dataset: PackedDataset, path: Path, *, tell: bool) -> None:
    from fecnet.data.sheet import sheet_faces
    from fecnet.evaluation.contact_sheet import contact_sheet

    image_NHWC, captions, names = sheet_faces(dataset, _COLUMNS)
    contact_sheet(image_NHWC, _COLUMNS, path, captions)
    if tell:
        print(f"\n{path}: from top to bottom: {', '.join(names)}")


def _verify(options: argparse.Namespace) -> int:
    """Print a line per fault and return 2, or print one line and return 0."""
    from fecnet.data.verify import verify_dataset

    verdict = verify_dataset(options.path)
    print("".join(f"{fault}\n" for fault in verdict.faults), end="")
    state = f"{len(verdict.faults)} faults" if verdict.faults else "all well"
    print(f"{options.path}: {verdict.num_files} files, {verdict.num_faces:,} faces, {state}")
    return 2 if verdict.faults else 0


def _raters(options: argparse.Namespace) -> int:
    from fecnet.data.packed import PackedDataset
    from fecnet.data.rater_answers import answer_notes, read_rater_answers
    from fecnet.evaluation.drawing import require_matplotlib
    from fecnet.evaluation.rater_summary import format_raters, raters_plot, summarise_raters

    if options.plot:
        require_matplotlib()  # first: its absence should not cost a long reading
    dataset = PackedDataset(options.path)
    answers = read_rater_answers(dataset, options.split)
    ability_R = None
    if options.trained:
        from fecnet.runs.raters import learned_abilities

        ability_R = learned_abilities(options.trained, dataset, options.split, len(answers.number_R))
    arrays = (answers.triplet_A, answers.rater_A, answers.choice_A)
    rows = summarise_raters(answers.names, *arrays, unknown=answers.unknown, ability_R=ability_R)
    notes = answer_notes(answers)
    counts = {"triplets": len(answers.odd_T), "answers": len(answers.rater_A)}
    found = {"path": str(options.path), "split": options.split, **counts, "notes": notes}
    write_json(options.json, {**found, "raters": [row.to_dict() for row in rows]})
    title = f"{options.path}, {options.split}: {counts['answers']:,} answers to {counts['triplets']:,} triplets"
    print_text(options.json, "\n".join([title, *(f"WARNING: {note}" for note in notes), "", format_raters(rows)]))
    if options.plot:
        raters_plot(rows, title, options.plot)
    return 0
