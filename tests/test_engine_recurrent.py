"""Kernels of recurrent layers against their meaning in NumPy, and layers compiled as at once."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config, dtypes
from flambeau.engine import plan as plans_of
from flambeau.engine.cpu.compiler import LEVELS, Session, session
from flambeau.engine.cpu.recurrent import recurrent_kernel
from flambeau.engine.cpu.specs import RecurrentSpec
from flambeau.engine.run import run_pending
from flambeau.ops.recurrent import CELLS, _recurrence_grad, recurrence


def call(kernel, arrays):
    address, words = kernel
    block = (ctypes.c_int64 * (len(arrays) + len(words)))(*[a.ctypes.data for a in arrays], *words)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(block))


@pytest.fixture(scope="module", params=["", "avx2", "generic"])
def on(request):
    return Session(LEVELS[request.param], session().disk) if request.param else session()


@pytest.mark.parametrize("mode", CELLS)
@pytest.mark.parametrize(
    ("steps", "batch", "width", "reverse", "dtype", "given"),
    [
        (1, 1, 1, False, "float32", (1, 0, 0)),
        (3, 5, 7, True, "float64", (1, 1, 1)),
        (4, 33, 20, False, "float32", (1, 1, 0)),
        (3, 17, 48, True, "float32", (0, 1, 1)),
        (2, 32, 128, False, "float32", (1, 0, 0)),
        (19, 2, 16, False, "float32", (1, 1, 1)),
        (11, 9, 5, True, "float64", (1, 0, 1)),
    ],
)
def test_kernels(on, mode, steps, batch, width, reverse, dtype, given):
    check(on, np.random.default_rng(0), mode, (steps, batch, 2 * batch % 7 + 1, width), reverse, dtype, given)


@pytest.mark.parametrize("mode", CELLS)
def test_random_sizes(on, mode):
    """Kernels are right for sizes that they were not first asked for: there is one for each form."""
    rng, found, gated = np.random.default_rng(1), set(), CELLS[mode].inner
    sizes = [1, 2, 3, 8, 9, 16, 17, 32, 33]
    for _ in range(12):
        steps, batch, features, width = (int(rng.choice([*sizes, rng.integers(1, 70)])) for _ in range(4))
        sizes_here = min(steps, 20), batch, features, width
        found |= check(on, rng, mode, sizes_here, gated, "float32", (1, int(gated), 0))
    assert len(found) <= 12  # whole vectors or not; with each of two biases or not; with a gradient of the input or not


def check(on, rng, mode, sizes, reverse, dtype, given):
    """Both kernels against their meaning; ``given`` says which results have gradients. Gives their addresses."""
    addresses = set()
    steps, batch, features, width = sizes
    gates = CELLS[mode].gates

    def make(*shape, scale=0.7):
        return (rng.standard_normal(shape) * scale).astype(dtype)

    many = gates * width
    x, h = make(steps * batch, features), make(batch, width)
    w = make(many, features, scale=0.7 / features**0.5), make(many, width, scale=0.7 / width**0.5)
    c = make(batch, width) if mode == "LSTM" else None
    bias, hidden_bias = make(many) if batch % 2 else None, make(many) if mode == "GRU" and steps % 2 else None
    attrs = {"mode": mode, "sizes": ((steps, batch),), "reverse": reverse}
    tolerance = 1e-5 if dtype == "float32" else 1e-12

    def compare(spec, inputs, expected):
        found = [np.full_like(v, np.nan) for v in expected]
        kernel = recurrent_kernel(spec, on)
        addresses.add(kernel[0])
        call(kernel, [v for v in inputs if v is not None] + found)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)

    kind = getattr(dtypes, dtype)
    results = recurrence.op.kernel(x, h, c, *w, bias, hidden_bias, **attrs)
    biases = (bias is not None, hidden_bias is not None)
    compare(
        RecurrentSpec("forward", mode, kind, steps, batch, features, width, reverse, biases),
        (x, h, c, *w, bias, hidden_bias), results,
    )  # fmt: skip
    gs = [make(*r.shape) if there and r.ndim == 2 else None for there, r in zip(given, results, strict=True)]
    strides = tuple(g if g is None else g.shape[1] for g in gs)
    for w_ih in (w[0], None):
        expected = _recurrence_grad.op.kernel(*gs, *results, h, c, w_ih, w[1], **attrs)
        seen = 0 if w_ih is None else features
        spec = RecurrentSpec("backward", mode, kind, steps, batch, seen, width, reverse, (False, False), strides)
        compare(spec, (*gs, *results, h, c, w_ih, w[1]), expected)
    return addresses


@pytest.mark.parametrize("mode", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("packed", [False, True])
def test_training_compiled_as_at_once(monkeypatch, mode, packed):
    def train():
        torch.manual_seed(0)
        layer = getattr(torch.nn, mode)(5, 9, num_layers=2, bidirectional=True, batch_first=True)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        x, seen = torch.randn(4, 6, 5), []
        for _ in range(4):
            given = x
            if packed:
                given = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([6, 2, 5, 5]), True, enforce_sorted=False)
            out, _ = layer(given)
            loss = ((out.data if packed else out) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        return seen + [v for p in layer.parameters() for v in p.flatten().tolist()]

    run_pending()
    monkeypatch.setattr(config, "eager", True)
    expected = train()
    monkeypatch.setattr(config, "eager", False)
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 0)
    made: list = []
    init = plans_of.Plan.__init__
    monkeypatch.setattr(plans_of.Plan, "__init__", lambda self, *given: (made.append(self), init(self, *given))[1])
    found = train()
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
    kernels = [p.nodes[s.node].op.name for p in made for s in p.steps if not s.compiled]
    assert packed or not [name for name in kernels if name.startswith("_recurrence")]


def test_a_sequence_is_one_op(monkeypatch):
    """A step of a layer costs as many nodes for long sequences as for short ones."""
    from flambeau.engine import graph

    layer = torch.nn.LSTM(3, 4, num_layers=2)
    counts = []
    for steps in (2, 50):
        run_pending()
        monkeypatch.setattr(config, "eager", False)
        out, _ = layer(torch.randn(steps, 2, 3))
        out.sum().backward()
        counts.append(len(graph.trace))
        run_pending()
        layer.zero_grad()
    assert counts[0] == counts[1]
