"""Entry points: the command line of this process, and exit codes and messages on errors."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import traceback
from collections.abc import Callable

from fecnet.utils.errors import FaultElsewhereError, UserError
from fecnet.utils.package import VERSION, own_command
from fecnet.utils.terminal import log_to_terminal

COMMAND = "FECNET_COMMAND"  # environment variable with the command typed, for child processes
_BROKEN_PIPE = 128 + 13  # as after SIGPIPE


def command_line() -> str:
    """The command that started this process, as typed; a launcher passes its own on to its processes."""
    return os.environ.get(COMMAND) or shlex.join([*own_command(), *sys.argv[1:]])


def run_program(run: Callable[[], int]) -> int:
    """Run ``run`` and return its exit code; errors are printed to stderr and have their own exit codes.

    Errors a user can cause (``UserError``, ``OSError``) and out of memory: one ``error:`` line and exit code 2; with
    ``FECNET_DEBUG=1`` preceded by the traceback. Any other exception is a fault of fecnet: traceback, one
    ``fault:`` line and exit code 1. A rank that lost another rank prints one line and exits with 1. A
    closed stdout (``| head``) ends the program silently.

    SIGTERM unwinds the stack, so that partial files are removed; afterwards it ends the process as before the call: an
    exception while the interpreter exits would only print a traceback. In a distributed launch one rank prints each
    line.
    """
    log_to_terminal()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return _run(run)
    finally:
        signal.signal(signal.SIGTERM, before)
        log_to_terminal()  # a command whose standard output is data has its log elsewhere


def _run(run: Callable[[], int]) -> int:
    try:
        code = run()
        sys.stdout.flush()  # otherwise a closed pipe is noticed only when the interpreter exits
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards what is still buffered
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (UserError, OSError) as error:
        return _report(str(error), error, code=2)
    except FaultElsewhereError as error:
        return _report(str(error), error, code=1)
    except Exception as error:
        if _is_out_of_memory(error):
            return _report(
                f"out of memory: {_first_line(error)}; use a smaller batch, or close other programs", error, code=2
            )
        if _is_lost_rank(error):
            cause = _first_line(error).split(". ")[0]  # gloo appends advice
            return _report(f"rank {os.environ.get('RANK')}: lost another rank, see its output: {cause}", error, code=1)
        _report_fault(error)
        return 1


def _report(text: str, error: Exception, *, code: int) -> int:
    """Print one line; returns ``code``."""
    if os.environ.get("FECNET_DEBUG"):
        _write("".join(traceback.format_exception(error)))
    if _first_to_report(text):
        _write(f"error: {text}\n")
    return code


def _report_fault(error: Exception) -> None:
    """Print the traceback, once where it is identical on all ranks, and one line for all ranks."""
    text = "".join(traceback.format_exception(error))
    if _first_to_report(text):
        # in one write, so that the lines of several ranks do not interleave
        _write(text + (f"{_fault_line()}\n" if _first_to_report("fault") else ""))


def _fault_line() -> str:
    torch = sys.modules.get("torch")
    versions = [f"fecnet {VERSION}", *([f"torch {torch.__version__}"] if torch else [])]
    about = f"{', '.join(versions)}, Python {platform.python_version()}"
    command = command_line().replace("\n", "\\n")
    return f"fault: this is a fault of fecnet, please report it with the lines above: {about}; command: {command}"


def _write(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the machine or a GPU is out of memory, without importing torch, which has no class for the former."""
    named = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: " in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and named)


def _is_lost_rank(error: Exception) -> bool:
    """Whether a collective failed, as after another rank has exited; gloo's errors have no class of their own."""
    return _ranks() != "1" and (
        any(base.__name__ == "DistError" for base in type(error).__mro__)
        or (isinstance(error, RuntimeError) and "/gloo/" in str(error))
    )


def _first_to_report(text: str) -> bool:
    """Whether this rank prints ``text``, which other ranks may have too."""
    if _ranks() == "1":
        return True
    from fecnet.utils import rendezvous

    return rendezvous.first_to_report(text)


def _ranks() -> str:
    return os.environ.get("WORLD_SIZE", "1")
