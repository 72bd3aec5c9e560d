"""``fecnet config``: all configuration keys."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the options: there are none."""
    parser.set_defaults(run=_config)


def _config(options: argparse.Namespace) -> int:
    from fecnet.config.document import config_page

    print(config_page(), end="")
    return 0
