"""Coverage of a data set as text: what was read, kept and dropped when it was made."""

from __future__ import annotations

from typing import Any

_CANDIDATES = "candidates"  # key of triplets made from votes or labels, see ``fecnet.prepare.votes``
_MEANINGS = """\
  (candidates: triplets of faces drawn at random; repeated: drawn before; small_gap: no clear odd one out, as its gap is
  min_gap or less; surplus: clear, but the type had as many as wanted; short: wanted, but not found)"""


def format_coverage(coverage: dict[str, Any]) -> str:
    """What was read, kept and dropped, as nested lines, and where there are candidates what their words mean."""
    return "\n".join(["coverage", *_lines(coverage, "  "), *[_MEANINGS] * (_CANDIDATES in coverage)])


def _lines(part: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in part.items():
        if isinstance(value, dict) and all(not isinstance(item, dict) for item in value.values()):
            lines.append(f"{indent}{key}: " + ", ".join(f"{name} {item}" for name, item in value.items()))
        elif isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines
