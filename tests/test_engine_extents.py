"""Extents of 1 in every place, beside large dims: every loop has a schedule, and every family of kernels computes them."""

from __future__ import annotations

import itertools
import warnings
from math import prod
from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config, dtypes
from flambeau.engine import flight, graph, plans
from flambeau.engine.cpu import compiler
from flambeau.engine.cpu.schedule import Schedule
from flambeau.engine.loops import Access, Instr, Loop, verify
from flambeau.nn import functional as F
from tests.test_engine_loops import check, contiguous, seeded

f32 = dtypes.float32
EXTENTS = [1, 3, 40, 5000]


def loops(extents, most):
    """Loops over all shapes of up to 3 such dims, with each kind of reduction, read in each order of the dims."""
    for rank in (1, 2, 3):
        for shape in itertools.product(extents, repeat=rank):
            if prod(shape) > most:
                continue
            for reduce in range(-rank, rank + 1):
                for order in itertools.permutations(range(rank)):
                    yield made(shape, reduce, order)


def made(shape, reduce: int, order) -> Loop:
    """exp(x * y), reduced: ``x`` has its dims in another order in memory, ``y`` is read along the dims that are kept."""
    rank = len(shape)
    reduced = range(rank - reduce, rank) if reduce >= 0 else range(-reduce)
    steps = contiguous([shape[d] for d in order])
    permuted = tuple(steps[order.index(d)] for d in range(rank))
    kept = iter(contiguous([n for d, n in enumerate(shape) if d not in reduced]))
    rows = tuple(0 if d in reduced else next(kept) for d in range(rank))
    body = [Instr("input", f32, (), 0), Instr("input", f32, (), 1), Instr("mul", f32, (0, 1)), Instr("exp", f32, (2,))]
    outputs = [(3, Access(f32, contiguous(shape)))]
    if reduce:
        body.append(Instr("sum", f32, (3,)))
        outputs = [(4, Access(f32, rows))]
    return Loop(tuple(shape), reduce, (Access(f32, permuted), Access(f32, rows)), (), tuple(body), tuple(outputs))


def test_every_loop_has_a_schedule():
    machine = compiler.session().machine
    count = 0
    for loop in loops([1, 3, 40, 70_000, 1 << 21], 1 << 26):
        verify(loop)
        Schedule(loop, machine)
        count += 1
    assert count > 1500


@pytest.mark.parametrize("part", range(4))
def test_loops_are_computed(part):
    chosen = [loop for loop in loops(EXTENTS, 20_000) if 1 in loop.shape]
    for loop in chosen[part::24]:
        rng = seeded("extents", loop)
        arrays = [
            rng.integers(-8, 9, 1 + sum(s * (n - 1) for s, n in zip(a.strides, loop.shape))).astype(np.float32) / 8
            for a in loop.inputs
        ]
        check(loop, arrays, rtol=1e-5, atol=1e-5)


# --- all families, as programs use them ----------------------------------------------------------------------

LONG = 3001


def numbers(*shape, grad=True):
    rng = np.random.default_rng(prod(shape) + len(shape))
    return torch.tensor(rng.standard_normal(shape), dtype=torch.float32, requires_grad=grad)


def shapes(rank: int):
    """All shapes of so many dims with at most one long dim, and with at least one of extent 1."""
    return [s for s in itertools.product([1, 3, LONG], repeat=rank) if 1 in s and s.count(LONG) < 2]


def reductions(x):
    for dims in itertools.chain.from_iterable(itertools.combinations(range(x.dim()), r) for r in range(1, x.dim() + 1)):
        yield ((x * 2).tanh().sum(dims) ** 2).sum() + (x - x.mean(dims, keepdim=True)).square().sum()
    yield from ((x.softmax(d) * x).sum() for d in range(x.dim()))
    yield from (x.cumsum(d).tanh().sum() + x.amax(d).sum() for d in range(x.dim()))


def movements(x):
    rows = torch.arange(2) * (x.shape[0] - 1)
    yield torch.cat([x, x * 2], 0).sum(0).tanh().sum() + torch.stack([x, x]).amax(0).sum()
    yield (x[rows] * 2).sum() + x.index_select(0, rows).square().sum() + x.flip(0).tanh().sum()
    yield F.pad(x, (1, 1)).square().sum() + x.roll(1, 0).tanh().sum()


