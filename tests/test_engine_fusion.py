"""What plans do around products: transposes that are kept, rectifiers; with the values of immediate mode."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine import plan as plans_of
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F


@pytest.fixture
def compiled(monkeypatch):
    """``compiled(f)``: what ``f`` gives at once and compiled, as arrays, and the plans that were made."""

    def run(f):
        run_pending()
        monkeypatch.setattr(config, "eager", True)
        expected = [x.detach().numpy().copy() for x in f()]
        monkeypatch.setattr(config, "eager", False)
        monkeypatch.setattr(config, "compiled", True)
        monkeypatch.setattr(config, "compile_after", 0)
        made: list = []
        init = plans_of.Plan.__init__
        monkeypatch.setattr(plans_of.Plan, "__init__", lambda self, *given: (made.append(self), init(self, *given))[1])
        results = f()
        run_pending()
        found = [x.detach().numpy().copy() for x in results]
        monkeypatch.setattr(plans_of.Plan, "__init__", init)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
        return made

    return run


def ops(plans) -> list[str]:
    """The ops of all steps."""
    return [p.nodes[i].op.name for p in plans for group in p.groups for i in group.members]


def test_the_gradient_of_a_weight_is_made_in_its_own_order(compiled):
    x, w, g = torch.randn(6, 5), torch.randn(4, 5, requires_grad=True), torch.randn(6, 4)

    def f():
        w.grad = None
        y = x @ w.t()
        y.backward(g)
        return [y, w.grad]

    assert ops(compiled(f)) == ["mm", "mm"]


def test_a_product_that_is_read_twice_stays(compiled):
    a, b = torch.randn(3, 4), torch.randn(4, 5)

    def f():
        c = a @ b
        return [c.t().contiguous(), c * 2, c]

    compiled(f)


def test_batches_are_turned(compiled):
    a, b = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    compiled(lambda: [(a @ b).mT.contiguous(), torch.bmm(a, b).transpose(1, 2).contiguous()])


@pytest.mark.parametrize("bias", [False, True])
def test_a_rectifier_is_part_of_the_product(compiled, bias):
    layer = torch.nn.Linear(300, 40, bias=bias)
    x = torch.randn(30, 300)

    def f():
        layer.zero_grad()
        y = F.relu(layer(x))
        y.sum().backward()
        return [y, *(p.grad for p in layer.parameters())]

    plans = compiled(f)
    assert "relu" not in ops(plans)


def test_a_rectifier_beside_another_reader(compiled):
    layer, x = torch.nn.Linear(8, 4), torch.randn(5, 8)

    def f():
        y = layer(x)
        return [F.relu(y), y + 1]

    assert "relu" in ops(compiled(f))


@pytest.mark.parametrize("causal", [False, True])
def test_attention(compiled, causal):
    c, heads = 12, 3
    x = torch.randn(2, 7, 3 * c, requires_grad=True)
    g = torch.randn(2, 7, c)

    def f():
        x.grad = None
        q, k, v = (t.view(2, 7, heads, c // heads).transpose(1, 2) for t in x.split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).contiguous().view(2, 7, c)
        y.backward(g)
        return [y, x.grad]

    plans = compiled(f)
    steps = [p.nodes[s.node].op.name for p in plans for s in p.steps if not s.compiled]
    assert not [name for name in steps if name.startswith("_attention")]
    assert "softmax" not in ops(plans)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_in_channels_last_is_made_there(compiled, transposed):
    """It has one step, with its rectifier; its weight alone is copied."""
    x = torch.randn(2, 6, 7, 5).to(memory_format=torch.channels_last)
    w = torch.randn(6, 6, 3, 3).to(memory_format=torch.channels_last)
    convolve = F.conv_transpose2d if transposed else F.conv2d

    def f():
        return [convolve(x, w, stride=2).relu()]

    made = compiled(f)
    assert ops(made) == ["copy", "_convolution_input" if transposed else "_convolution"]


def test_a_convolution_that_is_read_in_both_orders_stays(compiled):
    x = torch.randn(2, 3, 7, 5).to(memory_format=torch.channels_last)
    w = torch.randn(4, 3, 3, 3)

    def f():
        y = F.conv2d(x, w)
        return [y, y.contiguous() + 1]

    assert "_convolution" in ops(compiled(f))


def test_a_max_pool_in_channels_last_has_kernels(compiled):
    x = torch.randn(2, 3, 6, 4).to(memory_format=torch.channels_last).requires_grad_()

    def f():
        x.grad = None
        y = F.max_pool2d(x * 2, 2)
        (y * y).sum().backward()
        return [y, x.grad]

    made = compiled(f)
    assert made and all(step.compiled for p in made for step in p.steps)
