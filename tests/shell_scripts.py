"""What ``train.sh`` and ``inference.sh`` start, without starting it: each start of torch takes seconds."""

import os
import subprocess

from tests.conftest import ROOT


def started_by(words, folder):
    """The arguments that a shell script of ours gives to Python: the script, then its own.

    Args:
        words: of the script's command line, from ``bash`` on; for the CPU, so that nothing asks torch for GPUs.
        folder: for a Python that says how it was called.
    """
    stub = folder / "python"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    environment = os.environ | {"PYTHON": str(stub)}
    done = subprocess.run(words, cwd=ROOT, env=environment, check=True, timeout=120, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()
