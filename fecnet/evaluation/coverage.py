"""Coverage of a data set as text: what was read, kept and dropped when it was made."""

from __future__ import annotations

from typing import Any


def format_coverage(coverage: dict[str, Any], indent: str = "") -> str:
    """What was read, kept and dropped, as nested lines."""
    lines = [f"{indent}coverage"] if not indent else []
    for key, value in coverage.items():
        if isinstance(value, dict) and all(not isinstance(item, dict) for item in value.values()):
            lines.append(f"{indent}  {key}: " + ", ".join(f"{name} {item}" for name, item in value.items()))
        elif isinstance(value, dict):
            lines += [f"{indent}  {key}", format_coverage(value, indent + "  ")]
        else:
            lines.append(f"{indent}  {key}: {value}")
    return "\n".join(lines)
