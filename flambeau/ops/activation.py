"""Smooth activation functions. Those made of pieces of lines are in :mod:`flambeau.ops.rectifiers`.

The functions with a leading underscore are the elementwise records behind ``nn.functional``'s, which take ``inplace``.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core.size import wrap_dim
from flambeau.ops import layouts, samples
from flambeau.ops.comparison import where
from flambeau.ops.complexes import conj_of
from flambeau.ops.elementary import exp, sigmoid
from flambeau.ops.error_functions import erf_kernel
from flambeau.ops.half_gradients import rounded_once
from flambeau.ops.numerics import select
from flambeau.ops.record import ErrorSample, Sample, composite, pointwise
from flambeau.ops.rectifiers import activate, in_place_name, with_inplace
from flambeau.ops.refusals import ALL_BUT_FLOATING, NOT_FLOATING, refuse
from flambeau.ops.trigonometric import tanh

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- exponential linear units --------------------------------------------------------------------------------


def _elu_kernel(x, alpha, scale, rate):
    return select(x <= 0, np.expm1(x * rate) * (alpha * scale), x * scale)


def _lower_elu(b, x, alpha, scale, rate):
    below = b.mul(b.expm1(b.mul(x, rate)), alpha * scale)  # of min(x, 0), -0.0 could become 0.0
    return b.select(b.le(x, 0), below, b.mul(x, scale))


def _grad_of_elu(g, input, alpha, scale, rate):
    # exp of negative values only: the other branch would overflow, and infinity times a gradient of 0 is NaN.
    # At 0 it is differentiated again as if it were constant, as PyTorch's.
    below = input.masked_fill(input >= 0, 0)
    return where(input <= 0, g * (alpha * scale * rate * exp(below * rate)), g * scale)


@pointwise(
    lower=_lower_elu,
    kernel=_elu_kernel,
    grad={"input": lambda g, input, alpha, scale, rate: rounded_once(_grad_of_elu, g, input, alpha, scale, rate)},
    method=False,
    backward_name="EluBackward0",
)
def _elu(input: Tensor, alpha, scale: float = 1.0, rate: float = 1.0):
    r""":math:`scale \cdot x` for positive :math:`x`, else :math:`scale \cdot alpha (e^{rate \cdot x} - 1)`."""
    refuse("elu_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"alpha": float(alpha), "scale": float(scale), "rate": float(rate)}


@composite(name="nn.functional.elu", samples=with_inplace(alpha=1.5))
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`x` where positive, else :math:`alpha (e^x - 1)`.

    Clevert, Unterthiner, Hochreiter (2016), "Fast and accurate deep network learning by exponential linear units".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.elu(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.elu.html
    """
    return activate(_elu, input, inplace, alpha)


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@composite(method=False, inplace=True)
def selu(input: Tensor):
    """Element-wise self-normalising unit; see :func:`torch.nn.functional.selu`.

    >>> import flambeau as torch
    >>> torch.selu(torch.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])

    Source: PyTorch's operator ``aten::selu``.
    """
    return _elu(input, _SELU_ALPHA, _SELU_SCALE)


