"""Tests generated from the op records: gradients to second order, error samples, laziness, in-place and out= forms."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.ops import deformable, quantization, regions  # noqa: F401
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

OPS = sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name)
SAMPLED = [op for op in OPS if op.samples]


def samples(op, **settings):
    return list(op.samples(Make(**settings)))


def leaves(value, found=None):
    """All tensors in a nest of tuples, lists and dicts."""
    found = [] if found is None else found
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for v in value:
            leaves(v, found)
    elif isinstance(value, dict):
        leaves(list(value.values()), found)
    return found


def rebuild(value, tensors):
    """``value`` with its tensors replaced, in order, by those of the iterator ``tensors``."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if type(value) in (tuple, list):
        return type(value)(rebuild(v, tensors) for v in value)
    if isinstance(value, dict):
        return {k: rebuild(v, tensors) for k, v in value.items()}
    return value


def as_function(op, sample):
    """The op as a function of its differentiable tensors alone, and these tensors."""
    tensors = leaves([list(sample.args), sample.kwargs])
    inputs = [t.detach().clone().requires_grad_() for t in tensors if t.requires_grad]

    def function(*values):
        values = iter(values)
        filled = iter([next(values).clone() if t.requires_grad else t for t in tensors])  # in-place forms write to a clone
        args, kwargs = rebuild([list(sample.args), sample.kwargs], filled)
        torch.manual_seed(0)
        result = op.function(*args, **kwargs)
        return tuple(t for t in leaves(result) if t.requires_grad)

    return function, inputs


def has_derivative(result, inputs):
    """Whether PyTorch has one for the op; where it has none, asking for it raises."""
    try:
        torch.autograd.grad(result, inputs, torch.ones_like(result), allow_unused=True)
    except (NotImplementedError, RuntimeError) as error:
        if "derivative for" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_gradients(op):
    """First and second derivatives agree with central differences along random directions (float64)."""
    checked = 0
    for sample in samples(op):
        if not any(t.requires_grad for t in leaves([list(sample.args), sample.kwargs])):
            continue
        function, inputs = as_function(op, sample)
        results = function(*inputs)
        if not results:
            continue
        checked += 1
        if not has_derivative(results[0], inputs):
            continue
        assert torch.autograd.gradcheck(function, inputs, atol=1e-6, rtol=1e-5, fast_mode=True, nondet_tol=1e-12), sample
        assert torch.autograd.gradgradcheck(function, inputs, atol=1e-5, rtol=1e-4, fast_mode=True, nondet_tol=1e-12), sample
    assert checked or not op.grads, "a record with a gradient needs a sample that has one"


def second_derivatives(op, sample, inputs):
    """Of the squares of the results, with respect to each input, behind the first ones."""
    tensors = leaves([list(sample.args), sample.kwargs])
    given = iter(inputs)
    args, kwargs = rebuild([list(sample.args), sample.kwargs], iter([next(given) if t.requires_grad else t for t in tensors]))
    results = [r for r in leaves(op.function(*args, **kwargs)) if r.requires_grad]
    firsts = torch.autograd.grad(sum([r.abs().square().sum() for r in results]), inputs, create_graph=True)
    loss = sum([g.abs().sum() for g in firsts])
    return [g.detach() for g in (*firsts, *torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True))]


@pytest.mark.parametrize("op", [op for op in SAMPLED if op.grads], ids=lambda op: op.name)
def test_derivatives_of_memory_that_others_hold(op):
    """Somebody who may write to a leaf's memory changes nothing on the tape: what it keeps is still that leaf."""
    sample = next((s for s in samples(op) if any(t.requires_grad for t in leaves([list(s.args), s.kwargs]))), None)
    if sample is None:
        return
    held_by_others, inputs = as_function(op, sample)[1], as_function(op, sample)[1]
    held = [t.detach().numpy() for t in held_by_others]
    try:  # first of all, before it is known what such calls make
        found = second_derivatives(op, sample, held_by_others)
    except RuntimeError:  # PyTorch has no second derivative either
        return
    del held
    for a, b in zip(second_derivatives(op, sample, inputs), found, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", [op for op in OPS if op.errors], ids=lambda op: op.name)
def test_error_samples(op):
    for wrong in op.errors(Make()):
        with pytest.raises(wrong.error, match=wrong.match):
            for t in leaves(op.function(*wrong.args, **wrong.kwargs)):
                t.tolist()


def pending(x):
    """Arguments like these, whose values have not been computed."""
    if isinstance(x, torch.Tensor):
        return x.clone() if x.is_leaf and x._base is None and x.numel() else x
    if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
        return type(x)(map(pending, x))
    return x


@pytest.mark.parametrize("op", [op for op in OPS if op.errors and not op.inplace or op.checked], ids=lambda op: op.name)
def test_errors_of_pending_values_come_with_the_call(op):
    """Where values show what is wrong, the call looks at them, also if they have not been computed yet."""
    for wrong in op.errors(Make()) if op.errors else ():
        args, kwargs = pending(wrong.args), {name: pending(x) for name, x in wrong.kwargs.items()}
        with pytest.raises(wrong.error, match=wrong.match):
            op.function(*args, **kwargs)


def values(result):
    return [np.array(t.detach()._array()) for t in leaves(result)]


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_immediate_equals_recorded(op, monkeypatch):
    """Running each op as it is called, or all at the end, gives the same bits."""
    monkeypatch.setattr(config, "compiled", False)

    def run():
        results = []
        for sample in samples(op, requires_grad=False):
            torch.manual_seed(0)
            results.append(op.function(*sample.args, **sample.kwargs))
        return [v for r in results for v in values(r)]

    recorded = run()
    monkeypatch.setattr(config, "eager", True)
    immediate = run()
    for a, b in zip(recorded, immediate, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("op", [op for op in SAMPLED if op.inplace and "." not in op.name], ids=lambda op: op.name)
def test_in_place(op):
    """``x.name_(...)`` writes what ``name(x, ...)`` returns, wherever its shape and dtype allow it."""
    for sample in samples(op, requires_grad=False):
        if not isinstance(sample.args[0], torch.Tensor):
            continue
        torch.manual_seed(0)
        expected = op.function(*sample.args, **sample.kwargs)
        x = sample.args[0].clone()
        if expected.shape != x.shape or expected.dtype != x.dtype:
            continue
        torch.manual_seed(0)
        result = getattr(x, op.name + "_")(*sample.args[1:], **sample.kwargs)
        assert result is x
        np.testing.assert_array_equal(x.numpy(), expected.numpy())


@pytest.mark.parametrize("op", [op for op in SAMPLED if op.out], ids=lambda op: op.name)
def test_out(op):
    """``out=`` receives the result, whatever its size was."""
    for sample in samples(op, requires_grad=False):
        expected = op.function(*sample.args, **sample.kwargs)
        if not isinstance(expected, torch.Tensor):
            continue
        out = torch.empty(0, dtype=expected.dtype)
        assert op.function(*sample.args, **sample.kwargs, out=out) is out
        np.testing.assert_array_equal(out.numpy(), expected.resolve_conj().numpy())


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_documented(op):
    """Every public op has a docstring."""
    assert op.short_name.startswith("_") or op.check.__doc__
