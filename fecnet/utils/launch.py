"""Start a program on several processes of this machine: ``python -m fecnet.utils.launch NPROC SCRIPT [ARGUMENTS …]``.

Like ``torchrun --standalone``, but it exits with the exit code of its processes instead of 1, and adds no traceback of
its own to their one-line error.
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
    """Run the command of this process on ``nproc`` processes, each with ``--nproc 1``; see ``launch``."""
    program = ["-m", "fecnet"] if own_command() == ["fecnet"] else [sys.argv[0]]
    return launch(program, [*sys.argv[1:], "--nproc", "1"], nproc=nproc)


def launch(program: Sequence[str], arguments: Sequence[str], *, nproc: int) -> int:
    """Run ``program`` on ``nproc`` processes; the first to fail terminates the others.

    The cores of the machine are divided among the processes, unless ``OMP_NUM_THREADS`` is set.

    Args:
        program: a script, or ``-m`` and a module.
        arguments: of the program.
        nproc: number of processes.

    Returns:
        0, the exit code of the process that failed first, or 128 + the signal that terminated it or this launcher.

    Raises:
        UserError: ``nproc`` is not positive, or this is one of several processes already.
    """
    if nproc < 1:
        raise UserError(f"--nproc {nproc}: expected 1 or more")
    if "LOCAL_RANK" in os.environ:
        raise UserError(f"--nproc {nproc}: this is already a process of torchrun; give the number to torchrun only")
    # Imported here, so that wrong arguments are reported at once.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    os.environ.setdefault(COMMAND, command_line())
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)  # reported below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // nproc)))
    options = parse_args(["--standalone", f"--nproc_per_node={nproc}", *program])
    options.training_script_args = list(arguments)  # not parsed above, where --nproc would be taken for torchrun's
    try:
        run(options)
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda item: _informativeness(item[1].exitcode))
        if failure.exitcode >= 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        print(f"error: process {rank} of {nproc} was terminated by {name}", file=sys.stderr, flush=True)
        return 128 - failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0


def _informativeness(code: int) -> int:
    """Sort key of exit codes, the cause first; consequences are SIGTERM from torchrun, and 1 where a rank is lost."""
    return 2 if code in (-signal.SIGTERM, 128 + signal.SIGTERM) else int(code == 1)


def main(arguments: Sequence[str]) -> int:
    """Parse ``NPROC SCRIPT [ARGUMENTS …]`` and ``launch``."""
    if len(arguments) < 2 or not arguments[0].isdecimal():
        raise UserError(f"{' '.join(arguments) or 'no arguments'}; expected: NPROC SCRIPT [ARGUMENTS …]")
    nproc, script, *rest = arguments
    return launch([script], rest, nproc=int(nproc))


if __name__ == "__main__":
    sys.exit(run_program(lambda: main(sys.argv[1:])))
