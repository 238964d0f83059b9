"""Recurrent layers against PyTorch: values, gradients and gradients of gradients, packed and not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402


def observe(library, mode, layers, bidirectional, batch_first, bias, packed, state, projected) -> list:
    rng = np.random.default_rng(0)
    steps, batch, features, width = 5, 3, 4, 6

    def make(*shape, scale=1.0, grad=True):
        return library.tensor(rng.uniform(-scale, scale, shape), requires_grad=grad)

    options = {"proj_size": 3} if projected else {}
    layer = getattr(library.nn, mode)(
        features, width, num_layers=layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias,
        dtype=library.float64, **options,
    )  # fmt: skip
    with library.no_grad():
        for p in layer.parameters():
            p.copy_(make(*p.shape, scale=0.5, grad=False))
    x = make(*(batch, steps) if batch_first else (steps, batch), features)
    rows = layers * (1 + bidirectional)
    sizes = [3 if projected else width, width][: 1 + (mode == "LSTM")]
    first = [make(rows, batch, size) for size in sizes] if state else []

    def run():
        given = x
        if packed:
            lengths = library.tensor([2, 5, 3])
            given = library.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
        out, last = layer(given, (tuple(first) if mode == "LSTM" else first[0]) if state else None)
        return out.data if packed else out, last if mode == "LSTM" else (last,)

    out, last = run()
    weights = make(*out.shape, grad=False)
    loss = (out * weights).sum() + sum((s * s).sum() for s in last)
    leaves = [x, *first, *layer.parameters()]
    grads = library.autograd.grad(loss, leaves, create_graph=True)
    second = library.autograd.grad(sum((g * g).sum() for g in grads), leaves)
    out_again, last_again = run()
    plain = library.autograd.grad((out_again * weights).sum() + sum((s * s).sum() for s in last_again), leaves)
    return [v.detach().numpy() for v in (out, *last, *grads, *second, *plain)]


CHOICES = [c for c in itertools.product((1, 2), *[(False, True)] * 5) if sum(c) % 3 == 0]


@pytest.mark.parametrize("mode", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_layers(mode, choice):
    arguments = (mode, *choice, mode == "LSTM" and choice[0] == 1)
    for ours, theirs in zip(observe(flambeau, *arguments), observe(torch, *arguments), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", ["LSTM", "GRU", "RNN"])
def test_an_output_that_is_not_used(mode):
    def gradients(library):
        rng = np.random.default_rng(1)
        layer = getattr(library.nn, mode)(3, 4, dtype=library.float64)
        with library.no_grad():
            for p in layer.parameters():
                p.copy_(library.tensor(rng.standard_normal(tuple(p.shape))))
        x = library.tensor(rng.standard_normal((2, 1, 3)), requires_grad=True)
        last = layer(x)[1]
        (last[1] if mode == "LSTM" else last).sum().backward()
        return [x.grad.numpy(), *[p.grad.numpy() for p in layer.parameters()]]

    for ours, theirs in zip(gradients(flambeau), gradients(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
