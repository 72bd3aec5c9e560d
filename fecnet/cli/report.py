"""``fecnet report``: an HTML report of one or more runs."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, such as result/demo")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file to write (default: report.html in the run's folder; for several runs ./report.html)",
    )
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    import datetime
    import time

    from fecnet.engine.checkpoint import find_checkpoint, run_of
    from fecnet.run_page.page import build_page
    from fecnet.run_page.run_record import RunRecord
    from fecnet.utils.files import replace_bytes

    started = time.monotonic()
    runs = [RunRecord(run_of(find_checkpoint(path, "best"))) for path in options.runs]
    page = build_page(runs, made=datetime.datetime.now().astimezone())
    output = options.output or (runs[0].path if len(runs) == 1 else Path()) / "report.html"
    output.parent.mkdir(parents=True, exist_ok=True)
    data = page.encode("utf-8", "replace")  # names of files may hold bytes that are no text
    replace_bytes(output, data)
    for run in runs:
        lacking = [name for name in run.expected if name not in run.tables]
        if lacking:
            print(f"{run.path}: {' and '.join(lacking)} not evaluated: fecnet evaluate {run.path}")
        elif run.dataset is None:
            print(f"{run.path}: a page without faces: {run.no_faces}")
    print(f"{output}: {len(data) / 1e6:.1f} MB in {time.monotonic() - started:.0f} s; opens in any browser, offline")
    return 0
