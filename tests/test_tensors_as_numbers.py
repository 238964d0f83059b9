"""Tensors with one element where ops take numbers: they stand for the number, in every op that has samples with numbers."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from tests.test_ops import leaves

OPS = sorted({id(op): op for op in registry.values() if op.samples and op.number_places}.values(), key=lambda op: op.name)


def as_tensor(value):
    """A number as a tensor, and numbers of a sequence as well; anything else as it is."""
    if value.__class__ is int:
        return torch.tensor(value)
    if value.__class__ is float:
        return torch.tensor(value, dtype=torch.float64)
    return type(value)([as_tensor(v) for v in value]) if value.__class__ in (tuple, list) else value


def with_tensors(op, sample):
    """The arguments of a sample with tensors for the numbers that the op takes."""
    args, kwargs = list(sample.args), dict(sample.kwargs)
    for name, (place, kind, _) in op.number_places.items():
        for i in range(place, len(args) if name[0] == "*" else min(place + 1, len(args))):
            if not isinstance(args[i], torch.Tensor) and (kind != "float" or args[i].__class__ is float):
                args[i] = as_tensor(args[i])
        if name in kwargs:
            kwargs[name] = as_tensor(kwargs[name])
    return args, kwargs


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_the_same_as_numbers(op):
    for sample in op.samples(Make()):
        args, kwargs = with_tensors(op, sample)
        torch.manual_seed(0)
        expected = leaves(op.function(*sample.args, **sample.kwargs))
        torch.manual_seed(0)
        for a, b in zip(leaves(op.function(*args, **kwargs)), expected, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_array_equal(a.numpy(force=True), b.numpy(force=True))


def test_calls_that_repeat_read_the_number_each_time():
    x = torch.arange(12.0).reshape(3, 4)
    for k in [0, 1, -1, 2, 0, 1] * 4:
        assert x.tril(torch.tensor(k)).tolist() == x.tril(k).tolist()
        assert torch.stack([x, x], torch.tensor(abs(k))).shape == torch.stack([x, x], abs(k)).shape
        assert torch.nn.functional.celu(-x, torch.tensor(k + 2.5)).tolist() == torch.nn.functional.celu(-x, k + 2.5).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: torch.nn.functional.dropout(x, torch.tensor(0.5, requires_grad=True)),
            "argument 'p' .* must be float, not Tensor",
        ),
        (lambda x: torch.full((2,), torch.tensor([0.5])), "argument 'fill_value' .* must be Number, not Tensor"),
        (lambda x: x.tril(torch.tensor(0.5)), "argument 'diagonal' .* must be int, not Tensor"),
        (lambda x: torch.zeros(torch.tensor([3, 2])), "argument 'size' .* must be tuple of ints, not Tensor"),
    ],
)
def test_other_tensors_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call(torch.ones(2, 2))


def test_normal_and_gradient():
    torch.manual_seed(0)
    drawn = torch.normal(torch.tensor(0.0), torch.tensor(1.0), (3,))
    torch.manual_seed(0)
    assert drawn.tolist() == torch.normal(0.0, 1.0, (3,)).tolist()
    x = torch.arange(6.0) ** 2
    assert torch.gradient(x, spacing=torch.tensor(0.5))[0].tolist() == torch.gradient(x, spacing=0.5)[0].tolist()
