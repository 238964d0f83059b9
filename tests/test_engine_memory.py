"""Memory: a loop does not grow, results that nobody holds are written over, plans share one arena."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine import plan as planning
from flambeau.engine import plans
from flambeau.engine.run import run_pending
from tests.growth import objects_kept


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    run_pending()
    monkeypatch.setattr(config, "eager", False)
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 1)
    plans.clear()
    yield
    run_pending()
    plans.clear()


GROWTH = """
import gc, resource, sys
import flambeau as torch
from flambeau.core import config

config.compiled = True
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9999)
x, y = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
kept = []

def step(k):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item() if k % 3 else float(loss.detach().numpy())

def measured():
    gc.collect()
    with open("/proc/self/statm") as file:
        return len(gc.get_objects()), int(file.read().split()[1]) * resource.getpagesize()

for k in range(int(sys.argv[1])):
    step(k)
objects, memory = measured()
for k in range(10_000):
    step(k)
assert torch.engine_stats()["hits"] > 10_000
more_objects, more_memory = measured()
print(more_objects - objects, more_memory - memory)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how much memory is resident")
def test_ten_thousand_steps_do_not_grow():
    out = subprocess.run([sys.executable, "-c", GROWTH, "3000"], capture_output=True, text=True, check=True).stdout
    objects, grown = map(int, out.split())
    assert abs(objects) < 200
    assert grown < 1 << 20  # a leak of 100 bytes a step would be as much


def test_results_that_nobody_holds_are_written_over():
    x = torch.ones(100_000)

    def address():
        y = x * 2 + 1
        y.sum().item()
        return y.data_ptr()

    places = [address() for _ in range(6)]
    assert len(set(places[2:])) == 1


def test_results_that_somebody_holds_are_not():
    x = torch.ones(1000)
    held = []
    for k in range(6):
        y = x * k
        y.sum().item()
        held.append(y)
    assert [int(y[0].item()) for y in held] == list(range(6))
    assert len({y.data_ptr() for y in held}) == 6


def test_plans_share_one_arena():
    def chain(n):
        x = torch.ones(n, n)
        return ((x @ x).relu() @ x).sum().item()

    for n in (64, 128, 32):
        for _ in range(3):
            chain(n)
    found = [p for p in plans.plans.values() if p.arena_size]
    assert len(found) >= 3
    assert len({planning.address_of(p.memory) for p in found}) == 1
    assert planning.arena.used >= max(p.arena_size for p in found)
    assert torch.engine_stats()["arena_bytes"] == planning.arena.used


def test_values_share_the_arena_as_they_come_and_go():
    def deep():
        x = torch.full((50, 50), 0.02)
        for _ in range(30):
            x = (x @ x).sin()
        return x.sum().item()

    for _ in range(3):
        deep()
    largest = max(plans.plans.values(), key=lambda p: len(p.nodes))
    assert largest.arena_size <= 4 * 50 * 50 * 4 + 1024, "two values live at a time, not sixty"


def test_an_arena_without_reserved_addresses(monkeypatch):
    """Where the system reserves nothing, the arena grows by as much as is needed."""

    def refuse(*args):
        raise OSError("no")

    monkeypatch.setattr(planning.mmap, "mmap", refuse)
    memory = planning._reserve(1000)
    assert memory.size == 1000 and planning.address_of(memory) % 64 == 0


def test_tensors_give_back_their_memory():
    x = torch.ones(1000)
    nodes = [torch.ones(10) * k for k in range(50)]
    sum(nodes[1:], nodes[0]).sum().item()
    del nodes

    def work():
        for _ in range(20):
            y = [x * 2 for _ in range(20)]
            sum(y[1:], y[0]).sum().item()

    assert objects_kept(work) < 50
