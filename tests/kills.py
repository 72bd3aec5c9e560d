"""A process that is killed at any of its changes of the disk."""

import os
import sys
from functools import partial
from unittest import mock

from fecnet.utils import in_place

CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "link", "symlink")


def killed_at(number, call):
    """Whether the forked process that calls this was killed before its change of the disk of this number, from 1."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = number

    def counted(real, *arguments, **options):
        nonlocal left
        left -= 1
        if not left:
            os._exit(9)
        return real(*arguments, **options)

    for name in CALLS:
        setattr(os, name, partial(counted, getattr(os, name)))
    in_place._exchange = partial(counted, in_place._exchange)
    try:
        call()
    except BaseException as error:
        print(repr(error), file=sys.__stderr__)
        os._exit(1)
    os._exit(0)


class Killed(BaseException):
    """What ends a call that is dead."""


def dies_at(number, call):
    """As ``killed_at`` without a process of its own: from that change on none is made, whatever is tried.

    Not for what holds locks, which a killed process lets go.
    """
    left = number

    def counted(real, *arguments, **options):
        nonlocal left
        left -= 1
        if left <= 0:
            raise Killed
        return real(*arguments, **options)

    with mock.patch.multiple(os, **{name: partial(counted, getattr(os, name)) for name in CALLS}):
        try:
            call()
        except Killed:
            return True
    return False
