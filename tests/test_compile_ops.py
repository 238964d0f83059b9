"""Every op with samples, as a captured function: the same results, strides, tape and gradients, bit for bit."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

SAMPLED = sorted({id(op): op for op in registry.values() if op.samples}.values(), key=lambda op: op.name)


def tensors(x) -> list:
    if isinstance(x, torch.Tensor):
        return [x]
    return [t for y in x for t in tensors(y)] if isinstance(x, (tuple, list)) else []


def fresh(x, grad: bool):
    if isinstance(x, torch.Tensor):
        return x.detach().clone().requires_grad_(grad and x.is_floating_point())
    return type(x)([fresh(y, grad) for y in x]) if type(x) in (tuple, list) else x


def seen(function, sample, grad: bool) -> tuple:
    """What a call gives: all that can be seen of its results, the gradients, and the arguments afterwards."""
    torch.manual_seed(1)
    args, kwargs = fresh(sample.args, grad), {k: fresh(v, grad) for k, v in sample.kwargs.items()}
    result = function(*args, **kwargs)
    given, results = tensors([*args, *kwargs.values()]), tensors(result)
    shown = [
        (repr(t.tolist()), t.dtype, t.stride(), t.requires_grad, t._is_view(), t.grad_fn and t.grad_fn.name()) for t in results
    ]
    sums = [(t.abs() if t.is_complex() else t.double()).sum() for t in results if t.requires_grad]
    if sums:
        try:
            sum(sums).backward()
        except (NotImplementedError, RuntimeError) as error:
            assert "derivative for" in str(error)  # PyTorch has none either
    gradients = [repr(t.grad.tolist()) for t in given if t.is_leaf and t.grad is not None]
    return type(result), shown or repr(result), gradients, [repr(t.tolist()) for t in given]


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_captured_ops(op, monkeypatch):
    monkeypatch.setattr(config, "compiled", False)
    function = op.function
    for sample in op.samples(Make())[:2]:
        for grad in (False, True):
            compiled = torch.compile(lambda *args, **kwargs: function(*args, **kwargs))
            want = seen(function, sample, grad)
            for _ in range(4):
                assert seen(compiled, sample, grad) == want
