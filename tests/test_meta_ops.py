"""The device "meta", tested by the op records: a call says the same of its result there as on the CPU, and so do its gradients."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.engine import graph
from flambeau.engine.interpreter import Failed
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

OPS = sorted({id(op): op for op in registry.values() if op.samples}.values(), key=lambda op: op.name)


def nested(value, change):
    """``value`` with each tensor in it replaced by ``change(tensor)``."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[nested(v, change) for v in value])
    if isinstance(value, (tuple, list)):
        return type(value)([nested(v, change) for v in value])
    return {k: nested(v, change) for k, v in value.items()} if isinstance(value, dict) else value


def tensors_of(value) -> list:
    found: list = []
    nested(value, found.append)
    return found


def without_values(t):
    """``t`` on the device ``meta``: a leaf with the same strides."""
    return torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta", requires_grad=t.requires_grad)


def described(value):
    return nested(value, lambda t: (tuple(t.shape), t.dtype, t.stride(), t.requires_grad, t.grad_fn and t.grad_fn.name()))


def call(op, args, kwargs):
    """The result, and the gradients of the differentiable arguments."""
    given = tensors_of([args, kwargs])
    result = op.function(*args, **kwargs)
    outputs = [t for t in tensors_of(result) if t.requires_grad]
    inputs = [t for t in given if t.requires_grad]
    grads = (
        torch.autograd.grad(outputs, inputs, [torch.ones_like(t) for t in outputs], allow_unused=True) if outputs and inputs else ()
    )
    return result, grads


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_as_on_the_cpu(op):
    """Shapes, dtypes, strides and entries on the tape; nothing is recorded."""
    for sample in op.samples(Make()):
        args, kwargs = list(sample.args), sample.kwargs
        if not tensors_of([args, kwargs]):
            if "device" not in op.check.__code__.co_varnames:
                continue
            expected = op.function(*args, **kwargs)
            result = op.function(*args, **{**kwargs, "device": "meta"})
            assert all(t.is_meta for t in tensors_of(result)) and described(result) == described(expected)
            continue
        leaves = nested(
            [args, kwargs], lambda t: t.detach().clone(memory_format=torch.preserve_format).requires_grad_(t.requires_grad)
        )
        meta_args, meta_kwargs = nested([args, kwargs], without_values)
        try:
            expected, grads = call(op, *[nested(x, lambda t: t) for x in leaves])
        except RuntimeError as error:
            if "derivative for" not in str(error) and "in-place" not in str(error):
                raise
            continue
        before = len(graph.trace)
        try:
            result, meta_grads = call(op, meta_args, meta_kwargs)
        except (NotImplementedError, RuntimeError) as error:
            assert "Meta kernel" in str(error) or "called on meta" in str(error) or "out of meta" in str(error)
            continue
        assert described(result) == described(expected), sample
        assert all(t.is_meta for t in tensors_of([result, list(meta_grads)]))
        assert described(list(meta_grads)) == described(list(grads)), sample
        assert not any(getattr(x, "value", None).__class__ is Failed for node in graph.trace[before:] for x in node.inputs)
