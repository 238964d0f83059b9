"""Batching rules, generated from the op records: ``vmap`` of every op is the loop over its samples, and so are its gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from tests.test_ops import leaves, rebuild

OPS = sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name)
# How many boxes stay depends on their values, so batches of nms have no result.
SAMPLED = [op for op in OPS if op.samples and op.name != "torchvision.nms"]
BATCH = 3

REFUSED = (
    "vmap: We do not support batching operators that can",
    "vmap: It looks like you're",
    "vmap: Attempted to vmap over `mask`",
    "When vmap-ing torch.nn.functional.one_hot",
    "vmap over torch.allclose",
    "vmap: we do not yet support",
    "vmap: inplace arithmetic(self, *extra_args) is not possible",
    "Batching rule not implemented",
    "can not return a BatchedTensor",
    "must only return Tensors",
)
"""What PyTorch refuses too, in its words."""


def patterns(n: int):
    """Which of ``n`` tensors are batched, and along which dim."""
    yield (0,) * n
    yield (-1,) * n
    for some in itertools.product((0, None), repeat=min(n, 3)):
        if set(some) == {0, None}:
            yield (*some, *[None] * (n - len(some)))


def cases(op):
    """Sample calls of an op, as a function of its tensors, with as many different values for these as there are samples."""
    made = [list(op.samples(Make(seed))) for seed in range(BATCH)]
    for several in zip(*made, strict=True):
        sample = several[0]
        tensors = [leaves([list(s.args), s.kwargs]) for s in several]
        if len({tuple((t.shape, t.dtype) for t in ts) for ts in tensors}) > 1 or not tensors[0]:
            continue

        def function(*given, sample=sample):
            torch.manual_seed(0)
            filled = iter([t.clone() for t in given])  # in-place forms write to a clone
            args, kwargs = rebuild([list(sample.args), sample.kwargs], filled)
            found = op.function(*args, **kwargs)
            return tuple(leaves(found)) if isinstance(found, (torch.Tensor, tuple, list)) else found

        yield sample, function, tensors


def stacked(tensors, dims):
    columns = list(zip(*tensors))
    return [column[0] if d is None else torch.stack([t.detach() for t in column], d) for column, d in zip(columns, dims)]


def close(a, b, what):
    assert a.shape == b.shape and a.dtype is b.dtype, (what, a.shape, b.shape, a.dtype, b.dtype)
    rtol = 1e-9 if a.dtype.itemsize > 4 or not a.dtype.is_floating_point else 1e-5
    np.testing.assert_allclose(
        np.array(a.detach()._array()), np.array(b.detach()._array()), rtol=rtol, atol=rtol / 10, err_msg=str(what)
    )


def differentiable(results):
    return [r for r in results if r.requires_grad]


def gradients(function, inputs, wanted):
    """The gradients of a weighted sum of the results, by inputs of their own."""
    own = [t.detach().requires_grad_() if w else t for t, w in zip(inputs, wanted, strict=True)]
    results = differentiable(function(*own))
    if not results:
        return None
    weights = [torch.linspace(0.5, 1.5, r.numel(), dtype=torch.float64).reshape(r.shape).to(r.dtype) for r in results]
    return torch.autograd.grad(results, [t for t in own if t.requires_grad], weights, allow_unused=True)


def told(function, *args):
    """What a call gives, or what it says where there is no derivative."""
    try:
        return function(*args)
    except (NotImplementedError, RuntimeError) as error:
        if "derivative for" not in str(error):
            raise
        return str(error)


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_as_loop(op, monkeypatch):
    """Whatever is batched, and along whichever dim: the same results, and the same gradients."""
    monkeypatch.setattr(config, "compiled", False)  # rules are made of ops, whose kernels have tests of their own
    for sample, function, tensors in cases(op):
        for dims in patterns(len(tensors[0])):
            given = stacked(tensors, dims)

            def loop(*given, function=function, dims=dims):
                calls = [function(*[t if d is None else t.select(d, i) for t, d in zip(given, dims)]) for i in range(BATCH)]
                return tuple([torch.stack(column) for column in zip(*calls)])

            mapped = torch.vmap(function, in_dims=dims, randomness="same")
            try:
                found = mapped(*given)
            except (RuntimeError, ValueError) as error:
                if any(word in str(error) for word in REFUSED):
                    continue
                raise
            for a, b in zip(found, loop(*given), strict=True):
                close(a, b, (sample, dims))
            if any(dims) or dims[0] is None:
                continue  # what is differentiated there are ops that the others have shown to be right
            wanted = [t.requires_grad for t in tensors[0]]
            theirs = told(gradients, loop, given, wanted) if any(wanted) else None
            if theirs is None:
                continue
            ours = told(gradients, mapped, given, wanted)
            if isinstance(theirs, str):
                assert ours == theirs
                continue
            for a, b in zip(ours, theirs, strict=True):
                if a is None or b is None:
                    assert a is None and b is None or not (a if b is None else b).any(), (sample, dims)
                else:
                    close(a, b, (sample, dims, "gradient"))


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_levels(op, monkeypatch):
    """One ``vmap`` inside another: every other tensor has the samples of the outer one, and the rest those of the inner."""
    monkeypatch.setattr(config, "compiled", False)
    for sample, function, tensors in cases(op):
        n = len(tensors[0])
        outer = tuple(0 if i % 2 == 0 or n == 1 else None for i in range(n))
        inner = tuple(0 if i % 2 or n == 1 else None for i in range(n))
        given = stacked(tensors, (0,) * n)
        if n == 1:
            given = [torch.stack([given[0], given[0].flip(0)])]
        mapped = torch.vmap(torch.vmap(function, in_dims=inner, randomness="same"), in_dims=outer, randomness="same")
        try:
            found = mapped(*given)
        except (RuntimeError, ValueError) as error:
            if any(word in str(error) for word in REFUSED):
                continue
            raise
        rows = []
        for i in range(2 if n == 1 else BATCH):
            for j in range(BATCH):
                rows.append(function(*[given[0][i, j]] if n == 1 else [t[j if d is None else i] for t, d in zip(given, outer)]))
        for a, column in zip(found, zip(*rows), strict=True):
            b = torch.stack(column)
            close(a, b.unflatten(0, (len(rows) // BATCH, BATCH)), sample)
