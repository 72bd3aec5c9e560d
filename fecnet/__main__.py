"""``python -m fecnet`` is the ``fecnet`` command."""

import sys

from fecnet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
