"""Samples whose parameters are on the tape: entries and gradients, which are zeros, are PyTorch's."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

DRAWS = """
lib.bernoulli(p)
lib.normal(p, 1.0)
lib.normal(0.0, p)
lib.normal(p, p)
lib.normal(p, p.reshape(2, 1))
lib.poisson(p)
lib.empty(2).bernoulli_(p)
p.clone().bernoulli_(0.5)
p.clone().uniform_()
p.clone().normal_()
p.clone().exponential_()
p.clone().geometric_(0.5)
p.clone().cauchy_()
p.clone().log_normal_()
p.clone().random_()
p.clone().random_(5)
p.clone().random_(2, 5)
lib.multinomial(p, 1)
lib.bernoulli(p.detach())
""".strip().splitlines()


def outcome(lib, call: str):
    lib.manual_seed(0)
    p = lib.tensor([0.25, 0.5], requires_grad=True)
    drawn = eval(call, {"lib": lib, "p": p})
    if not drawn.requires_grad:
        return drawn.flatten().tolist(), None, None
    return drawn.flatten().tolist(), drawn.grad_fn.name(), lib.autograd.grad(drawn.sum(), p)[0].tolist()


@pytest.mark.parametrize("call", DRAWS)
def test_drawn(call):
    values, *tape = outcome(flambeau, call)
    expected, *their_tape = outcome(torch, call)
    assert values == pytest.approx(expected)
    assert tape == their_tape
