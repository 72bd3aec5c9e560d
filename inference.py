"""Evaluate a trained net: ``python inference.py [RUN]``, or under torchrun; the command ``fecnet evaluate``."""

from __future__ import annotations

import sys

from fecnet.cli.main import main as fecnet


def main() -> int:
    """Evaluate with the command-line arguments of this process."""
    return fecnet(["evaluate", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
