"""Generates ``docs/config.md`` from the comments in ``defaults.py``."""

from __future__ import annotations

import re
from pathlib import Path

from fecnet.config import defaults

_KEY = re.compile(r"^_C\.(?P<key>[A-Z0-9_.]+) = (?P<value>.+?)  # (?P<text>.+(?:\n# .+)*)$", re.MULTILINE)


def config_page() -> str:
    """Markdown: a table per section with key, default and meaning."""
    lines = [
        "# Configuration keys",
        "",
        "Made from `fecnet/config/defaults.py` by `fecnet config > docs/config.md`. A recipe in `config/` or",
        "`KEY VALUE` on the command line sets any of them; an unknown key or a value of another type is refused.",
        "Lengths are counted in `SOLVER.UNIT`.",
    ]
    section = None
    for key, value, text in config_rows():
        head = key.rpartition(".")[0]
        if head != section:
            section = head
            lines += ["", f"## {head or 'General'}", "", "| key | default | meaning |", "| --- | --- | --- |"]
        lines.append(f"| `{key}` | `{value}` | {text.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def config_rows() -> list[tuple[str, str, str]]:
    """Key, default as written, and comment, which may go on below, of each line of ``defaults.py`` that sets a key."""
    assert defaults.__file__ is not None
    source = Path(defaults.__file__).read_text(encoding="utf-8")
    return [(match["key"], match["value"], match["text"].replace("\n# ", " ")) for match in _KEY.finditer(source)]
