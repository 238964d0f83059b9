"""Programs that import ``mpi4py.MPI`` before they make a group: the import alone starts nothing where there is no launcher."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("mpi4py")

from flambeau.distributed._postponed import LAUNCHERS  # noqa: E402
from tests.ranks import meeting_place  # noqa: E402

ALONE = """
import flambeau.distributed
from mpi4py import MPI
assert (MPI.COMM_WORLD.Get_size(), MPI.COMM_WORLD.rank, MPI.Is_initialized()) == (1, 0, False)
assert MPI.Get_processor_name() and MPI.Is_initialized()
assert MPI.COMM_WORLD.allreduce(3) == 3 and isinstance(MPI.COMM_WORLD, MPI.Intracomm)
"""
TOGETHER = """
import sys
import flambeau as torch
from flambeau import distributed as dist
from mpi4py import MPI
assert MPI.COMM_WORLD.Get_size() == 1
dist.init_process_group("gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2)
x = torch.ones(2)
dist.all_reduce(x)
assert x.tolist() == [2, 2] and MPI.COMM_WORLD.size == 2
"""


def started(code: str, *arguments: str) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> None:
    _, text = process.communicate(timeout=100)
    assert process.returncode == 0, text


def test_mpi_starts_when_it_is_used() -> None:
    ended(started(ALONE))


def test_groups_are_made_after_the_import() -> None:
    url = meeting_place()
    first, second = [started(TOGETHER, url, str(rank)) for rank in range(2)]
    try:
        ended(first)
    finally:
        ended(second)
