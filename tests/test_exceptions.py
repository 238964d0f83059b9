"""Errors while a trace runs: whose they are, and what is left behind them."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref

import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.nn import functional as F
from flambeau.ops import limits


@pytest.fixture(params=["interpreted", "compiled"], autouse=True)
def mode(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("llvmlite")
    monkeypatch.setattr(config, "compiled", request.param == "compiled")
    monkeypatch.setattr(config, "compile_after", 0)
    monkeypatch.setattr(config, "eager", False)


def test_an_error_is_raised_in_the_thread_whose_work_failed():
    stop, wrong, caught = threading.Event(), [], []

    def err():
        while not stop.is_set():
            try:
                F.embedding(torch.tensor([1]) + 4, torch.zeros(5, 2)).tolist()
            except IndexError as error:
                caught.append(error)
            try:  # one that is found when it runs
                F.binary_cross_entropy(torch.full((3,), float("nan")).sigmoid(), torch.zeros(3)).item()
            except RuntimeError as error:
                caught.append(error)

    def innocent():
        for k in range(150):
            try:
                assert (torch.ones(3) * k + 1).tolist() == [k + 1.0] * 3
            except Exception as error:
                wrong.append(error)

    erring = threading.Thread(target=err)
    threads = [threading.Thread(target=innocent) for _ in range(3)]
    erring.start()
    while not caught:
        time.sleep(0)
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    stop.set()
    erring.join()
    assert wrong == []


def test_what_there_is_no_memory_for_stays_pending():
    x, log = torch.ones(4), torch.zeros(4)
    log.data_ptr()
    row = torch.arange(2.0) * 1
    huge = row.reshape(2, 1).expand(2, 1 << 55) + 1
    log.add_(x)
    other = x * 3
    with pytest.raises(RuntimeError, match=r"DefaultCPUAllocator: can't allocate memory: you tried to allocate \d+ bytes"):
        huge.numpy()
    for _ in range(3):  # other calls are not told again
        log.add_(x)
        assert other.tolist() == [3.0] * 4
    assert log.tolist() == [4.0] * 4
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        huge.numpy()
    del huge
    assert (other + log).tolist() == [7.0] * 4


def test_memory_that_is_there_again(monkeypatch):
    """The same node is computed once there is memory."""
    from flambeau.engine import interpreter

    compute, short = interpreter.compute, [True]

    def scarce(node, args):
        if short and node.op.name == "cumsum":
            raise MemoryError
        return compute(node, args)

    monkeypatch.setattr(interpreter, "compute", scarce)
    monkeypatch.setattr(config, "compiled", False)
    x = torch.arange(4.0)
    x.data_ptr()
    x.copy_((x + 1).cumsum(0))
    y = x * 2
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        y.sum().item()
    short.clear()
    assert y.tolist() == [2.0, 6.0, 12.0, 20.0] and x.tolist() == [1.0, 3.0, 6.0, 10.0]


def test_no_stack_is_left():
    def deep(n, x):
        if n:
            return deep(n - 1, x)
        return (x * 2 + 1).exp().log().sum().item()

    x = torch.ones(3)
    limit = sys.getrecursionlimit()
    depth = len(__import__("inspect").stack())
    refused = 0
    for left in range(4, 90):
        y = x.add_(1).clone()
        try:
            deep(limit - depth - left, y)
        except RecursionError:
            refused += 1
        assert y.tolist() == x.tolist() == [left - 2.0] * 3
    assert refused


INDICES = {
    "argmax": lambda x: x.argmax(1), "max": lambda x: x.max(1).indices, "topk": lambda x: x.topk(2).indices,
    "sort": lambda x: x.sort(1).indices, "viewed": lambda x: x.argmax(1).view(3, 1)[:2], "all": lambda x: x.argmax(),
}  # fmt: skip


@pytest.mark.parametrize("find", INDICES.values(), ids=INDICES)
def test_indices_that_cannot_be_wrong_are_not_waited_for(find):
    index = find(torch.rand(3, 4) * 2)
    n = 12 if index.dim() == 0 else 4
    assert limits.is_index_of(index, n) and not limits.is_index_of(index, n - 1)
    picked = F.embedding(index, torch.eye(n))
    assert index._storage.node.value is None
    assert picked.sum().item() == index.numel()
    index = find(torch.rand(3, 4) * 2)
    with pytest.raises(IndexError):
        for _ in range(40):  # some index is the last one
            F.embedding(find(torch.rand(3, 4) * 2), torch.eye(1))


# --- what an error keeps ---------------------------------------------------------------------------------------

FAILING = {
    "memory": lambda x: x[0].expand(10**15, 4).contiguous().sum().item(),
    "index": lambda x: F.embedding(torch.tensor([7]), x).tolist(),
    "gather": lambda x: (x * 1).gather(0, torch.tensor([[9]]) + 0).tolist(),
    "shape": lambda x: x @ x,
    "operand": lambda x: torch.add(x, "a"),
    "count": lambda x: torch.relu(x, x, x),
    "keyword": lambda x: torch.sum(x, foo=3),
    "attribute": lambda x: x.zero,
    "tensor": lambda x: torch.maximum(x, "a"),
    "in place": lambda x: x.add_("a"),
    "copy": lambda x: x.copy_(torch.ones(9)),
    "out": lambda x: torch.add(x, x, out=3),
    "no graph": lambda x: x.sum().backward(),
    "twice": lambda x: [(y := (x.requires_grad_() * x).sum()), y.backward(), y.backward()],
    "hook": lambda x: [(y := x.requires_grad_() * 1), y.register_hook(lambda g: 1 / 0), y.sum().backward()],
    "chance": lambda x: F.binary_cross_entropy(x * 3, x).item(),
    "division": lambda x: (x.long() // (x.long() * 0)).tolist(),
    "class": lambda x: F.cross_entropy(x, torch.tensor([0, 1, 9])).item(),
    "view": lambda x: x.view(7),
    "layer": lambda x: torch.nn.Linear(3, 3)(x),
    "several": lambda x: x.item(),
    "drawn": lambda x: torch.multinomial(-x, 1),
}


@pytest.mark.parametrize("eager", [False, True], ids=["lazy", "immediate"])
@pytest.mark.parametrize("name", FAILING)
def test_an_error_that_is_over_keeps_no_tensors(monkeypatch, name, eager):
    """Else memory that an error is about stays taken, until Python's collector comes, though nobody has it any more."""
    monkeypatch.setattr(config, "eager", eager)

    def program():
        x = torch.ones(3, 4)
        failed = False
        try:
            FAILING[name](x)
        except Exception:
            failed = True
        assert failed
        return weakref.ref(x)

    gc.collect()
    gc.disable()
    try:
        assert program()() is None
        assert program()() is None
    finally:
        gc.enable()
