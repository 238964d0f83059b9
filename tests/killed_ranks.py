"""Processes of a training that are killed at random moments: ``python -m tests.killed_ranks --rounds 50``.

Three processes train a sharded model and save checkpoints. One of them is killed (``kill -9``), anywhere between its start and its
end. The others must end within the time-out, with an error that says why; nothing may be left in ``/dev/shm``; and a new start,
perhaps of another number of processes, must go on from the newest whole checkpoint to the weights that the training would have had.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import flambeau as torch
from flambeau import distributed as dist
from flambeau import nn
from flambeau.distributed import checkpoint
from flambeau.distributed.checkpoint import get_state_dict, set_state_dict
from flambeau.distributed.fsdp import fully_shard
from tests.ranks import _child, meeting_place, run_ranks, shared_memory_of_mpi

SIZE, STEPS, EVERY, ROWS = 3, 12, 3, 12
TIMEOUT, GRACE = 10.0, 30.0
"""Seconds that operations wait for others, and in which a process has to end after that, on a machine with other things to do."""
ERRORS = ("DistBackendError", "DistStoreError", "DistNetworkError", "CheckpointException")


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole."""
    whole = [path for path in folder.iterdir() if (path / ".metadata").exists()]
    return max(whole, key=lambda path: int(path.name), default=None)


def training(rank: int, size: int, url: str, folder: Path, pause: float = 0.0) -> list[Any]:
    """The weights after ``STEPS`` steps, from the newest checkpoint on."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=size, timeout=timedelta(seconds=TIMEOUT))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    for part in (model[0], model):
        fully_shard(part)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.randn(ROWS, 4), torch.randn(ROWS, 2)
    share = slice(rank * ROWS // size, (rank + 1) * ROWS // size)
    found, step = [newest(folder) if rank == 0 else None], 0
    dist.broadcast_object_list(found)
    if found[0] is not None:
        weights, states = get_state_dict(model, optimizer)
        state = {"model": weights, "optim": states, "step": 0}
        checkpoint.load(state, checkpoint_id=found[0])
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optim"])
        step = state["step"]
    while step < STEPS:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[share]), y[share]).backward()
        optimizer.step()
        step += 1
        time.sleep(pause)
        if step % EVERY == 0:
            weights, states = get_state_dict(model, optimizer)
            checkpoint.save({"model": weights, "optim": states, "step": step}, checkpoint_id=folder / str(step))
    return [p.full_tensor().tolist() for p in model.parameters()]


def killed_once(chance: random.Random, longest: float) -> str:
    """One training of which a process is killed; says when and what the others said.

    Raises:
        AssertionError: a process hangs or ends without saying why, something is left, or the training does not go on.
    """
    before = shared_memory_of_mpi()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="flambeau-killed-") as name:
        folder, url = Path(name), meeting_place()
        processes, pipes = [], []
        for rank in range(SIZE):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(there, training, rank, (SIZE, url, folder, 0.01)))
            process.start()
            there.close()
            processes.append(process)
            pipes.append(here)
        victim, delay = chance.randrange(SIZE), chance.uniform(0.0, longest)
        try:
            time.sleep(delay)
            pid = processes[victim].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            said = []
            for rank in (rank for rank in range(SIZE) if rank != victim):
                assert pipes[rank].poll(TIMEOUT + GRACE), f"rank {rank} hangs after rank {victim} was killed at {delay:.3f} s"
                done, answer = pipes[rank].recv()
                assert done or any(error in answer for error in ERRORS), f"rank {rank} ended without saying why:\n{answer}"
                said.append("ended before" if done else answer.strip().splitlines()[-1])
            for process in processes:
                process.join(GRACE)
                assert not process.is_alive(), "a process stays"
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
                    process.join()
        left = shared_memory_of_mpi() - before
        assert not left, f"left in /dev/shm after a kill at {delay:.3f} s: {left}"
        size = chance.choice((1, 2, SIZE))
        weights = run_ranks(training, size, size, meeting_place(), folder)[0]
    for ours, expected in zip(weights, _expected(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)
    return f"rank {victim} at {delay:.3f} s, resumed by {size}: {said[0][:150]}"


_whole: list[Any] = []


def _expected() -> list[Any]:
    """The weights of a training that nobody disturbs."""
    if not _whole:
        with tempfile.TemporaryDirectory() as name:
            _whole.extend(run_ranks(training, 1, 1, meeting_place(), Path(name))[0])
    return _whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds after the start within which a process is killed")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    for number in range(args.rounds):
        print(f"{number}: {killed_once(chance, args.longest)}", flush=True)


if __name__ == "__main__":
    main()
