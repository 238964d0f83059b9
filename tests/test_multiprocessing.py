"""``torch.multiprocessing``: tensors whose memory several processes see, and processes that are started together."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

import flambeau as torch
import flambeau.multiprocessing as mp
from flambeau.core import dtypes
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

FORK = mp.get_context("fork")
WAIT = 60  # seconds for what takes milliseconds


def in_child(function, *args):
    process = FORK.Process(target=function, args=args)
    process.start()
    process.join(WAIT)
    assert process.exitcode == 0


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


# --- shared memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 4)], ids=str)
def test_what_a_child_writes_is_seen(dtype, shape):
    x = torch.ones(shape, dtype=dtype)
    assert not x.is_shared()
    y = x.view(-1)
    assert x.share_memory_() is x and x.is_shared() and y.is_shared() and x.untyped_storage().is_shared()
    in_child(lambda: x.zero_())
    assert x.tolist() == torch.zeros(shape, dtype=dtype).tolist()
    in_child(lambda: y.fill_(1))
    assert torch.equal(x, torch.ones(shape, dtype=dtype))


def test_sharing_changes_no_values():
    base = torch.arange(12.0).reshape(3, 4) * 2
    part, older, pending = base[1], base + 0, base * 3
    part.share_memory_()
    base.add_(1)
    assert base[0].tolist() == [1, 3, 5, 7] and part.tolist() == [9, 11, 13, 15]
    assert older[0].tolist() == [0, 2, 4, 6] and pending[0].tolist() == [0, 6, 12, 18]


def test_children_write_beside_each_other():
    """A write to a part of shared memory touches nothing else."""
    x = torch.zeros(4, 5).share_memory_()

    def write(row):
        for n in range(100):
            x[row] = float(n)
            x[row, 1:3] += 1
            x.t()[3:, row].copy_(torch.tensor([7.0, 8.0]))

    processes = [FORK.Process(target=write, args=(row,)) for row in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT)
    assert x.tolist() == [[99, 100, 100, 7, 8]] * 4


IN_PLACE = {id(op): op for op in registry.values() if op.inplace and op.samples and "." not in op.name}


@pytest.mark.parametrize("op", IN_PLACE.values(), ids=lambda op: op.name)
def test_in_place_on_shared_memory(op):
    """What an op writes to shared memory is what it would write anywhere."""
    for sample in op.samples(Make(requires_grad=False)):
        if not isinstance(sample.args[0], torch.Tensor):
            continue
        alone = sample.args[0].clone()
        shared = sample.args[0].clone().share_memory_()
        results = []
        for x in (alone, shared):
            torch.manual_seed(0)
            try:
                results.append(getattr(x, op.name + "_")(*sample.args[1:], **sample.kwargs).tolist())
            except (RuntimeError, TypeError) as error:
                results.append(type(error))
        np.testing.assert_equal(*results)
        assert shared.is_shared()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_hogwild(optimizer):
    """A child trains the parent's model."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).share_memory()
    before = model[0].weight.detach().clone()

    def train():
        update = optimizer(model.parameters(), lr=0.1)
        for _ in range(3):
            update.zero_grad()
            model(torch.arange(12.0).reshape(4, 3)).square().sum().backward()
            update.step()

    in_child(train)
    assert all(p.is_shared() for p in model.parameters()) and not torch.equal(model[0].weight, before)
    assert model[1].num_batches_tracked.item() == 3


# --- sending -------------------------------------------------------------------------------------------------


def through(x):
    """``x`` after a way through a pipe of this process."""
    a, b = FORK.Pipe()
    a.send(x)
    return b.recv()


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_sent_tensors_share_memory(dtype):
    x = torch.ones(2, 3, dtype=dtype)
    for t in (x, x[1], x.t(), x[:, 1:], x.view(-1)[::2]):
        got = through(t)
        assert got.dtype is dtype and got.stride() == t.stride() and torch.equal(got, t)
        assert got.data_ptr() == t.data_ptr() and t.is_shared()
    assert torch.equal(through(torch.ones(0, 3, dtype=dtype)), torch.ones(0, 3, dtype=dtype))


