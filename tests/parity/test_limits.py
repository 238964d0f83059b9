"""What PyTorch gives at the limits of numbers: values, and gradients, at zeros of both signs, infinities, NaN and huge numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

LIMITS = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-310, -1e-310, 1e300, -1e300, 0.5, 6.0, 3.0, -3.0]
UNARY = """
    abs neg sign ceil floor round trunc frac sqrt rsqrt reciprocal square exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos
    atan sinh cosh tanh asinh acosh atanh sigmoid logit erf erfc erfinv sinc deg2rad rad2deg nan_to_num relu angle positive digamma
    lgamma i0 special.entr special.i0e special.i1 special.i1e special.ndtr special.ndtri special.log_ndtr special.erfcx
    nn.functional.relu6 nn.functional.leaky_relu nn.functional.elu nn.functional.selu nn.functional.celu nn.functional.silu
    nn.functional.mish nn.functional.softplus nn.functional.softsign nn.functional.hardshrink nn.functional.softshrink
    nn.functional.hardtanh nn.functional.hardswish nn.functional.hardsigmoid nn.functional.logsigmoid nn.functional.gelu
    nn.functional.tanhshrink
""".split()  # fmt: skip
BINARY = """
    add sub mul div pow atan2 hypot copysign maximum minimum fmax fmin logaddexp logaddexp2 xlogy special.xlog1py fmod remainder
