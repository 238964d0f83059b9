"""Several processes in a test: forks of this one, so that nothing is imported anew, which give back what a function returns."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

LIMIT = 120.0
"""Seconds after which processes that are still there have hung."""


def _child(pipe: Any, function: Callable, rank: int, arguments: tuple) -> None:
    try:
        answer = True, function(rank, *arguments)
    except BaseException:
        answer = False, traceback.format_exc()
    pipe.send(answer)
    pipe.close()


def run_ranks(function: Callable, size: int, *arguments: Any, killed: tuple[int, ...] = ()) -> list[Any]:
    """What ``function(rank, *arguments)`` gives in each of ``size`` processes; ``None`` for those that are ``killed`` in it.

    Raises:
        AssertionError: a process has raised, ended or hung.
    """
    context = multiprocessing.get_context("fork")
    processes, pipes = [], []
    for rank in range(size):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(there, function, rank, arguments))
        process.start()
        there.close()
        processes.append(process)
        pipes.append(here)
    try:
        results = []
        for rank, pipe in enumerate(pipes):
            if rank in killed:
                results.append(None)
                continue
            assert pipe.poll(LIMIT), f"rank {rank} does not answer"
            done, result = pipe.recv()
            assert done, f"rank {rank}:\n{result}"
            results.append(result)
        for rank, process in enumerate(processes):
            process.join(LIMIT)
            assert process.exitcode == (-signal.SIGKILL if rank in killed else 0), f"rank {rank} has ended with {process.exitcode}"
        return results
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()


def meeting_place() -> str:
    """The URL of a new file in which processes can meet."""
    handle, path = tempfile.mkstemp(prefix="flambeau-test-")
    os.close(handle)
    os.unlink(path)
    return f"file://{path}"


def shared_memory_of_mpi() -> set[str]:
    """The names of MPI's shared memory on this machine."""
    return {name for name in os.listdir("/dev/shm") if name.startswith("mpich_shm")} if os.path.isdir("/dev/shm") else set()
