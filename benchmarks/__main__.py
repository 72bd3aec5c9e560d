"""``python -m benchmarks [NAME …] [--quick]``: measure and write ``results/<NAME>.json``."""

from __future__ import annotations

import argparse
import importlib

from benchmarks.record import record
from fecnet.utils.env import provenance

_BENCHMARKS = (  # each a file of this name with a ``run(*, quick)`` that prints and returns what it measured
    "loss",
    "loop",
    "saving",
    "scaling",
    "survive",
    "annotations",
    "download",
    "faces",
    "extraction",
    "demo",
    "ferplus",
    "pruning",
    "gpu",
)


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure and write benchmarks/results.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="prove that they run; write nothing")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(_BENCHMARKS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(_BENCHMARKS)}")
    for name in options.names or _BENCHMARKS:
        print(f"== {name}")
        hardware = provenance()  # before the run: the code that was measured
        measured = importlib.import_module(f"benchmarks.{name}").run(quick=options.quick)
        if measured and not options.quick:
            record(name, measured, hardware)


if __name__ == "__main__":
    main()