""".split()
REDUCTIONS = (
    "sum mean nansum nanmean amax amin logsumexp std var norm max min median nanmedian cumsum cummax softmax log_softmax".split()
)
OF_NUMBERS = {
    "clamp": lambda l, x: x.clamp(-1.0, 1.0), "clamp_min": lambda l, x: x.clamp(min=0.0), "clamp_max": lambda l, x: x.clamp(max=0.0),
    "gelu_tanh": lambda l, x: l.nn.functional.gelu(x, approximate="tanh"), "logit_eps": lambda l, x: l.logit(x, 0.1),
    "threshold": lambda l, x: l.nn.functional.threshold(x, 0.5, 2.0), "pow2": lambda l, x: x**2, "pow0": lambda l, x: x**0,
    "pow3": lambda l, x: x**3, "pow_half": lambda l, x: x**0.5, "pow_-1": lambda l, x: x**-1, "rpow": lambda l, x: 2.0**x,
    "rpow0": lambda l, x: 0.0**x, "xlogy_number": lambda l, x: l.xlogy(x, 2.0), "xlogy_of": lambda l, x: l.xlogy(0.0, x),
    "polygamma": lambda l, x: l.polygamma(1, x[5:6].float()) + x * 0, "masked_fill": lambda l, x: x.masked_fill(x > 0, 1.0), "where": lambda l, x: l.where(x > 0, x, 0.0),
    "nan_to_num": lambda l, x: l.nan_to_num(x, 1.0, 2.0, 3.0),
    "norm0": lambda l, x: x[:4].norm(0) + x[0] * 0, "norm1": lambda l, x: x[:2].norm(1), "norm_inf": lambda l, x: x[5:7].norm(np.inf),
    "norm2_0": lambda l, x: x[:2].norm(2), "vector_norm0": lambda l, x: l.linalg.vector_norm(x, 0) + x, "renorm": lambda l, x: x[5:9].reshape(2, 2).renorm(2, 0, 1.0),
    "dist": lambda l, x: l.dist(x[:2], x[:2] * 1), "cdist": lambda l, x: l.cdist(x[:2, None], x[:2, None]),
    "normalize": lambda l, x: l.nn.functional.normalize(x[:2], dim=0), "cosine": lambda l, x: l.cosine_similarity(x[:2], x[5:7], dim=0),
    "log_of_sum": lambda l, x: (x[:2].exp().sum()).log(), "lerp": lambda l, x: l.lerp(x, x * 2, 0.5), "addcdiv": lambda l, x: l.addcdiv(x, x, x),
}  # fmt: skip


def get(library, name):
    for part in name.split("."):
        library = getattr(library, part)
    return library


def _found(library, function, *arrays):
    """Values and gradients, or the class of the error."""
    inputs = [library.tensor(a, requires_grad=True) for a in arrays]
    try:
        result = function(library, *inputs)
        result = result[0] if isinstance(result, tuple) else result
        values = result.detach().numpy()
        if not result.requires_grad:
            return [values]
        return [values, *[g.numpy() for g in library.autograd.grad(result.sum(), inputs)]]
    except Exception as error:
        return type(error)


def _agree(function, *arrays):
    ours, theirs = _found(flambeau, function, *arrays), _found(torch, function, *arrays)
    if isinstance(theirs, type) or isinstance(ours, type):
        assert ours == theirs
        return
    assert len(ours) == len(theirs)
    for name, a, b in zip(["values", "first gradient", "second gradient"], ours, theirs):
        smallest = 10 * np.finfo(b.dtype).eps  # of what cancels
        np.testing.assert_allclose(a, b, rtol=1e-5 if b.dtype == np.float32 else 1e-9, atol=smallest, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    if dtype is np.float64 and name.endswith(("hardtanh", "relu6", "hardshrink", "softshrink", "hardswish", "hardsigmoid")):
        pytest.skip("PyTorch's vectors, which so many numbers fill in this dtype, let NaN through otherwise than its loops")
    with np.errstate(over="ignore"):
        _agree(lambda library, x: get(library, name)(x), np.array(LIMITS).astype(dtype))


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    numbers = [x for x in LIMITS if name not in ("fmod", "remainder") or abs(x) != 1e-310]  # PyTorch's two kernels differ there
    x, y = np.meshgrid(numbers, numbers)
    _agree(lambda library, x, y: get(library, name)(x, y), x.ravel(), y.ravel())


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    along = name in (
        "logsumexp",
        "cumsum",
        "cumprod",
        "cummax",
        "softmax",
        "log_softmax",
        "std",
        "var",
        "amax",
        "amin",
        "nansum",
        "nanmean",
    )
    for values in (
        [0.0, -0.0], [0.0, 0.0, 2.0], [np.inf, 1.0], [-np.inf, 1.0], [np.nan, 1.0], [np.inf, np.inf], [-np.inf, -np.inf],
        [np.inf, -np.inf], [np.nan, np.nan], [1.0], [0.0], [np.inf], [np.nan, np.inf, 1.0], [1e300, 1e300], [1e-310, 0.0], [2.0, 2.0, 1.0],
    ):  # fmt: skip
        _agree(lambda library, x: get(library, name)(x, 0) if along else get(library, name)(x), np.array(values))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_with_numbers(name):
    _agree(OF_NUMBERS[name], np.array(LIMITS))


THREE = list(itertools.product([2.0, 0.0, -1.5, float("nan"), float("inf"), -float("inf")], repeat=3))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_products_of_what_is_not_finite(dtype):
    """Gradients among zeros, NaN and infinities: of the products of rows, and of all elements."""
    for rows in (THREE, [row for row in THREE if 0.0 not in row]):
        grads = []
        for t in (torch, flambeau):
            x = t.tensor(rows, dtype=getattr(t, dtype), requires_grad=True)
            grads.append(t.autograd.grad(x.prod(1), x, t.ones(len(rows), dtype=x.dtype))[0].double().tolist())
        np.testing.assert_allclose(grads[1], grads[0], rtol=2e-2)
    for row in THREE:
        grads = []
        for t in (torch, flambeau):
            x = t.tensor([row], dtype=getattr(t, dtype), requires_grad=True)
            grads.append(t.autograd.grad(x.prod(), x)[0].double().tolist())
        np.testing.assert_allclose(grads[1], grads[0], rtol=2e-2, err_msg=str(row))


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("p", [1, 2, 3.0, float("inf")])
def test_renorm_of_what_is_not_finite(p, dim):
    seen = []
    for t in (torch, flambeau):
        x = t.tensor([[2.0, 0.5, float("nan")], [0.1, 0.2, 0.3], [3.0, 4.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
        y = x.renorm(p, dim, 1.0)
        (g,) = t.autograd.grad(y, x, t.arange(1.0, 13.0).view(4, 3))
        seen.append([v.detach().numpy() for v in (y, g)])
    for got, wanted in zip(seen[1], seen[0], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
