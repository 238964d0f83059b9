"""Elementwise functions against PyTorch: special numbers, signs of zeros, dtypes, and ordinary values."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

SPECIAL = [
    0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2, -2, 0.5, -0.5, 1.5, 2.5, -3.5, 1e-40, -1e-40, 1e-30, 1e30, -1e30, 20.5,
    -20.5, -104, 3.4e38, 6, -6, 3, -3,
]  # fmt: skip

UNARY = """
    abs neg sign sgn ceil floor round trunc frac sqrt rsqrt reciprocal square exp exp2 expm1 log log2 log10 log1p sin cos
    tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid logit erf erfc erfinv sinc deg2rad rad2deg nan_to_num relu
    angle isnan isinf isfinite signbit isposinf isneginf logical_not positive special.entr nn.functional.relu6
    nn.functional.leaky_relu nn.functional.elu nn.functional.selu nn.functional.celu nn.functional.silu nn.functional.mish
    nn.functional.softplus nn.functional.softsign nn.functional.hardshrink nn.functional.hardtanh
    nn.functional.hardswish nn.functional.hardsigmoid nn.functional.logsigmoid
""".split()  # fmt: skip
BINARY = """
    add sub mul div floor_divide remainder fmod pow maximum minimum fmax fmin atan2 hypot copysign nextafter heaviside eq
    ne lt le gt ge logical_and logical_or logical_xor xlogy special.xlog1py
""".split()  # fmt: skip
WITH_NUMBERS = {
    "pow": (2, 3, 0.5, -0.5, -1, -2, 0, 1, 2.7),
    "remainder": (2.5, -3),
    "fmod": (2.5, -3),
    "floor_divide": (2.5, -3),
    "clamp": (-1, 0),
    "add": (2, -0.3),
    "div": (3, 0.1),
}


def get(library, name):
    for part in name.split("."):
        library = getattr(library, part)
    return library


def values(dtype, seed=0):
    rng = np.random.default_rng(seed)
    ordinary = [
        rng.normal(size=300) * 3,
        rng.uniform(-1, 1, 200),
        np.exp(rng.uniform(-8, 8, 200)),
        rng.integers(-5, 6, 100),
    ]
    return np.concatenate([SPECIAL, *ordinary]).astype(dtype)


def compare(ours, theirs, name, dtype):
    ours, theirs = ours.numpy(), theirs.numpy()
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if ours.dtype == bool:
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        return
    smallest = np.finfo(dtype).smallest_normal
    np.testing.assert_allclose(ours, theirs, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=smallest, err_msg=name)
    zeros = (ours == 0) & (theirs == 0)
    np.testing.assert_array_equal(np.signbit(ours)[zeros], np.signbit(theirs)[zeros], err_msg=f"{name}: signs of zeros")


DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    x = values(dtype)
    if name == "sinc":
        x = x[~(np.abs(x) > 100)]  # further out only the rounding of pi * x decides
    compare(get(flambeau, name)(flambeau.tensor(x)), get(torch, name)(torch.tensor(x)), name, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtype):
    x, y = values(dtype), np.random.default_rng(2).permutation(values(dtype, 1))
    if name in ("remainder", "fmod"):
        y[np.abs(y) < 1e-38] = 0  # PyTorch's own two kernels differ for subnormal divisors: NaN, or the remainder
    expected = get(torch, name)(torch.tensor(x), torch.tensor(y))
    compare(get(flambeau, name)(flambeau.tensor(x), flambeau.tensor(y)), expected, name, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "number"), [(n, v) for n, vs in WITH_NUMBERS.items() for v in vs])
def test_with_numbers(name, number, dtype):
    x = values(dtype)
    compare(get(flambeau, name)(flambeau.tensor(x), number), get(torch, name)(torch.tensor(x), number), name, dtype)


OPERANDS = [True, 3, 2.5, 1 + 2j]
KINDS = ["bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "eq", "lt", "bitwise_and", "remainder", "maximum"])
@pytest.mark.parametrize("left", KINDS)
def test_dtypes_and_refusals(name, left):
    """The result's dtype, and the class of the error where there is none, for tensors, 0-dim tensors and numbers."""

    def attempt(library, right):
        x = library.ones(2).to(getattr(library, left))
        if isinstance(right, str):
            kind, _, zero = right.partition(":")
            right = (library.ones(()) if zero else library.ones(2)).to(getattr(library, kind))
        try:
            return str(getattr(library, name)(x, right).dtype)
        except (RuntimeError, TypeError) as error:
            return type(error)

    for right in [*OPERANDS, *KINDS, *(k + ":0" for k in KINDS)]:
        if name == "maximum" and not isinstance(right, str):
            continue
        assert attempt(flambeau, right) == attempt(torch, right), right


CURVES = "elu selu celu silu mish gelu softplus hardswish hardsigmoid sigmoid tanh tanhshrink leaky_relu softsign relu6".split()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CURVES)
def test_gradients_in_half_precision_are_rounded_as_often(name, dtype):
    """Nearly all have PyTorch's bits. Where each op of a rule rounded, a quarter of them would not."""
    numbers = (torch.randn(2000, generator=torch.Generator().manual_seed(0)) * 3).tolist()
    gradients = []
    for t in (torch, flambeau):
        x = t.tensor(numbers).to(getattr(t, dtype)).requires_grad_()
        getattr(t.nn.functional, name)(x).backward(t.tensor(numbers[::-1]).to(x.dtype))
        gradients.append(x.grad.float().numpy())
    wanted, found = gradients
    assert (wanted == found).mean() > 0.95
    assert found == pytest.approx(wanted, rel=2e-3 if dtype == "float16" else 1e-2, abs=2e-7)
