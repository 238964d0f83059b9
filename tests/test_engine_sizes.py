"""Plans are made of kernels for all sizes, and get kernels for their own sizes when these pay: the bits are the same."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine import plans, short
from flambeau.nn import functional as F


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 0)
    plans.clear()


def net():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(20, 33),
        torch.nn.GELU(),
        torch.nn.LayerNorm(33),
        torch.nn.Linear(33, 17),
        torch.nn.ReLU(),
        torch.nn.Linear(17, 5),
    )
    return model, torch.optim.AdamW(model.parameters(), 1e-2)


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def kernels():
    stats = torch.engine_stats()
    return stats["kernels_compiled"] + stats["kernels_loaded"]


def test_plans_for_new_sizes_need_few_kernels():
    """After some sizes, others need tiles for what is left of their rows at most."""
    model, optimizer = net()
    counts = []
    for n in (40, 7, 90, 21, 64, 33, 47, 58, 75, 83, 29, 61):
        before = kernels()
        step(model, optimizer, torch.randn(n, 20), torch.randint(0, 5, (n,)))
        counts.append(kernels() - before)
    assert sum(counts[4:]) < 12, counts


def test_constants_that_follow_from_sizes_are_given():
    """What means are divided by, how many classes there are: no kernel for each of them."""
    for n in (30, 50):
        F.cross_entropy(torch.randn(n, n), torch.randint(0, n, (n,))).item()
        (torch.randn(n, 20).mean((0, 1)) + torch.randn(n, 20).var(unbiased=False)).item()
    before = kernels()
    for n in (33, 47, 61):
        F.cross_entropy(torch.randn(n, n), torch.randint(0, n, (n,))).item()
        (torch.randn(n, 20).mean((0, 1)) + torch.randn(n, 20).var(unbiased=False)).item()
    assert kernels() == before


def test_kernels_for_a_plans_own_sizes_give_the_same_bits():
    weights = []
    for specialised in (False, True):
        plans.clear()
        model, optimizer = net()
        torch.manual_seed(1)
        for n in (40, 40, 300, 40, 300, 40):
            step(model, optimizer, torch.randn(n, 20), torch.randint(0, 5, (n,)))
            if specialised:
                for plan in plans.plans.values():
                    plan.specialise()
                    assert not plan.special
        weights.append([p.detach().numpy().copy() for p in model.parameters()])
    for a, b in zip(*weights):
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def test_plans_that_run_often_get_kernels_of_their_own(monkeypatch):
    """By counts and estimates, not by the clock."""
    monkeypatch.setattr(plans, "GAIN", 20.0)
    monkeypatch.setattr(short, "LITTLE", 0)  # no little trace, whose plan does not come this way
    x, w = torch.randn(300, 100), torch.randn(100, 3)
    torch.mm(x, w).exp().sum().item()
    (plan,) = plans.plans.values()
    assert plan.special
    while plan.runs < plan.special_after:
        assert plan.special
        torch.mm(x, w).exp().sum().item()
    torch.mm(x, w).exp().sum().item()
    assert not plan.special


def test_crops_at_random_places_are_the_same_step():
    """Where a part of some pictures begins is no size that the engine has to prepare for."""
    pictures = torch.arange(2 * 3 * 20 * 24.0).reshape(2, 3, 20, 24)
    model = torch.nn.Conv2d(3, 2, 3)
    for y, x in [(y, x) for y in range(8) for x in range(1, 9)]:
        result = model(pictures[:, :, y : y + 12, x : x + 16]).square().mean()
        result.backward()
        expected = model(torch.from_numpy(pictures.numpy()[:, :, y : y + 12, x : x + 16].copy())).square().mean()
        assert result.item() == pytest.approx(expected.item(), rel=1e-6)
    assert len(plans.plans) < 8


@pytest.mark.parametrize("rows, columns", [(100_000, 2**63 - 1), (2**40, 2**40), (3, 2**62)])
def test_sizes_that_nothing_can_hold(rows, columns):
    """A plan is made, for whose words the sizes may be too large; what is raised is what NumPy says of them."""
    for _ in range(3):
        x = torch.ones(1, 1) * 1
        with pytest.raises((ValueError, RuntimeError)):
            (x.expand(rows, columns) + 1).tolist()
