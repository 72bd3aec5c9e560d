"""A program of fecnet: what was typed to start it, and how it ends when something goes wrong."""

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

COMMAND = "FECNET_COMMAND"  # what was typed, for processes that were started by another
_READER_LEFT = 128 + 13  # as of a program that SIGPIPE ended


def command_line() -> str:
    """The command that started this process, as one would type it; a launcher hands its own down to its processes."""
    return os.environ.get(COMMAND) or shlex.join([*own_command(), *sys.argv[1:]])


def run_program(run: Callable[[], int]) -> int:
    """Run ``run`` and give its exit code; what goes wrong in it is said on stderr and has a code of its own.

    What a user can cause, ``UserError`` and ``OSError``, and too little memory: one ``error:`` line and 2; with
    ``FECNET_DEBUG=1`` its traceback above it. Everything else is a fault of fecnet: its traceback, one ``fault:`` line
    and 1. A rank that another one has left alone says that in one line, and 1. A reader that has left (``| head``)
    ends the program without a word.

    SIGTERM unwinds too, so that what is half-written is removed. Of a launch each line is said by one rank.
    """
    log_to_terminal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        code = run()
        sys.stdout.flush()  # or a reader that has left would be noticed only when the interpreter ends
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return _READER_LEFT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (UserError, OSError) as error:
        return _say(str(error), error, code=2)
    except FaultElsewhereError as error:
        return _say(str(error), error, code=1)
    except Exception as error:
        if _is_out_of_memory(error):
            return _say(
                f"out of memory: {_first_line(error)}; give a smaller batch, or close other programs", error, code=2
            )
        if _is_left_alone(error):
            met = _first_line(error).split(". ")[0]  # gloo adds sentences of advice
            return _say(
                f"rank {os.environ.get('RANK')}: lost another rank, see what that one said: {met}", error, code=1
            )
        _say_fault(error)
        return 1


def _say(text: str, error: Exception, *, code: int) -> int:
    """One line; returns ``code``."""
    if os.environ.get("FECNET_DEBUG"):
        _write("".join(traceback.format_exception(error)))
    if _first_to_say(text):
        _write(f"error: {text}\n")
    return code


def _say_fault(error: Exception) -> None:
    """The traceback, once where all ranks have the same, and one line for all ranks."""
    told = "".join(traceback.format_exception(error))
    if _first_to_say(told):
        # together, so that the lines of several ranks do not mix
        _write(told + (f"{_fault_line()}\n" if _first_to_say("fault") else ""))


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
    """Of the machine or of a GPU; torch, which need not be imported here, has no class of its own for the first."""
    named = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: " in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and named)


def _is_left_alone(error: Exception) -> bool:
    """Whether an exchange failed, as it does when another rank has left; gloo's errors have no class of their own."""
    return _ranks() != "1" and (
        any(base.__name__ == "DistError" for base in type(error).__mro__)
        or (isinstance(error, RuntimeError) and "/gloo/" in str(error))
    )


def _first_to_say(text: str) -> bool:
    """Whether this process prints what all ranks of a launch may have to say."""
    if _ranks() == "1":
        return True
    from fecnet.utils import rendezvous

    return rendezvous.first_to_say(text)


def _ranks() -> str:
    return os.environ.get("WORLD_SIZE", "1")
