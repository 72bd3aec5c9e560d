"""Train from a recipe: ``python train.py [RECIPE] [KEY VALUE …]``, or under torchrun; the command ``fecnet train``."""

from __future__ import annotations

import sys

from fecnet.cli.main import main as fecnet


def main() -> int:
    """Train with the command-line arguments of this process."""
    return fecnet(["train", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