@composite(name="nn.functional.selu", samples=with_inplace())
def functional_selu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`1.0507 \cdot \mathrm{elu}(x, 1.6733)`, which keeps mean 0 and variance 1.

    Klambauer et al. (2017), "Self-normalizing neural networks".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.selu(torch.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.selu.html
    """
    return activate(selu, input, inplace)


@composite(method=False, inplace=True)
def celu(input: Tensor, alpha: Number | complex = 1.0):
    """Element-wise continuously differentiable unit; see :func:`torch.nn.functional.celu`.

    Raises ``RuntimeError`` for ``alpha=0``.

    >>> import flambeau as torch
    >>> torch.celu(torch.tensor([-1.0, 2.0]), alpha=2.0)
    tensor([-0.7869,  2.0000])

    Source: PyTorch's operator ``aten::celu``.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, alpha, 1.0, 1.0 / alpha)


@composite(name="nn.functional.celu", samples=with_inplace(alpha=1.5))
def functional_celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`x` where positive, else :math:`alpha (e^{x / alpha} - 1)`.

    Barron (2017), "Continuously differentiable exponential linear units".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.celu(torch.tensor([-1.0, 2.0]), alpha=2.0)
    tensor([-0.7869,  2.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.celu.html
    """
    return activate(celu, input, inplace, alpha)


# --- smooth ones ---------------------------------------------------------------------------------------------
# Each has its slope as a record of its own: one pass over memory forward, one backward.


def _silu_slope_kernel(x):
    s = 1 / (1 + np.exp(-x))
    return s * (1 + x * (1 - s))


def _lower_silu_slope(b, x):
    s = b.sigmoid(x)
    return b.mul(s, b.add(1, b.mul(x, b.sub(1, s))))


def _grad_of_silu_slope(g, input):
    s = sigmoid(input)
    return g * (s * (1 - s) * (2 + input * (1 - 2 * s)))


@pointwise(lower=_lower_silu_slope, kernel=_silu_slope_kernel, grad={"input": _grad_of_silu_slope}, method=False)
def _silu_slope(input: Tensor):
    return (input,), {}


def _grad_of_silu(g, input):
    return g * conj_of(_silu_slope(input))


@pointwise(
    lower=lambda b, x: b.mul(x, b.sigmoid(x)),
    kernel=lambda x: x / (1 + np.exp(-x)), grad={"input": lambda g, input: rounded_once(_grad_of_silu, g, input)}, method=False,
    backward_name="SiluBackward0",
)  # fmt: skip
def _silu(input: Tensor):
    refuse("silu_cpu", input, kinds=NOT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.silu", samples=with_inplace())
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`x \cdot \sigma(x)`, also called swish.

    Elfwing, Uchibe, Doya (2018), "Sigmoid-weighted linear units for neural network function approximation".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.silu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.silu.html
    """
    return activate(_silu, input, inplace)


def _softplus_kernel(x, beta, threshold):
    z = x * beta
    return select(z > threshold, x, np.log1p(np.exp(np.minimum(z, threshold))) / beta)


def _grad_of_softplus(g, input, beta, threshold):
    z = input * beta
    return where(z > threshold, g, g * sigmoid(z))


def _lower_softplus(b, x, beta, threshold):
    z = b.mul(x, beta)
    return b.select(b.gt(z, threshold), x, b.div(b.log1p(b.exp(b.min(z, threshold))), beta))


@pointwise(
    lower=_lower_softplus,
    kernel=_softplus_kernel,
    grad={"input": lambda g, input, beta, threshold: rounded_once(_grad_of_softplus, g, input, beta, threshold)},
    name="nn.functional.softplus",
    out="same",
    samples=lambda make: [*samples.unary(-2, 2)(make), Sample(make(3), beta=2.0), Sample(make(3), threshold=-5)],
)
def softplus(input: Tensor, beta: Number | complex = 1.0, threshold: Number | complex = 20.0):
    r"""Element-wise :math:`\frac{1}{beta} \ln(1 + e^{beta \cdot x})`; :math:`x` itself where :math:`beta \cdot x > threshold`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.softplus(torch.tensor([-1.0, 0.0, 30.0]))
    tensor([ 0.3133,  0.6931, 30.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softplus.html
    """
    refuse("softplus_cpu", input, kinds=ALL_BUT_FLOATING)
    numbers: Any = beta, threshold
    return (input,), {"beta": float(numbers[0]), "threshold": float(numbers[1])}


def _mish_slope_kernel(x):
    t, s = np.tanh(np.logaddexp(0, x)), 1 / (1 + np.exp(-x))
    return t + x * s * (1 - t * t)


def _grad_of_mish_slope(g, input):
    t, s = tanh(softplus(input)), sigmoid(input)
    return g * ((1 - t * t) * s * (2 + input * (1 - s - 2 * t * s)))


def _lower_mish_slope(b, x):
    t = b.tanh(b.add(b.max(x, 0), b.log1p(b.exp(b.neg(b.abs(x))))))
    s = b.div(1, b.add(1, b.exp(b.neg(x))))
    return b.add(t, b.mul(b.mul(x, s), b.sub(1, b.mul(t, t))))


@pointwise(lower=_lower_mish_slope, kernel=_mish_slope_kernel, grad={"input": _grad_of_mish_slope}, method=False)
def _mish_slope(input: Tensor):
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.mul(x, b.tanh(b.log1p(b.exp(b.min(x, 20))))),
    kernel=lambda x: x * np.tanh(np.log1p(np.exp(np.minimum(x, 20)))),
    grad={"input": lambda g, input: rounded_once(lambda g, input: g * _mish_slope(input), g, input)},
    method=False,
    backward_name="MishBackward0",
)
def _mish(input: Tensor):
    refuse("mish_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.mish", samples=with_inplace())
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`x \tanh(\ln(1 + e^x))`. Misra (2019), "Mish: A self regularized non-monotonic activation function".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.mish(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mish.html
    """
    return activate(_mish, input, inplace)


_ROOT_HALF = sqrt(0.5)
_DENSITY = 1 / sqrt(2 * pi)
_TANH_SCALE = sqrt(2 / pi)
_TANH_CUBE = 0.044715


def _gelu_kernel(x, tanh):
    inner = np.tanh(_TANH_SCALE * (x + _TANH_CUBE * x * x * x)) if tanh else erf_kernel(x * _ROOT_HALF)
    inner += 1
    inner *= 0.5
    inner *= x
    if not tanh and inner.dtype == np.float32:
        inner[np.isposinf(x)] = np.nan  # as PyTorch's in this precision
    return inner


def _gelu_slope_kernel(x, tanh):
    if not tanh:
        return 0.5 * (1 + erf_kernel(x * _ROOT_HALF)) + x * np.exp(x * x * -0.5) * _DENSITY
    square = x * x
    t = np.tanh(_TANH_SCALE * x * (1 + _TANH_CUBE * square))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _TANH_SCALE * (1 + 3 * _TANH_CUBE * square)


def _lower_gelu(b, x, tanh):
    if not tanh:
        value = b.mul(b.normal_cdf(x), x)
        return value if b.result.itemsize == 8 else b.select(b.eq(x, np.inf), np.nan, value)
    inner = b.mul(_TANH_SCALE, b.add(x, b.mul(b.mul(b.mul(x, _TANH_CUBE), x), x)))
    return b.mul(b.mul(b.add(b.tanh(inner), 1), 0.5), x)


def _lower_gelu_slope(b, x, tanh):
    square = b.mul(x, x)
    if not tanh:
        return b.add(b.normal_cdf(x), b.mul(b.mul(x, b.exp(b.mul(square, -0.5))), _DENSITY))
    t = b.tanh(b.mul(b.mul(_TANH_SCALE, x), b.add(1, b.mul(_TANH_CUBE, square))))
    rate = b.mul(_TANH_SCALE, b.add(1, b.mul(3 * _TANH_CUBE, square)))
    bend = b.mul(b.mul(b.mul(0.5, x), b.sub(1, b.mul(t, t))), rate)
    return b.add(b.mul(0.5, b.add(1, t)), bend)


def _grad_of_gelu_slope(g, input, tanh):
    square = input * input
    if not tanh:
        return g * (exp(square * -0.5) * (2 - square) * _DENSITY)
    t = _tanh(_TANH_SCALE * input * (1 + _TANH_CUBE * square))
    rate = _TANH_SCALE * (1 + 3 * _TANH_CUBE * square)
    bend = 6 * _TANH_SCALE * _TANH_CUBE * input
    return g * ((1 - t * t) * (rate + 0.5 * input * (bend - 2 * t * rate * rate)))


_tanh = tanh


@pointwise(lower=_lower_gelu_slope, kernel=_gelu_slope_kernel, grad={"input": _grad_of_gelu_slope}, method=False)
def _gelu_slope(input: Tensor, tanh):
    return (input,), {"tanh": tanh}


@pointwise(
    lower=_lower_gelu,
    kernel=_gelu_kernel,
    grad={"input": lambda g, input, tanh: rounded_once(lambda g, input: g * _gelu_slope(input, tanh), g, input)},
    name="nn.functional.gelu",
    out="same",
    samples=lambda make: [*samples.unary()(make), *samples.unary(approximate="tanh")(make)],
    errors=lambda make: [ErrorSample(RuntimeError, "approximate argument must be", make(2), approximate="fast")],
)
def gelu(input: Tensor, approximate: str = "none"):
    r"""Element-wise :math:`x \Phi(x)`, :math:`\Phi` the normal distribution function.

    ``approximate="tanh"`` computes :math:`\frac{x}{2}(1 + \tanh(\sqrt{2 / \pi}(x + 0.044715 x^3)))`.

    Hendrycks, Gimpel (2016), "Gaussian error linear units".

    Raises ``RuntimeError`` for another ``approximate`` than ``"none"`` and ``"tanh"``.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gelu.html
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, not {approximate!r}")
    refuse("GeluKernelImpl", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"tanh": approximate == "tanh"}


@pointwise(
    layout=layouts.row_major,
    lower=lambda b, x: b.sub(b.min(x, 0), b.log1p(b.exp(b.neg(b.abs(x))))),
    kernel=lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
    grad={"input": lambda g, input: rounded_once(lambda g, input: g * sigmoid(-input), g, input)},
    name="nn.functional.logsigmoid",
    out="same",
    backward_name="LogSigmoidBackward0",
    samples=samples.unary(),
)
def logsigmoid(input: Tensor):
    r"""Element-wise :math:`\ln \frac{1}{1 + e^{-x}}`, without overflow on the way.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.logsigmoid(torch.tensor([0.0, -1000.0]))
    tensor([-6.9315e-01, -1.0000e+03])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.logsigmoid.html
    """
    refuse("log_sigmoid_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.softsign", samples=samples.unary())
def softsign(input: Tensor) -> Tensor:
    r"""Element-wise :math:`\frac{x}{1 + |x|}`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.softsign(torch.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softsign.html
    """
    return input / (input.abs() + 1)


@composite(
    name="nn.functional.glu",
    out=True,
    samples=lambda make: [Sample(make(3, 4)), Sample(make(4, 3), 0), Sample(make(2, 2, 2), dim=1)],
    errors=lambda make: [ErrorSample(RuntimeError, "Halving dimension must be even", make(3))],
)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    r"""Gated linear unit: :math:`a \cdot \sigma(b)`, where :math:`a` and :math:`b` are the halves of ``input`` along ``dim``.

    Dauphin et al. (2017), "Language modeling with gated convolutional networks".

    Raises ``RuntimeError`` where ``dim`` has an odd size.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.glu(torch.tensor([2.0, 3.0, 0.0, 100.0]))
    tensor([1., 3.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.glu.html
    """
    if not input._shape:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    dim = wrap_dim(dim, len(input._shape))
    half, odd = divmod(input._shape[dim], 2)
    if odd:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {input._shape[dim]}")
    return input.narrow(dim, 0, half) * sigmoid(input.narrow(dim, half, half))


in_place_name("elu", lambda input, alpha=1.0: _elu(input, alpha))
in_place_name("selu", selu)
in_place_name("celu", celu)
