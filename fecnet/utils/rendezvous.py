"""Rendezvous of the ranks of one launch: the key-value store, and the check that all ranks agree."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

_ANSWER_S = 10.0  # time limit for ranks known to be alive
_POLL_S = 0.05
_store: dist.Store | None = None  # set by meet


def meet(described: Mapping[str, Any]) -> dist.Store:
    """Open the store, wait for all ranks, and check that they agree.

    Args:
        described: values that must be identical on all ranks.

    Returns:
        A store for the process group.

    Raises:
        UserError: on all ranks, see ``comm.start``.
    """
    global _store
    seconds = _timeout_s()
    _store = _of_this_launch(_open_store(seconds), seconds)
    check_same("start", described, wait_s=0.0)  # rank 0 has waited for the others already
    return dist.PrefixStore("group", _store)


def _of_this_launch(store: dist.Store, seconds: float) -> dist.Store:
    """The part of the launcher's store that belongs to the ranks of this launch.

    torchrun may keep its store when it starts the ranks anew, and what ranks of before have written is still in it.
    Its count of restarts tells launches apart on one machine only: another machine that joins counts from 0. So rank 0
    names a launch and tells the name to the others, who know by a word of theirs in it that it is not of before.

    Raises:
        UserError: rank 0 did not answer; on the other ranks.
    """
    own, ranks, word = _number("RANK"), launched_ranks(), uuid.uuid4().hex
    try:
        store.set(f"fecnet/word/{own}", word)
        if own == 0:
            launch = dist.PrefixStore(f"fecnet/{word}", store)
            _admit(store, launch, word, ranks, seconds)
            return launch
        deadline = time.monotonic() + seconds + _ANSWER_S
        while time.monotonic() < deadline:
            if store.check(["fecnet/launch"]):
                name, words = json.loads(store.get("fecnet/launch"))
                if words.get(str(own)) == word:
                    return dist.PrefixStore(f"fecnet/{name}", store)
            time.sleep(_POLL_S)
    except dist.DistError as error:
        raise _store_is_gone(own) from error
    raise UserError(f"rank 0 of {ranks} did not answer within {seconds + _ANSWER_S:g} s (FECNET_TIMEOUT_S)")


def _admit(store: dist.Store, launch: dist.Store, name: str, ranks: int, seconds: float) -> None:
    """Answer every other rank with the name of the launch, until all have joined it or time is up."""
    deadline, told = time.monotonic() + seconds, dict[str, str]()
    others = range(1, ranks)
    while time.monotonic() < deadline and not all(launch.check([f"start/{rank}"]) for rank in others):
        keys = {str(rank): f"fecnet/word/{rank}" for rank in others}
        words = {rank: store.get(key).decode() for rank, key in keys.items() if store.check([key])}
        if words != told:
            store.set("fecnet/launch", json.dumps([name, words]))
            told = words
        time.sleep(_POLL_S)


def timeout() -> timedelta:
    """How long ranks wait for each other: ``FECNET_TIMEOUT_S``."""
    return timedelta(seconds=_timeout_s())


def check_same(topic: str, described: Mapping[str, Any], *, wait_s: float | None = None) -> None:
    """Check that all ranks have joined and have identical values; rank 0 compares, all ranks get the result.

    Args:
        topic: a name used once.
        described: plain values by name.
        wait_s: how long rank 0 waits for the others, seconds; None for ``FECNET_TIMEOUT_S``.

    Raises:
        UserError: on all ranks: the missing ranks, or the differing names with both values.
    """
    if _store is None:
        return
    own, ranks, seconds = _number("RANK"), launched_ranks(), _timeout_s()
    verdict, read = f"{topic}/verdict", f"{topic}/read"
    try:
        _store.set(f"{topic}/{own}", json.dumps([socket.gethostname(), dict(described)], default=str))
        if own == 0:
            problem = _compare(_store, topic, ranks, seconds, seconds if wait_s is None else wait_s)
            _store.set(verdict, problem or "same")
        elif _absent(_store, [verdict], seconds + _ANSWER_S):
            raise UserError(f"rank 0 of {ranks} did not answer within {seconds + _ANSWER_S:g} s (FECNET_TIMEOUT_S)")
        result = _store.get(verdict).decode()
        _store.set(f"{read}/{own}", "")
        if own == 0:  # it may host the store: the others must read the result before it exits
            joined = [rank for rank in range(ranks) if _store.check([f"{topic}/{rank}"])]
            _absent(_store, [f"{read}/{rank}" for rank in joined], _ANSWER_S)
    except dist.DistError as error:
        raise _store_is_gone(own) from error
    if result != "same":
        raise UserError(result)


def _store_is_gone(rank: int) -> UserError:
    return UserError(f"rank {rank}: the store of the launcher or of rank 0 is gone; see their output")


def _compare(store: dist.Store, topic: str, ranks: int, seconds: float, wait_s: float) -> str:
    """The missing ranks or the differing values; empty if none."""
    absent = _absent(store, [f"{topic}/{rank}" for rank in range(ranks)], wait_s)
    if absent:
        missing = ", ".join(key.split("/")[1] for key in absent)
        return f"of {ranks} ranks these did not join within {seconds:g} s (FECNET_TIMEOUT_S): {missing}"
    first_text = store.get(f"{topic}/0")
    first_host, first = json.loads(first_text)
    for rank in range(1, ranks):
        text = store.get(f"{topic}/{rank}")
        host, found = json.loads(text)
        keys = [key for key in {**first, **found} if first.get(key) != found.get(key)]
        if keys:
            named = "; ".join(
                f"'{key}' is {shown(first.get(key))} on rank 0 ({first_host}), "
                f"{shown(found.get(key))} on rank {rank} ({host})"
                for key in keys[:3]
            )
            return f"all ranks must agree: {named}"
    return ""


def _absent(store: dist.Store, keys: Sequence[str], seconds: float) -> list[str]:
    """The keys not set after ``seconds``; polled until then."""
    deadline = time.monotonic() + seconds
    absent = list(keys)
    while absent := [key for key in absent if not store.check([key])]:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return absent


def _open_store(seconds: float) -> dist.Store:
    """The key-value store of this launch: torchrun's, or else one hosted by rank 0.

    Raises:
        UserError: the port is taken, no answer on it, or the launcher set no address.
    """
    host, port = _announced("MASTER_ADDR"), _number("MASTER_PORT")
    hosts = _number("RANK") == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        if hosts:
            _check_port(port)
        store = dist.TCPStore(host, port, is_master=hosts, timeout=timedelta(seconds=seconds), wait_for_workers=False)
    except (OSError, dist.DistError) as error:
        if hosts:
            raise UserError(f"MASTER_PORT: {port} is in use or not allowed on {host}; give another") from error
        raise UserError(f"rank 0 did not answer at {host}:{port} within {seconds:g} s (FECNET_TIMEOUT_S)") from error
    return store


def _check_port(port: int) -> None:
    """Raise OSError where the port is taken; TCPStore would print several lines."""
    if socket.has_dualstack_ipv6():
        socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True).close()
    else:
        socket.create_server(("", port)).close()


def launched_ranks() -> int:
    """Number of processes of this launch."""
    return _number("WORLD_SIZE") if "WORLD_SIZE" in os.environ else 1


def _announced(name: str) -> str:
    if name not in os.environ:
        raise UserError(f"{name}: not set, though WORLD_SIZE is {launched_ranks()}; torchrun sets both")
    return os.environ[name]


def _number(name: str) -> int:
    text = _announced(name)
    if not text.isdecimal():
        raise UserError(f"{name}: '{text}'; allowed: a whole number, as torchrun sets it")
    return int(text)


def _timeout_s() -> float:
    text = os.environ.get("FECNET_TIMEOUT_S", "600")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise UserError(f"FECNET_TIMEOUT_S: '{text}'; give seconds, above 0")
    return seconds


def _host_answers() -> bool:
    """Whether the store's process still runs; torch prints a long stack trace when a killed one is asked."""
    try:
        socket.create_connection((_announced("MASTER_ADDR"), _number("MASTER_PORT")), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def first_to_report(text: str) -> bool:
    """Whether no rank has reported ``text`` yet, so that an error on all ranks is printed once. Not a collective."""
    try:
        if launched_ranks() == 1:
            return True
        if not _host_answers():
            return True
        store = _store
        if store is None:  # what goes wrong again after a restart is told again
            restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = dist.PrefixStore(f"fecnet/restart-{restart}", _open_store(_ANSWER_S))
        return store.add(f"reported/{hashlib.sha256(text.encode()).hexdigest()}", 1) == 1
    except (UserError, dist.DistError):
        return True  # better printed twice than never
