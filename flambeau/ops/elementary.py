"""Exponentials and logarithms, and functions made of them.

NumPy's float32 kernels are within 2.5 units in the last place for most of these. Where they are not, float32 is
computed in float64 and rounded (:func:`flambeau.ops.numerics.in_double`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.ops import samples
from flambeau.ops.comparison import where
from flambeau.ops.complexes import conj_of
from flambeau.ops.half_gradients import rounded_once
from flambeau.ops.numerics import in_double
from flambeau.ops.record import Sample, by_number, pointwise
from flambeau.ops.refusals import NOT_FLOATING, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- exponentials --------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, x: b.exp(x),
    kernel=np.exp, result="float", grad={"input": lambda g, out: g * conj_of(out)}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def exp(input: Tensor):
    """Element-wise exponential :math:`e^{input}`.

    >>> import flambeau as torch
    >>> torch.exp(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.exp.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.exp2(x),
    kernel=np.exp2, result="float", grad={"input": lambda g, out: g * conj_of(out) * math.log(2)}, inplace=True,
    out=True, aliases=("special.exp2",), samples=samples.unary(),
)  # fmt: skip
def exp2(input: Tensor):
    """Element-wise :math:`2^{input}`.

    >>> import flambeau as torch
    >>> torch.exp2(torch.tensor([0.0, 3.0, -1.0]))
    tensor([1.0000, 8.0000, 0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.exp2.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.expm1(x),
    kernel=np.expm1, result="float", grad={"input": lambda g, out: g * conj_of(out + 1)}, inplace=True, out=True,
    aliases=("special.expm1",), samples=samples.unary(),
)  # fmt: skip
def expm1(input: Tensor):
    """Element-wise :math:`e^{input} - 1`, accurate near 0.

    >>> import flambeau as torch
    >>> torch.expm1(torch.tensor([1e-6])) * 1e6  # exp(1e-6) - 1 would be 0.9537e-6
    tensor([1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.expm1.html
    """
    return (input,), {}


def _grad_of_sigmoid(g, out):
    """In PyTorch's order, and in float16 rounded after each step, as by its kernel for that dtype alone."""
    return g * conj_of(1 - out) * conj_of(out)


@pointwise(
    lower=lambda b, x: b.sigmoid(x),
    kernel=lambda x: 1 / (1 + np.exp(-x)), result="float",
    grad={"input": lambda g, out: _grad_of_sigmoid(g, out) if out.dtype is dtypes.float16 else rounded_once(_grad_of_sigmoid, g, out)},
    inplace=True, out=True, aliases=("special.expit", "nn.functional.sigmoid"), samples=samples.unary(),
)  # fmt: skip
def sigmoid(input: Tensor):
    r"""Element-wise logistic function :math:`\frac{1}{1 + e^{-input}}`.

    >>> import flambeau as torch
    >>> torch.sigmoid(torch.tensor([0.0, 2.0, -100.0]))
    tensor([0.5000, 0.8808, 0.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sigmoid.html
    """
    return (input,), {}


# --- logarithms ----------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, x: b.log(x),
    kernel=in_double(np.log), result="float", grad={"input": lambda g, input: g / conj_of(input)}, inplace=True,
    out=True, samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def log(input: Tensor):
    r"""Element-wise natural logarithm :math:`\ln(input)`; :math:`-\infty` at 0, NaN for negative real numbers.

    >>> import flambeau as torch
    >>> torch.log(torch.tensor([1.0, 0.0, -1.0]))
    tensor([0., -inf, nan])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.log.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.log2(x),
    kernel=np.log2, result="float", grad={"input": lambda g, input: g / conj_of(input * math.log(2))}, inplace=True,
    out=True, samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def log2(input: Tensor):
    r"""Element-wise logarithm :math:`\log_2(input)`.

    >>> import flambeau as torch
    >>> torch.log2(torch.tensor([8.0, 0.5]))
    tensor([ 3., -1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.log2.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.log10(x),
    kernel=in_double(np.log10), result="float", grad={"input": lambda g, input: g / conj_of(input * math.log(10))},
    inplace=True, out=True, samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def log10(input: Tensor):
    r"""Element-wise logarithm :math:`\log_{10}(input)`.

    >>> import flambeau as torch
    >>> torch.log10(torch.tensor([1000.0, 0.1]))
    tensor([ 3., -1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.log10.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.log1p(x),
    kernel=np.log1p, result="float", grad={"input": lambda g, input: g / conj_of(input + 1)}, inplace=True, out=True,
    aliases=("special.log1p",), samples=samples.unary(-0.5, 3.0),
)  # fmt: skip
def log1p(input: Tensor):
    r"""Element-wise :math:`\ln(1 + input)`, accurate near 0.

    >>> import flambeau as torch
    >>> torch.log1p(torch.tensor([1e-6])) * 1e6
    tensor([1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.log1p.html
    """
    return (input,), {}


def _logit(x, eps):
    if eps is not None:
        x = np.clip(x, eps, 1 - eps)
    return in_double(np.log)(x / (1 - x))


def _grad_of_logit(g, input, eps):
    outside = (input < (eps or 0)) | (input > 1 - (eps or 0))
    return where(outside, float("nan") if eps is None else 0, g / (input * (1 - input)).abs())  # a zero's sign does not count


def _lower_logit(b, x, eps):
    x = x if eps is None else b.min(b.max(x, eps), 1 - eps)
    return b.log(b.div(x, b.sub(1, x)))


@pointwise(
    lower=_lower_logit,
    kernel=_logit,
    result="float",
    grad={"input": _grad_of_logit},
    inplace=True,
    out=True,
    aliases=("special.logit",),
    samples=lambda make: [*samples.unary(0.2, 0.8)(make), Sample(make(5, low=0.0, high=1.0), eps=0.15)],
)
def logit(input: Tensor, eps: float | None = None):
    r"""Element-wise :math:`\ln\frac{x}{1 - x}`, the inverse of :func:`sigmoid`; ``eps`` bounds :math:`x` away from 0 and 1.

    >>> import flambeau as torch
    >>> torch.logit(torch.tensor([0.5, 1.0]))
    tensor([0., inf])
    >>> torch.logit(torch.tensor([0.5, 1.0]), eps=0.1)
    tensor([0.0000, 2.1972])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logit.html
    """
    refuse("logit_cpu", input)
    return (input,), {"eps": None if eps is None or eps < 0 else float(eps)}


# --- products and sums with logarithms -----------------------------------------------------------------------


def _xlogy(x, y):
    return np.where((x == 0) & (y == y), 0, x * np.log(y))


def _grad_of_factor(g, input, other):
    return where((input == 0) & (other <= 0), 0, xlogy(g, other))


def _lower_xlogy(log: str):
    def lower(b, x, y):
        return b.select(b.and_(b.eq(x, 0), b.eq(y, y)), 0, b.mul(x, getattr(b, log)(y)))

    return lower


@pointwise(
    overload=by_number(0, 1),
    lower=_lower_xlogy("log"),
    kernel=in_double(_xlogy),
    tensors="input other",
    result="float",
    grad={"input": _grad_of_factor, "other": lambda g, input, other: g * input / other},
    inplace=True,
    out=True,
    aliases=("special.xlogy",),
    samples=lambda make: [*samples.binary(0.5, 2.0)(make), Sample(2.0, make(3, low=0.5, high=2.0))],
)
def xlogy(input: Tensor | Number | complex, other: Tensor | Number | complex):
    r"""Element-wise :math:`input \ln(other)`; 0 where ``input`` is 0, unless ``other`` is NaN.

    >>> import flambeau as torch
    >>> torch.xlogy(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0]))
    tensor([0., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.xlogy.html
    """
    return (input, other), {}


def _xlog1py(x, y):
    return np.where((x == 0) & (y == y), 0, x * np.log1p(y))


@pointwise(
    overload=by_number(0, 1),
    lower=_lower_xlogy("log1p"),
    kernel=in_double(_xlog1py),
    tensors="input other",
    result="float",
    grad={
        "input": lambda g, input, other: where((input == 0) & (other <= -1), 0, xlog1py(g, other)),
        "other": lambda g, input, other: g * input / (other + 1),
    },
    out=True,
    name="special.xlog1py",
    samples=lambda make: [*samples.binary(0.5, 2.0)(make), Sample(2.0, make(3, low=0.5, high=2.0))],
)
def xlog1py(input: Tensor | Number | complex, other: Tensor | Number | complex):
    r"""Element-wise :math:`input \ln(1 + other)`; 0 where ``input`` is 0, unless ``other`` is NaN.

    >>> import flambeau as torch
    >>> torch.special.xlog1py(torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 0.0]))
    tensor([0., 0.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.xlog1py
    """
    return (input, other), {}


@pointwise(
    kernel=in_double(lambda x: np.where(x == 0, 0, np.where(x < 0, -np.inf, -x * np.log(x)))),
    result="float",
    grad={"input": lambda g, input: g * (-1 - log(input))},
    out=True,
    name="special.entr",
    samples=samples.unary(0.5, 2.0),
)
def entr(input: Tensor):
    r"""Element-wise :math:`-x \ln(x)`, the part of an entropy; 0 at 0, :math:`-\infty` for negative numbers.

    >>> import flambeau as torch
    >>> torch.special.entr(torch.tensor([0.0, 0.5, -1.0]))
    tensor([0.0000, 0.3466,   -inf])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.entr
    """
    return (input,), {}


def _log_of_sum(power: Callable, logarithm: Callable, real: Callable) -> Callable:
    """``logarithm(power(x) + power(y))`` without overflow on the way."""

    def kernel(x, y):
        if x.dtype.kind != "c":
            return real(x, y)
        larger, smaller = np.where(x.real >= y.real, x, y), np.where(x.real >= y.real, y, x)
        total = larger + logarithm(1 + power(smaller - larger))
        return np.where(np.isinf(larger.real) & (larger.real == smaller.real), larger, total)

    return kernel


def _lower_logaddexp(b, x, y):
    apart = b.add(b.max(x, y), b.log1p(b.exp(b.neg(b.abs(b.sub(x, y))))))
    return b.select(b.eq(x, y), b.add(x, np.log(2)), apart)


@pointwise(
    lower=_lower_logaddexp,
    kernel=_log_of_sum(np.exp, np.log, np.logaddexp),
    tensors="input other",
    only="input other",
    grad={
        "input": lambda g, input, other: g / conj_of(1 + exp(other - input)),
        "other": lambda g, input, other: g / conj_of(1 + exp(input - other)),
    },
    out=True,
    samples=samples.binary(number=None),
)
def logaddexp(input: Tensor, other: Tensor):
    r"""Element-wise :math:`\ln(e^{input} + e^{other})`, without overflow on the way.

    >>> import flambeau as torch
    >>> torch.logaddexp(torch.tensor([1000.0]), torch.tensor([1000.0]))
    tensor([1000.6932])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logaddexp.html
    """
    refuse("logaddexp_cpu", input, other, kinds=NOT_FLOATING)
    return (input, other), {}


@pointwise(
    kernel=_log_of_sum(np.exp2, np.log2, np.logaddexp2),
    tensors="input other",
    only="input other",
    grad={
        "input": lambda g, input, other: g / conj_of(1 + exp2(other - input)),
        "other": lambda g, input, other: g / conj_of(1 + exp2(input - other)),
    },
    out=True,
    samples=samples.binary(number=None),
)
def logaddexp2(input: Tensor, other: Tensor):
    r"""Element-wise :math:`\log_2(2^{input} + 2^{other})`, without overflow on the way.

    >>> import flambeau as torch
    >>> torch.logaddexp2(torch.tensor([1000.0]), torch.tensor([1000.0]))
    tensor([1001.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logaddexp2.html
    """
    refuse("logaddexp2_cpu", input, other, kinds=NOT_FLOATING)
    return (input, other), {}