def layers(x):
    c = x.shape[-1]
    yield F.layer_norm(x, (c,)).square().sum() + F.linear(x, numbers(2, c), numbers(2)).tanh().sum()
    yield F.cross_entropy(x.reshape(-1, c), torch.zeros(x.numel() // c, dtype=torch.int64))
    yield F.embedding(torch.zeros(x.shape[:-1], dtype=torch.int64), numbers(2, 5)).sum() + x.sum()
    if x.dim() == 3:
        yield F.conv1d(x, numbers(2, x.shape[1], 1)).tanh().sum() + F.conv1d(x, numbers(2, x.shape[1], 3), padding=1).tanh().sum()
        yield F.avg_pool1d(x, 1).square().sum() + F.max_pool1d(x, 3, 1, 1).sum() + F.interpolate(x, scale_factor=2).tanh().sum()
        yield (x @ numbers(x.shape[0], c, 2)).tanh().sum() + (x.transpose(1, 2) @ numbers(x.shape[0], x.shape[1], 1)).tanh().sum()
        if x.shape[1] < LONG:
            q = x.unsqueeze(1)
            yield F.scaled_dot_product_attention(q, q, q).square().sum()


def recurrent(x):
    net = torch.nn.GRU(x.shape[-1], 2, batch_first=True)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(numbers(*p.shape, grad=False) / 4)
    yield net(x)[0].square().sum()


CASES = (
    [(reductions, s) for s in shapes(2) + shapes(3)]
    + [(movements, s) for s in shapes(2)]
    + [(layers, s) for s in shapes(2) + shapes(3)]
)
CASES += [(recurrent, s) for s in [(1, 3, 1), (3, 1, 1), (1, 1, 3), (1, 300, 1), (300, 1, 2), (1, 1, 300)]]


@pytest.mark.parametrize("part", range(8))
def test_families(monkeypatch, part):
    """What is strict here makes a plan that cannot be made an error; what plans give is what the interpreter gives."""
    monkeypatch.setattr(config, "strict", True)
    for program, shape in CASES[part::8]:
        found = {}
        for compiled in (False, True):
            monkeypatch.setattr(config, "compiled", compiled)
            monkeypatch.setattr(config, "compile_after", 0)
            x = numbers(*shape)
            values = [(y.item(), torch.autograd.grad(y, x)[0].numpy()) for y in program(x)]
            found[compiled] = values
        for (a, da), (b, db) in zip(found[False], found[True], strict=True):
            np.testing.assert_allclose(b, a, 2e-3, 2e-3 * abs(a) + 1e-3, err_msg=f"{program.__name__} of {shape}")
            np.testing.assert_allclose(db, da, 2e-3, 2e-3 * np.abs(da).max(initial=1), err_msg=f"{program.__name__} of {shape}")


# --- what could not be compiled is told ----------------------------------------------------------------------


def test_refusals_are_counted_and_told_once(monkeypatch):
    from flambeau.engine import plan

    broken = Mock(side_effect=ZeroDivisionError("no schedule"))  # raised by no code of the user's, which would be passed on
    monkeypatch.setattr(config, "strict", False)
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(plans.totals, "refused", {})
    monkeypatch.setattr(plan.Plan, "__init__", broken)
    plans.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for width in (3, 5):
            for _ in range(4):
                assert (torch.ones(width) * 7).sum().item() == 7 * width
    assert torch.engine_stats()["refused"] == {"ZeroDivisionError: no schedule": 2}
    assert [w.category for w in caught] == [RuntimeWarning] and "no schedule" in str(caught[0].message)
    plans.clear()


def test_synchronize(monkeypatch):
    """After it nothing waits and nothing runs ahead, in all its spellings."""
    monkeypatch.setattr(config, "ahead", 0.0)
    for synchronize in (torch.synchronize, torch.cpu.synchronize, torch.accelerator.synchronize):
        for _ in range(5):
            y = (torch.ones(300, 300) @ torch.ones(300, 300)).tanh().sum()
            z = y * 2
            assert graph.trace
            synchronize()
            assert not graph.trace and flight.aloft is None
            assert z._storage.node.value is not None
