"""``python -m benchmarks [NAME …] [--quick]``: measure, write ``results/<NAME>.json`` and the results page.

Without names all are measured, in order. Before several, their estimated times are printed; those that fail are named.
``python -m benchmarks readme`` writes only the page. ``card``, ``ship`` and ``cards`` are of single nets:
``benchmarks/card.py``, ``benchmarks/ship.py``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import record
from benchmarks.readme import Group, write_readme
from benchmarks.several import estimate, run_each
from fecnet.utils.env import provenance
from fecnet.utils.program import run_program

GROUPS = (  # each name is a module with a function ``run(*, quick)`` that prints and returns its measurements
    Group(
        "Accuracy",
        "How often is a net right, and what changes that?",
        (
            *("demo", "ferplus", "ckplus", "photo_in", "faces", "boxes", "export", "pruning", "schedules", "sharing"),
            *("choices", "relabelling", "raters", "rate_learning", "identity_leak"),
        ),
    ),
    Group(
        "Speed",
        "How long does each part take, on one machine?",
        (
            *("embedding", "inference_cpu", "serve", "extraction", "packing", "report", "imports", "time_to", "loop"),
            *("step", "loss", "data_path", "evaluation", "small_maps", "kept_memory", "saving"),
        ),
    ),
    Group(
        "Scale",
        "What happens to time and memory with more data, processes, GPUs or raters?",
        ("growth", "annotations", "search", "scaling", "gpu", "rate"),
    ),
    Group(
        "Reliability",
        "What is lost if a process, a machine, a write, a server or an input fails?",
        ("survive", "elastic", "faults", "long", "download", "rehearsal", "fuzz"),
    ),
    Group(
        "Compared with whom",
        "How do other packages do on the same faces and the same machine?",
        ("shipped", "peers"),
    ),
)
BENCHMARKS = tuple(name for group in GROUPS for name in group.names)


def main() -> int:
    """Run the named benchmarks, or all, and write the page of results; or measure or ship a net; the exit code."""
    if sys.argv[1:2] in (["card"], ["ship"]):
        tool = importlib.import_module(f"benchmarks.{sys.argv[1]}").main
        return run_program(lambda: tool(sys.argv[2:]))
    if sys.argv[1:] == ["cards"]:
        print(*importlib.import_module("benchmarks.ship").write_cards(), sep="\n")
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure and write benchmarks/results.")
    help_text = f"of {', '.join(BENCHMARKS)} (default: all); readme: only write the page of what was measured"
    parser.add_argument("names", nargs="*", metavar="NAME", help=help_text)
    parser.add_argument("--quick", action="store_true", help="prove that they run; write nothing")
    relabelling = parser.add_argument_group("relabelling")
    relabelling.add_argument("--epochs", type=float, metavar="N", help="length of each run (default: of the recipe)")
    relabelling.add_argument("--jobs", type=int, default=2, metavar="N", help="runs side by side (default 2)")
    shipped = parser.add_argument_group("photo_in and shipped")
    nets = "run, checkpoint or shipped net to measure; may be repeated (default: all shipped; photo_in trains one)"
    shipped.add_argument("--net", action="append", default=[], metavar="RUN_OR_NET", help=nets)
    shipped.add_argument(
        "--split", default="private_test", help="shipped: of datasets/ferplus (default private_test, recorded)"
    )
    folder = "shipped: where the packages of others are installed (default datasets/opponents)"
    shipped.add_argument("--opponents", default="datasets/opponents", metavar="FOLDER", help=folder)
    shipped.add_argument("--ckplus", action="store_true", help="shipped: measure datasets/ckplus too")
    long = parser.add_argument_group("long")
    hours = "of each of its two runs, of which finished ones are kept (default 2)"
    long.add_argument("--hours", type=float, default=2.0, metavar="H", help=hours)
    rehearsal = parser.add_argument_group("rehearsal")
    rows = "rows of its training file; with fewer than all, nothing is recorded (default 450000)"
    rehearsal.add_argument("--rows", type=int, default=450_000, metavar="N", help=rows)
    cpu = parser.add_argument_group("inference_cpu, extraction, step")
    checkout = "checkout of fecnet to compare with, such as a git worktree of another commit (default: this one)"
    cpu.add_argument("--before", default="", metavar="FOLDER", help=checkout)
    fuzz = parser.add_argument_group("fuzz")
    target = "target alone, with 5,000 inputs; may be repeated (default: all, 100,000)"
    fuzz.add_argument("--target", action="append", default=[], metavar="NAME", help=target)
    fuzz.add_argument("--seed", type=int, default=0, metavar="N", help="another one draws other inputs (default 0)")
    fuzz.add_argument("--choices", default="", metavar="HEX", help="the one input of a target, as a find names it")
    options = parser.parse_args()
    if options.names == ["readme"]:
        print(write_readme(GROUPS, record.RESULTS))
        return 0
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}, and readme alone")
    names = options.names or BENCHMARKS
    if len(names) > 1:
        if not options.quick:
            print(estimate(names, record.RESULTS), flush=True)
        passed_on = [word for word in sys.argv[1:] if word not in names]
        return run_program(lambda: run_each(names, passed_on))
    settings = {
        "relabelling": {"epochs": options.epochs, "jobs": options.jobs},
        **{name: {"before": options.before} for name in ("inference_cpu", "extraction", "step")},
        "long": {"hours": options.hours},
        "rehearsal": {"rows": options.rows},
        "fuzz": {"only": options.target, "seed": options.seed, "choices": options.choices},
        "photo_in": {"net": options.net[0] if options.net else ""},
        "shipped": {
            "nets": options.net,
            "split": options.split,
            "opponents": options.opponents,
            "ckplus": options.ckplus,
        },
    }
    _measure(*names, quick=options.quick, settings=settings.get(names[0], {}))
    return 0


def _measure(name: str, *, quick: bool, settings: Mapping[str, Any]) -> None:
    """Run one in this process; a full run is recorded, and the page written anew."""
    print(f"== {name}", flush=True)
    hardware = provenance()  # before the run: the code that was measured
    started = time.perf_counter()
    measured = importlib.import_module(f"benchmarks.{name}").run(quick=quick, **settings)
    if measured and not quick:
        record.record(name, measured, hardware, time.perf_counter() - started)
        write_readme(GROUPS, record.RESULTS)


if __name__ == "__main__":
    sys.exit(main())
