"""Python numbers beside tensors: what a call gives follows from its own arguments, never from the calls before it.

Calls that repeat follow recipes (flambeau/tensor/recipes.py), which leave numbers open. So each op that takes numbers is called
with every number of a list after every other one, and compared with what the same call gives where nothing is remembered.
"""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config, dtypes, scalars
from flambeau.ops import registry
from flambeau.tensor import recipes

NUMBERS = [
    0, 1, -1, 20, -20, 300, 2**31, 2**63, -(2**63) - 1, 0.0, -0.0, 0.5, -1.5, 1e10, 1e300, float("inf"), float("nan"),
    True, False, 1 + 2j, np.float64(0.1), np.int64(-3), np.bool_(True),
]  # fmt: skip
DTYPES = [torch.bool, torch.uint8, torch.int32, torch.float16, torch.float32, torch.complex64]


def _pointwise():
    """A call for each operand of a pointwise op that may be a number."""
    for name, op in sorted(registry.items()):
        if op.form == "pointwise" and op.name == name and len(op.tensors) > 1 and "polynomial" not in name:
            names = op.check.__code__.co_varnames
            positional = op.check.__code__.co_argcount
            for place, tensor in enumerate(op.tensors):

                def call(x, n, op=op, place=place, positional=positional):
                    given = [n if i == place else x for i in range(max(2, min(place + 1, positional)))]
                    if place >= positional:
                        return op.function(*given, **{op.tensors[place]: n})
                    return op.function(*given)

                if tensor in names:
                    yield f"{name}-{tensor}", call


def _mask(x):
    return torch.tensor([True, False, True])


CALLS = dict(_pointwise()) | {
    "radd": lambda x, n: n + x,
    "rsub": lambda x, n: n - x,
    "rpow": lambda x, n: n**x,
    "iadd": lambda x, n: x.clone().add_(n),
    "imul": lambda x, n: x.clone().mul_(n),
    "div_floor": lambda x, n: torch.div(x, n, rounding_mode="floor"),
    "div_trunc": lambda x, n: torch.div(x, n, rounding_mode="trunc"),
    "clamp": lambda x, n: torch.clamp(x, n, 1),
    "masked_fill": lambda x, n: x.masked_fill(_mask(x), n),
    "where": lambda x, n: torch.where(_mask(x), x, n),
    "where-input": lambda x, n: torch.where(_mask(x), n, x),
    "fill": torch.fill,
    "index_fill": lambda x, n: x.index_fill(0, torch.tensor([0, 2]), n),
    "scatter": lambda x, n: x.scatter(0, torch.tensor([0, 2]), n),
    "pad": lambda x, n: torch.constant_pad_nd(x, (1, 0), n),
    "threshold": lambda x, n: torch.threshold(x, n, 0),
    "threshold-value": lambda x, n: torch.threshold(x, 0, n),
    "addmv": lambda x, n: torch.addmv(x, torch.ones(3, 3, dtype=x.dtype), x, beta=n),
    "addmm": lambda x, n: torch.addmm(x, x.reshape(1, 3), torch.ones(3, 3, dtype=x.dtype), alpha=n),
    "isin": torch.isin,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "setitem": lambda x, n: _set(x.clone(), n),
}


def _set(x, n):
    x[1:] = n
    return x


def outcome(call, x, n):
    """The result as plain data, or the class of the error."""
    try:
        result = call(x, n)
        if isinstance(result, tuple):
            result = result[0]
        return str(result.dtype), repr(result.tolist())
    except Exception as error:
        return type(error), str(error)


def _grad(call, x, n):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(call(x, n).sum(), x)[0]


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    monkeypatch.setattr(config, "compiled", False)
    yield
    recipes.forget()


@pytest.mark.parametrize("name", CALLS)
def test_results_do_not_depend_on_earlier_calls(name):
    call = CALLS[name]
    for dtype in DTYPES:
        x = torch.tensor([0, 1, 3]).to(dtype)
        fresh = []
        for n in NUMBERS:
            recipes.forget()
            fresh.append(outcome(call, x, n))
        for first in NUMBERS[::3]:
            recipes.forget()
            outcome(call, x, first)
            for n, expected in zip(NUMBERS, fresh, strict=True):
                assert outcome(call, x, n) == expected, (dtype, first, n)


@pytest.mark.parametrize("name", CALLS)
def test_gradients_do_not_depend_on_earlier_calls(name):
    call, x = CALLS[name], torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    numbers = [0.0, 0, 1, -2, 0.5, 2.5, float("inf")]
    fresh = []
    for n in numbers:
        recipes.forget()
        fresh.append(outcome(lambda x, n: _grad(call, x, n), x, n))
    for n, expected in [*zip(numbers, fresh, strict=True)] * 3 + [*zip(numbers, fresh, strict=True)][::-1]:
        assert outcome(lambda x, n: _grad(call, x, n), x, n) == expected, n


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32], ids=str)
def test_compiled_kernels_take_the_numbers_of_each_call(dtype, monkeypatch):
    monkeypatch.setattr(config, "compiled", True)
    x = torch.tensor([0, 1, 3]).to(dtype)
    for call in (
        torch.add,
        torch.mul,
        torch.lt,
        torch.eq,
        lambda x, n: torch.clamp(x, 0, n),
        lambda x, n: torch.where(x > 1, x, n),
    ):
        for n in (2, -20, 300, 2**31, -1, 2**40 + 3) if dtype.is_floating_point else (2, -20, 300, -1):
            expected = None
            for _ in range(4):  # interpreted, then compiled
                found = outcome(call, x + 1, n)
                assert expected is None or found == expected
                expected = found


def test_what_fits():
    assert scalars.fitting(-1, torch.uint8) == 255
    assert scalars.fitting(2.9, torch.int8) == 2
    assert scalars.fitting(float("inf"), torch.float16) == float("inf")
    assert scalars.wrapped(300, torch.uint8) == 44
    assert scalars.wrapped(np.float64(0.5), torch.float32).__class__ is float
    for n, dtype in (
        (256, torch.uint8),
        (-1.5, torch.uint8),
        (float("nan"), torch.int64),
        (1e39, torch.float32),
        (1j, torch.float64),
    ):
        with pytest.raises(RuntimeError, match="value cannot be converted to type"):
            scalars.fitting(n, dtype)
    with pytest.raises(OverflowError, match="int too big to convert"):
        torch.ones(1) + 2**64
    assert scalars.open_range(int, dtypes.uint8, False) == (0, 255)
    assert scalars.open_range(float, dtypes.float32, False) == (-float("inf"), float("inf"))


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_divisors_that_wrap_around_to_zero(name):
    """What counts is the divisor as the kernel takes it, whatever was remembered of calls with others."""
    for divisor in (3, 256, 512, torch.tensor(256), torch.tensor(7)):
        for _ in range(4):
            x = torch.tensor([1, 200], dtype=torch.uint8)
            if int(divisor) % 256:
                getattr(torch, name)(x, divisor).tolist()
            else:
                with pytest.raises(RuntimeError, match="ZeroDivisionError"):
                    getattr(torch, name)(x, divisor).tolist()


@pytest.mark.parametrize("call", [lambda x: 10 // x, lambda x: 10 % x, lambda x: x // x, lambda x: x % 0])
def test_integers_divided_by_zero_are_refused_at_the_call(call):
    for _ in range(4):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            call(torch.arange(3))
