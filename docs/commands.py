"""The directive ``commands``: what ``--help`` prints for each command of fecnet, a heading for each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fecnet.cli.main import build_parsers

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx


def helps() -> Iterator[tuple[str, str]]:
    """The name and the help of each command, ``fecnet prepare`` and then ``fecnet prepare fec``."""
    os.environ["COLUMNS"] = "100"  # where argparse wraps its lines: as wide as a page
    for parser in build_parsers()[1].values():
        yield from _helps(parser)


def _helps(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    yield parser.prog, parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _helps(command)


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls of an extension."""
    from docutils import nodes  # here, so that the tests need neither
    from sphinx.util.docutils import SphinxDirective

    class Commands(SphinxDirective):
        def run(self) -> list[nodes.Node]:
            return [self.section(name, text) for name, text in helps()]

        def section(self, name: str, text: str) -> nodes.section:
            section = nodes.section("", nodes.title(name, name), nodes.literal_block(text, text, language="text"))
            section["ids"] = [nodes.make_id(name)]
            self.state.document.note_explicit_target(section)
            return section

    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
