"""The option ``--json FILE``, the same for all commands; ``-`` is standard output."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

STDOUT = "-"


def add_json_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Describe the option; ``what`` names what is written."""
    parser.add_argument(
        "--json", default="", metavar="FILE", help=f"write {what} as JSON to FILE; - for standard output, without text"
    )


def print_text(target: str, text: str) -> None:
    """Print a command's text, unless the JSON is written to standard output."""
    if target != STDOUT:
        print(text, flush=True)


def write_json(target: str, value: Any) -> None:
    """Write ``value`` to a file or to standard output; do nothing if the option was not given."""
    from fecnet.utils.files import replace_json

    if target == STDOUT:
        print(json.dumps(value, indent=2, ensure_ascii=False))
    elif target:
        replace_json(Path(target), value)
