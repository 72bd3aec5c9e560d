"""Runs a function on several gloo ranks of this machine, with a hard time-out, and collects what they return."""

import multiprocessing
import os
import pickle
import socket
import time
import traceback

import torch

from fecnet.utils import comm

# Ranks are forked from a server that has imported torch already: a start takes a second, not ten.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "torch.distributed", "torch._dynamo", "fecnet.runs.training"])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def launch_environment(rank, world_size, port):
    """What torchrun tells a process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _enter(connection, environment, join, function, args):
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        if join:
            comm.start(torch.device("cpu"), {})
        result = (True, function(*args))
    except BaseException:
        result = (False, traceback.format_exc())
    connection.send_bytes(pickle.dumps(result))
    comm.stop()


def run_ranks(world_size, function, *args, timeout=60.0, join=True, only=None, environment=None, port=None):
    """Every rank's ``function(*args)``, in rank order.

    Args:
        world_size: number of processes that are announced.
        function: at the top of a module, so that it can be sent to another process.
        timeout: seconds for all of it; then every rank is killed and the test fails.
        join: join the process group before the call.
        only: the ranks that are started; None for all.
        environment: further environment variables.
        port: of the store; None for a free one.
    """
    port = port or free_port()
    started = []
    for rank in range(world_size) if only is None else only:
        ours, theirs = _CONTEXT.Pipe()
        every = {**launch_environment(rank, world_size, port), "OMP_NUM_THREADS": "1", **(environment or {})}
        process = _CONTEXT.Process(target=_enter, args=(theirs, every, join, function, args), daemon=True)
        process.start()
        theirs.close()
        started.append((rank, process, ours))
    deadline = time.monotonic() + timeout
    results, problems = [], []
    try:
        for rank, _, connection in started:
            if not connection.poll(max(0.0, deadline - time.monotonic())):
                problems.append(f"rank {rank}: no result within {timeout} s")
                continue
            try:
                fine, result = pickle.loads(connection.recv_bytes())
            except EOFError:
                fine, result = False, "died"
            results.append(result)
            if not fine:
                problems.append(f"rank {rank}: {result}")
    finally:
        for _, process, _ in started:
            if problems:
                process.kill()
            process.join(10)
            if process.is_alive():
                process.kill()
    assert not problems, "\n".join(problems)
    return results
