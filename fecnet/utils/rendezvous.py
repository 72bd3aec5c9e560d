"""Rendezvous of the ranks of one launch: the key-value store, and the check that all ranks agree."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from fecnet.utils.errors import UserError
from fecnet.utils.shown import shown

_ANSWER_S = 10.0  # time limit for ranks known to be alive
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
    _store = _open_store(_timeout_s())
    check_same("start", described)
    return dist.PrefixStore("group", _store)


def timeout() -> timedelta:
    """How long ranks wait for each other: ``FECNET_TIMEOUT_S``."""
    return timedelta(seconds=_timeout_s())


def check_same(topic: str, described: Mapping[str, Any]) -> None:
    """Check that all ranks have joined and have identical values; rank 0 compares, all ranks get the result.

    Args:
        topic: a name used once.
        described: plain values by name.

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
            problem = _compare(_store, topic, ranks, seconds)
            _store.set(verdict, problem or "same")
        elif _absent(_store, [verdict], seconds + _ANSWER_S):
            raise UserError(f"rank 0 of {ranks} did not answer within {seconds + _ANSWER_S:g} s (FECNET_TIMEOUT_S)")
        result = _store.get(verdict).decode()
        _store.set(f"{read}/{own}", "")
        if own == 0:  # it may host the store: the others must read the result before it exits
            joined = [rank for rank in range(ranks) if _store.check([f"{topic}/{rank}"])]
            _absent(_store, [f"{read}/{rank}" for rank in joined], _ANSWER_S)
    except dist.DistError as error:
        raise UserError(f"rank {own}: the store of the launcher or of rank 0 is gone; see their output") from error
    if result != "same":
        raise UserError(result)


def _compare(store: dist.Store, topic: str, ranks: int, seconds: float) -> str:
    """The missing ranks or the differing values; empty if none."""
    absent = _absent(store, [f"{topic}/{rank}" for rank in range(ranks)], seconds)
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
        time.sleep(0.05)
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
    # torchrun keeps its store when it restarts the ranks, which must not read the values of the previous ones
    return dist.PrefixStore(f"fecnet/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


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
        store = _store if _store is not None else _open_store(_ANSWER_S)
        return store.add(f"reported/{hashlib.sha256(text.encode()).hexdigest()}", 1) == 1
    except (UserError, dist.DistError):
        return True  # better printed twice than never
