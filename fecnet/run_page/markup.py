"""HTML from Python; all text is escaped, only results of ``element`` count as markup."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

_VOID = {"br", "img", "input", "meta"}  # HTML elements that are never closed


class Markup(str):
    """HTML, already escaped."""


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def element(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Markup:
    """An element of HTML or SVG.

    Args:
        name: name of the element.
        children: text, which is escaped; ``Markup``, which is not; None, which is skipped; or several of these.
        attributes: ``class_`` and ``for_`` lose their underscore; in other names underscores become hyphens. True gives
            an attribute without a value, False and None omit it.
    """
    return Markup(f"<{name}{_attributes(attributes)}>" + ("" if name in _VOID else f"{join(children)}</{name}>"))


def join(children: Iterable[Child]) -> Markup:
    """Several children, one after the other."""
    return Markup("".join(map(_markup, children)))


def as_it_is(text: str) -> Markup:
    """Mark trusted text, such as fecnet's style sheet, as markup; never use it for text that was read from a run."""
    return Markup(text)


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, (str, int, float)):
        return html.escape(str(child))
    return join(child)


def _attributes(attributes: dict[str, str | int | float | bool | None]) -> str:
    parts = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        written = name.rstrip("_").replace("_", "-")
        parts.append(f" {written}" if value is True else f' {written}="{html.escape(str(value))}"')
    return "".join(parts)
