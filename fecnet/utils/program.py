"""How a program ends when something goes wrong."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from fecnet.utils.terminal import log_to_terminal


def fail_in_one_line(run: Callable[[], int]) -> int:
    """Run ``run``; what a user can cause becomes one ``error:`` line and exit code 2.

    ``FECNET_DEBUG=1`` shows the traceback instead. SIGTERM unwinds too, so that what is half-written is
    removed.
    """
    log_to_terminal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run()
    except (ValueError, OSError) as error:
        if os.environ.get("FECNET_DEBUG"):
            raise
        if _first_to_say(str(error)):
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _first_to_say(text: str) -> bool:
    """Whether this process prints an error that all ranks of a launch may have met."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from fecnet.utils import rendezvous

    return rendezvous.first_to_say(text)