def test_what_a_sent_tensor_keeps():
    parameter = through(torch.nn.Parameter(torch.ones(2)))
    assert type(parameter) is torch.nn.Parameter and parameter.requires_grad and parameter.is_leaf
    assert through(torch.ones(2, requires_grad=True)).requires_grad
    model = through(torch.nn.Linear(2, 2))
    assert model.weight.is_shared() and model(torch.ones(1, 2)).shape == (1, 2)
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor which requires_grad"):
        ForkingPickler.dumps(torch.ones(1, requires_grad=True) * 2)
    assert torch.equal(pickle.loads(pickle.dumps(x := torch.ones(3))), x) and not x.is_shared()


def answer(questions, answers):
    while (x := questions.get()) is not None:
        x.add_(1)
        answers.put((x, x * 2))


def test_queues_send_the_memory_both_ways():
    questions, answers = FORK.Queue(), FORK.Queue()
    process = FORK.Process(target=answer, args=(questions, answers))
    process.start()
    x = torch.zeros(2, 2)
    for t in (x, x[0]):
        questions.put(t)
        same, twice = answers.get(timeout=WAIT)
        assert same.data_ptr() == t.data_ptr() and torch.equal(twice, 2 * t)
    questions.put(None)
    process.join(WAIT)
    assert x.tolist() == [[2, 2], [1, 1]] and process.exitcode == 0


def test_nothing_is_left_open():
    through(torch.ones(3))
    before = open_files()
    for _ in range(20):
        through([torch.ones(3), torch.ones(100).share_memory_()])
    assert open_files() <= before + 1


def test_strategies():
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    mp.set_sharing_strategy(mp.get_sharing_strategy())
    with pytest.raises(AssertionError, match="invalid sharing strategy 'knife'"):
        mp.set_sharing_strategy("knife")


# --- processes -----------------------------------------------------------------------------------------------


def fail(i, how):
    if i == 1:
        {"raise": lambda: 1 / 0, "exit": lambda: os._exit(3), "kill": lambda: os.kill(os.getpid(), signal.SIGKILL)}[how]()


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("raise", mp.ProcessRaisedException, "-- Process 1 terminated with the following error:\n.*ZeroDivisionError"),
        ("exit", mp.ProcessExitedException, "process 1 terminated with exit code 3"),
        ("kill", mp.ProcessExitedException, "process 1 terminated with signal SIGKILL"),
    ],
)
def test_failures_of_processes(how, error, message):
    before = multiprocessing.active_children()
    with pytest.raises(error, match=f"(?s){message}") as caught:
        mp.start_processes(fail, (how,), nprocs=2, start_method="fork")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.error_index == 1 and again.error_pid == caught.value.error_pid and str(again) == str(caught.value)
    assert set(multiprocessing.active_children()) <= set(before)


def test_processes_that_end_well():
    assert mp.start_processes(fail, ("no",), nprocs=1, start_method="fork") is None
    context = mp.start_processes(fail, ("no",), nprocs=1, join=False, start_method="fork")
    assert len(context.pids()) == 1
    while not context.join(timeout=WAIT):
        pass


PROGRAM = """
import sys
import {module} as mp
import torch

def child(i, x):
    assert torch is sys.modules["flambeau"], torch
    x[i] += i + 1

if __name__ == "__main__":
    x = torch.zeros(3).share_memory_()
    for method in ("spawn", "forkserver"):
        process = mp.get_context(method).Process(target=child, args=(1, x))
        process.start()
        process.join(60)
        assert process.exitcode == 0
    if hasattr(mp, "start_processes"):
        mp.spawn(child, (x,), nprocs=1)
    print(x.tolist())
"""


@pytest.mark.parametrize("module", ["multiprocessing", "torch.multiprocessing"])
def test_new_processes_have_the_disguise(module, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(module=module))
    command = [sys.executable, "-m", "flambeau", "run", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * WAIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([float("torch" in module), 4.0, 0.0])
