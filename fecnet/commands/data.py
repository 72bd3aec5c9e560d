"""``fecnet data show`` and ``fecnet data verify``: what a packed data set holds, and whether it is whole."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="check every file: hashes, shapes, ranges, counts")
    verify.add_argument("path", type=Path, metavar="DIR", help="packed data set, such as datasets/demo")
    verify.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    """A line per fault and exit code 2, or one line that all is well."""
    from fecnet.data.verify import verify_dataset

    verdict = verify_dataset(options.path)
    if not verdict.hashed:
        print(f"{options.path}: records no hashes, as an older version made it; everything else is checked")
    print("".join(f"{fault}\n" for fault in verdict.faults), end="")
    state = f"{len(verdict.faults)} faults" if verdict.faults else "all well"
    print(f"{options.path}: {verdict.num_files} files, {verdict.num_faces:,} faces, {state}")
    return 2 if verdict.faults else 0
