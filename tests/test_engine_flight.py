"""Kernels that run while Python goes on: whoever looks at memory waits for them, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau import nn
from flambeau.core import config
from flambeau.engine import flight, plans
from flambeau.engine.plan import Plan
from flambeau.engine.run import run_ahead
from tests.fuzz.modes import late_flights


@pytest.fixture(autouse=True)
def flying(monkeypatch):
    """All plans fly that can, from their first run on."""
    monkeypatch.setattr(config, "ahead", 0.0)
    monkeypatch.setattr(flight, "LATE", float("inf"))
    monkeypatch.setattr(flight, "grounded_until", 0.0)
    monkeypatch.setattr(config, "compile_after", 0)
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "eager", False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    plans.clear()
    yield
    flight.land()
    torch.set_num_threads(before)


@pytest.fixture
def launches(monkeypatch):
    """How many kernels have been launched, each time."""
    found: list[int] = []
    launch = flight.launch

    def counting(state, count, *rest):
        found.append(count - state[1])
        launch(state, count, *rest)

    monkeypatch.setattr(flight, "launch", counting)
    return found


def net(size: int = 64):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1))
    return model, torch.randn(32, size), torch.optim.Adam(model.parameters(), lr=1e-2)


def train(steps: int, look=lambda model, loss: loss.item()):
    model, x, optimizer = net()
    seen = []
    for _ in range(steps):
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(look(model, loss))
    return seen, [p.detach().numpy().copy() for p in model.parameters()]


def on_the_ground(monkeypatch, *args):
    with monkeypatch.context() as m:
        m.setattr(config, "ahead", float("inf"))
        return train(*args)


def test_training_flies_and_gives_the_same_bits(launches, monkeypatch):
    losses, weights = train(12)
    assert len(launches) >= 10
    del launches[:]
    wanted, expected = on_the_ground(monkeypatch, 12)
    assert not launches
    assert losses == wanted
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, b)


LOOKS = {
    "item": lambda model, loss: loss.item(),
    "nothing": lambda model, loss: None,
    "numpy of a weight": lambda model, loss: model[0].weight.detach().numpy().sum(),
    "numpy of a gradient": lambda model, loss: model[0].weight.grad.numpy().copy().tolist(),
    "a weight": lambda model, loss: model[2].bias.tolist(),
    "printed": lambda model, loss: repr(model[2].weight.grad),
    "older loss": lambda model, loss, kept=[]: (kept.append(loss), kept[-3:][0].item())[1],  # noqa: B006
    "saved": lambda model, loss: [v.clone().tolist() for v in model.state_dict().values()],
    "compared": lambda model, loss: bool((model[0].weight > 0).any()),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_who_looks_waits(look, monkeypatch):
    defaults = look.__defaults__
    seen, weights = train(6, look)
    if defaults:
        defaults[0].clear()
    wanted, expected = on_the_ground(monkeypatch, 6, look)
    assert seen == wanted
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_value_is_there_before_what_comes_behind_it():
    """A loss needs the kernels that make it; what is launched behind it need not have run."""
    model, x, _ = net()
    for _ in range(3):
        loss = model(x).pow(2).mean()
        loss.backward()
        wanted = loss.item()
        weight = model[0].weight.grad.numpy().copy()
        model.zero_grad()
    fresh = model(x).pow(2).mean()
    assert fresh.item() == wanted
    fresh.backward()
    np.testing.assert_array_equal(model[0].weight.grad.numpy(), weight)


def test_memory_outlives_its_tensors():
    for _ in range(20):
        x = torch.randn(200, 200)
        y = (x @ x).tanh()
        total = y.sum()
        z = y * 2  # behind the sum, and kept
        got = total.item()
        del x, y, total
        np.empty(40_000, np.float32)[:] = np.nan  # takes the memory, if it is free
        assert np.isfinite(got)
        assert z.isfinite().all()


def test_writes_of_numpy_come_after_reads_in_the_air():
    for _ in range(5):
        memory = np.ones((300, 300), np.float32)
        x = torch.from_numpy(memory)
        loss = x.sum()
        product = x @ x
        loss.item()
        memory[:] = 0
        assert product.min().item() == 300


def test_what_is_put_elsewhere_in_its_own_memory_is_there_first():
    with late_flights():
        for _ in range(3):
            x = torch.arange(1.0, 5.0) * 2.0
            run_ahead()
            x[1:] = x[:-1].clone()
            assert x.tolist() == [2, 2, 4, 6]


def test_changing_the_number_of_threads(launches):
    model, x, _ = net()
    for k in range(6):
        loss = model(x).pow(2).mean()
        loss.backward()
        loss.item()
        torch.set_num_threads(1 + k % 3)
    assert launches


def test_several_python_threads():
    results: list = []

    def work():
        results.append(train(8))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert len(results) == 3 and all(np.isfinite(losses).all() for losses, _ in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_lands():
    model, x, _ = net()
    for _ in range(3):
        loss = model(x).pow(2).mean()
        loss.backward()
        loss.item()
        pid = os.fork()
        if not pid:
            ok = False
            try:
                ok = flight.aloft is None and bool(np.isfinite(model[0].weight.grad.numpy()).all()) and train(3) is not None
            finally:
                os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_program_may_end_in_the_air():
    script = """
import flambeau as torch
w = torch.randn(400, 400, requires_grad=True)
for _ in range(4):
    loss = (torch.randn(400, 400) @ w).tanh().sum()
    loss.backward()
    print(loss.item())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "FLAMBEAU_AHEAD": "0"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 4 and not done.stderr


def test_what_may_refuse_values_stays_on_the_ground(launches):
    table = nn.Embedding(5, 3)
    for _ in range(4):
        out = table(torch.tensor([1, 2]) + 0)
        total = out.sum()
        kept = out * 2
        total.item()
        del kept
    assert not launches


def test_nobody_waits_for_a_value_that_is_there(monkeypatch):
    """The loss of a step that an optimizer has launched: as many kernels must have run as make it, and no more."""
    asked: list[int] = []
    ready = Plan.ready

    def noting(self, launched, value):
        asked.append(ready(self, launched, value))
        return asked[-1]

    monkeypatch.setattr(Plan, "ready", noting)
    train(6)
    assert asked and all(0 < n < flight.ALL for n in asked)


def test_after_a_flight_that_was_late_nothing_flies(launches, monkeypatch):
    """Where others use the cores, kernels run at once for a while."""
    train(4)  # how long it takes is known from now on
    del launches[:]
    monkeypatch.setattr(flight, "LATE", 1e-9)
    monkeypatch.setattr(flight, "grounded_until", 0.0)
    monkeypatch.setattr(flight, "PENALTY", float("inf"))
    train(4)
    assert len(launches) == 1


def test_storages_that_take_a_value_wait_for_who_reads_the_old_one():
    for _ in range(6):
        x, z = torch.ones(300, 300), torch.full((300, 300), 5.0)
        x.data_ptr(), z.data_ptr()
        total = x.sum()
        product = x @ x
        x.copy_(z)
        assert total.item() == 90_000
        assert product.max().item() == 300 and product.min().item() == 300
        assert x.min().item() == 5


def test_values_that_nothing_in_the_air_writes_are_read_at_once(launches):
    """Looking at labels or indices does not wait for the last step's update."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 32), nn.Flatten(), nn.Linear(64, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    labels, words = torch.tensor([0, 2, 1, 1]), torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]])
    still = 0
    for _ in range(6):
        loss = nn.functional.cross_entropy(model(words), labels)
        still += flight.aloft is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    assert launches and still >= 4
