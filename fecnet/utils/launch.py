"""Start a program on several processes of this machine: ``python -m fecnet.utils.launch NPROC SCRIPT [ARGUMENTS …]``.

It is ``torchrun --standalone`` that leaves as its processes left: their exit code instead of torchrun's 1, and no
traceback of its own below the one line that said what was wrong.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from fecnet.utils.errors import UserError
from fecnet.utils.package import own_command
from fecnet.utils.program import COMMAND, command_line, run_program


def relaunch(nproc: int) -> int:
    """Run this very command on ``nproc`` processes, each of them told to be one; see ``launch``."""
    program = ["-m", "fecnet"] if own_command() == ["fecnet"] else [sys.argv[0]]
    return launch(program, [*sys.argv[1:], "--nproc", "1"], nproc=nproc)


def launch(program: Sequence[str], arguments: Sequence[str], *, nproc: int) -> int:
    """Run ``program`` on ``nproc`` processes; the first that fails ends the others.

    The processes share the cores of the machine; ``OMP_NUM_THREADS`` decides where it is set.

    Args:
        program: a script, or ``-m`` and a module.
        arguments: for it.
        nproc: how many.

    Returns:
        0, the exit code of the process that failed first, or 128 + the signal that ended it or this launcher.

    Raises:
        UserError: ``nproc`` is not positive, or this is one of several processes already.
    """
    if nproc < 1:
        raise UserError(f"--nproc {nproc}: expected 1 or more")
    if "LOCAL_RANK" in os.environ:
        raise UserError(f"--nproc {nproc}: this is a process of torchrun already; give the number to torchrun alone")
    # Imported here, so that wrong arguments are answered at once.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    os.environ.setdefault(COMMAND, command_line())
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)  # said below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // nproc)))
    options = parse_args(["--standalone", f"--nproc_per_node={nproc}", *program])
    options.training_script_args = list(arguments)  # not parsed above: it would take --nproc for one of its own
    try:
        run(options)
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda item: _says_little(item[1].exitcode))
        if failure.exitcode >= 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        print(f"error: process {rank} of {nproc} was ended by {name}", file=sys.stderr, flush=True)
        return 128 - failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0


def _says_little(code: int) -> int:
    """How little the end of a process says: torchrun ends the others by SIGTERM, and who is left alone ends with 1."""
    return 2 if code in (-signal.SIGTERM, 128 + signal.SIGTERM) else int(code == 1)


def main(arguments: Sequence[str]) -> int:
    """``NPROC SCRIPT [ARGUMENTS …]``, as ``launch``."""
    if len(arguments) < 2 or not arguments[0].isdecimal():
        raise UserError(f"{' '.join(arguments) or 'no arguments'}; expected: NPROC SCRIPT [ARGUMENTS …]")
    nproc, script, *rest = arguments
    return launch([script], rest, nproc=int(nproc))


if __name__ == "__main__":
    sys.exit(run_program(lambda: main(sys.argv[1:])))
