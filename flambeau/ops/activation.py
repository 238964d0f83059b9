"""Activation functions of neural networks: the piecewise ones, that bend at a point, then the smooth ones.

With ``inplace=True`` the result is written into ``input``. The functions with a leading underscore are the elementwise
records that both ways of calling share.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.random import default_generator
from flambeau.core.random import distributions as streams
from flambeau.core.size import wrap_dim
from flambeau.ops import samples
from flambeau.ops.comparison import where
from flambeau.ops.elementary import exp, sigmoid
from flambeau.ops.error_functions import erf, erf_kernel
from flambeau.ops.numerics import select
from flambeau.ops.record import ErrorSample, Sample, composite, op, pointwise
from flambeau.ops.refusals import ALL_BUT_FLOATING, NOT_FLOATING, refuse
from flambeau.ops.trigonometric import tanh


def _activate(function, input, inplace: bool, *args):
    return dispatch.inplace(function, input, args, {}) if inplace else function(input, *args)


def _in_place_name(name: str, function) -> None:
    """Registers ``nn.functional.<name>_``."""

    def check(input, *args, **kwargs):
        return dispatch.inplace(function, input, args, kwargs)

    check.__doc__ = f"In-place version of :func:`torch.nn.functional.{name}`."
    composite(check, name=f"nn.functional.{name}_")


def _with_inplace(low=-2.0, high=2.0, **kwargs):
    return lambda make: [*samples.unary(low, high, **kwargs)(make), Sample(make(3) * 1.0, inplace=True, **kwargs)]


# --- rectifiers ----------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, g, out: b.select(b.le(out, 0), 0, g),
    kernel=lambda g, out: select(out <= 0, 0, g),
    tensors="g out",
    grad={"g": lambda g, out: _where_active(g, out)},
    method=False,
)
def _where_active(g, out):
    """The gradient of :func:`relu`: ``g`` where the result ``out`` is not 0."""
    return (g, out), {}


@pointwise(
    lower=lambda b, x: b.max(x, 0),
    kernel=lambda x: np.maximum(0, x),  # in this order -0.0 stays -0.0, as in PyTorch
    grad={"input": lambda g, out: _where_active(g, out)},
    inplace=True,
    samples=samples.unary(),
    errors=lambda make: [ErrorSample(RuntimeError, "Boolean inputs not supported", make(2) > 0)],
)
def relu(input):
    r"""Element-wise rectifier :math:`\max(0, x)`.

    >>> import flambeau as torch
    >>> torch.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    kind = input._dtype.kind
    if kind == dtypes.BOOLEAN:
        raise RuntimeError("Boolean inputs not supported for relu")
    if kind == dtypes.COMPLEX:
        raise NotImplementedError("clamp is not supported for complex types")
    return (input,), {}


@composite(name="nn.functional.relu", samples=_with_inplace())
def functional_relu(input, inplace=False):
    r"""Element-wise rectifier :math:`\max(0, x)`."""
    return _activate(relu, input, inplace)


def _hardtanh_kernel(x, low, high):
    return np.minimum(high, np.maximum(low, x))


@pointwise(
    lower=lambda b, x, low, high: b.min(b.max(x, low), high),
    kernel=_hardtanh_kernel,
    grad={"input": lambda g, input, low, high: where((input > low) & (input < high), g, 0)},
    method=False,
    backward_name="HardtanhBackward0",
)
def _hardtanh(input, low, high):
    """``input`` between two bounds, without gradient at them."""
    if input._dtype.kind == dtypes.BOOLEAN:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if input._dtype.kind == dtypes.COMPLEX:
        raise NotImplementedError("clamp is not supported for complex types")
    number = float if input._dtype.kind == dtypes.FLOATING else int
    return (input,), {"low": number(low), "high": number(high)}


@composite(
    name="nn.functional.hardtanh",
    samples=_with_inplace(min_val=-0.5, max_val=0.7),
    errors=lambda make: [ErrorSample(ValueError, "min_val cannot be greater than max_val", make(2), 1.0, -1.0)],
)
def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """``input`` with values below ``min_val`` and above ``max_val`` replaced by these bounds."""
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val: got {min_val} and {max_val}")
    return _activate(_hardtanh, input, inplace, min_val, max_val)


@composite(name="nn.functional.relu6", samples=_with_inplace())
def relu6(input, inplace=False):
    r"""Element-wise :math:`\min(\max(0, x), 6)`."""
    return _activate(_hardtanh, input, inplace, 0, 6)


@pointwise(
    lower=lambda b, x, slope: b.select(b.gt(x, 0), x, b.mul(x, slope)),
    kernel=lambda x, slope: select(x > 0, x, x * slope),
    grad={"input": lambda g, input, slope: where(input > 0, g, g * slope)},
    method=False,
    backward_name="LeakyReluBackward0",
)
def _leaky_relu(input, slope):
    refuse("leaky_relu_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"slope": float(slope)}


@composite(name="nn.functional.leaky_relu", samples=_with_inplace(negative_slope=0.2))
def leaky_relu(input, negative_slope=0.01, inplace=False):
    """Element-wise ``input``, its negative values multiplied by ``negative_slope``."""
    return _activate(_leaky_relu, input, inplace, negative_slope)


@pointwise(
    lower=lambda b, x, weight: b.select(b.gt(x, 0), x, b.mul(x, weight)),
    kernel=lambda x, weight: select(x > 0, x, x * weight),
    tensors="input weight",
    grad={
        "input": lambda g, input, weight: where(input > 0, g, g * weight),
        "weight": lambda g, input: where(input > 0, 0, g * input),
    },
    method=False,
    backward_name="PreluKernelBackward0",
)
def _prelu(input, weight):
    refuse("prelu_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input, weight), {}


@composite(
    aliases=("nn.functional.prelu",),
    samples=lambda make: [
        Sample(make(2, 3), make(3)),
        Sample(make(2, 3, 2), make(3)),
        Sample(make(4), make(1)),
        Sample(make(), make(1)),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "Mismatch of parameter numbers", make(2, 3), make(4))],
)
def prelu(input, weight):
    """Element-wise ``input``, its negative values multiplied by ``weight``: one number, or one for each channel (dim 1).

    He et al. (2015), "Delving deep into rectifiers".
    """
    ndim = len(input._shape)
    if weight._shape.numel() != 1:
        channels = input._shape[1] if ndim > 1 else 1
        if weight._shape.numel() != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight._shape.numel()} and channel size = {channels}."
            )
        if len(weight._shape) != 1:
            raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {len(weight._shape)}")
        weight = weight.view(channels, *[1] * (ndim - 2))
    elif weight._shape:
        weight = weight.view(())
    if weight._dtype is not input._dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input._dtype.name} and {weight._dtype.name}")
    return _prelu(input, weight)


def _draw_slopes(x, lower, upper):
    slopes = np.ones_like(x)
    negative = x <= 0
    slopes[negative] = streams.uniform(default_generator, (int(negative.sum()),), lower, upper, np.float64)
    return slopes


@op(kernel=_draw_slopes, eager=True, method=False)
def _random_slopes(input, lower, upper):
    """1 for positive elements; for each other one a number drawn from the default generator."""
    return None, input._dtype, (input,), {"lower": float(lower), "upper": float(upper)}


@composite(method=False, inplace=True)
def rrelu(input, lower=1 / 8, upper=1 / 3, training=False, generator=None):
    """Leaky rectifier with a random slope; see :func:`torch.nn.functional.rrelu`."""
    if not training:
        return _leaky_relu(input, (lower + upper) / 2)
    refuse("rrelu_with_noise_out_cpu", input, kinds=ALL_BUT_FLOATING)
    return input * _random_slopes(input.detach(), lower, upper)


@composite(name="nn.functional.rrelu", samples=_with_inplace())
def functional_rrelu(input, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    """Leaky rectifier whose slope for negative values is drawn from [``lower``, ``upper``) in training, else their mean.

    Xu et al. (2015), "Empirical evaluation of rectified activations in convolutional network".
    """
    return _activate(rrelu, input, inplace, lower, upper, training)


@pointwise(
    kernel=lambda x, threshold, value: select(x <= threshold, value, x),
    grad={"input": lambda g, input, threshold: where(input <= threshold, 0, g)},
    inplace=True,
    method=False,
    samples=samples.unary(threshold=0.1, value=5.0),
)
def threshold(input, threshold, value):
    """Element-wise ``input`` where it is greater than ``threshold``, else ``value``."""
    refuse("threshold_cpu", input)
    return (input,), {"threshold": threshold, "value": value}


@composite(name="nn.functional.threshold", samples=_with_inplace(threshold=0.1, value=5.0))
def functional_threshold(input, threshold, value, inplace=False):
    """Element-wise ``input`` where it is greater than ``threshold``, else ``value``."""
    return _activate(_threshold, input, inplace, threshold, value)


_threshold = threshold


# --- shrinkage -----------------------------------------------------------------------------------------------


@pointwise(
    kernel=lambda x, lambd: select((x >= -lambd) & (x <= lambd), 0, x),
    grad={"input": lambda g, input, lambd: where((input >= -lambd) & (input <= lambd), 0, g)},
    out=True,
    aliases=("nn.functional.hardshrink",),
    samples=samples.unary(),
)
def hardshrink(input, lambd=0.5):
    r"""Element-wise ``input``, with 0 where :math:`|x| \le lambd`."""
    refuse("hardshrink_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"lambd": float(lambd)}


@pointwise(
    kernel=lambda x, lambd: select(x > lambd, x - lambd, select(x < -lambd, x + lambd, x * 0)),
    grad={"input": lambda g, input, lambd: where((input >= -lambd) & (input <= lambd), 0, g)},
    name="nn.functional.softshrink",
    out=True,
    samples=samples.unary(),
    errors=lambda make: [ErrorSample(RuntimeError, "lambda must be in range", make(2), -1)],
)
def softshrink(input, lambd=0.5):
    r"""Element-wise ``input`` moved towards 0 by ``lambd``, and 0 where :math:`|x| \le lambd`."""
    refuse("softshrink_check", input, kinds=ALL_BUT_FLOATING)
    limit = dtypes.finfo(input._dtype).max
    if not 0 <= lambd <= limit:
        raise RuntimeError(f"lambda must be in range [0, {limit:g}] for input dtype {input._dtype.name}, but found {lambd:g}")
    return (input,), {"lambd": float(lambd)}


@composite(name="nn.functional.tanhshrink", samples=samples.unary())
def tanhshrink(input):
    r"""Element-wise :math:`x - \tanh(x)`."""
    return input - tanh(input)


# --- pieces of lines in place of curves ----------------------------------------------------------------------


@pointwise(
    lower=lambda b, x: b.div(b.mul(x, b.min(b.max(b.add(x, 3), 0), 6)), 6),
    kernel=lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
    grad={"input": lambda g, input: where(input < -3, 0, where(input <= 3, g * (input / 3 + 0.5), g))},
    method=False,
    backward_name="HardswishBackward0",
)
def _hardswish(input):
    refuse("hardswish_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.hardswish", samples=_with_inplace())
def hardswish(input, inplace=False):
    r"""Element-wise :math:`x \cdot \min(\max(x + 3, 0), 6) / 6`. Howard et al. (2019), "Searching for MobileNetV3"."""
    return _activate(_hardswish, input, inplace)


@pointwise(
    lower=lambda b, x: b.div(b.min(b.max(b.add(x, 3), 0), 6), 6),
    kernel=lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
    grad={"input": lambda g, input: where((input > -3) & (input < 3), g / 6, 0)},
    method=False,
    backward_name="HardsigmoidBackward0",
)
def _hardsigmoid(input):
    refuse("hardsigmoid_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.hardsigmoid", samples=_with_inplace())
def hardsigmoid(input, inplace=False):
    r"""Element-wise :math:`\min(\max(x + 3, 0), 6) / 6`."""
    return _activate(_hardsigmoid, input, inplace)


# --- exponential linear units --------------------------------------------------------------------------------


def _elu_kernel(x, alpha, scale, rate):
    return select(x <= 0, np.expm1(x * rate) * (alpha * scale), x * scale)


def _lower_elu(b, x, alpha, scale, rate):
    below = b.mul(b.expm1(b.mul(b.min(x, 0), rate)), alpha * scale)
    return b.select(b.le(x, 0), below, b.mul(x, scale))


def _grad_of_elu(g, input, alpha, scale, rate):
    # exp of negative values only: the other branch would overflow, and infinity times a gradient of 0 is NaN.
    return where(input <= 0, g * (alpha * scale * rate * exp(input.clamp_max(0) * rate)), g * scale)


@pointwise(lower=_lower_elu, kernel=_elu_kernel, grad={"input": _grad_of_elu}, method=False, backward_name="EluBackward0")
def _elu(input, alpha, scale=1.0, rate=1.0):
    r""":math:`scale \cdot x` for positive :math:`x`, else :math:`scale \cdot alpha (e^{rate \cdot x} - 1)`."""
    refuse("elu_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"alpha": float(alpha), "scale": float(scale), "rate": float(rate)}


@composite(name="nn.functional.elu", samples=_with_inplace(alpha=1.5))
def elu(input, alpha=1.0, inplace=False):
    r"""Element-wise :math:`x` where positive, else :math:`alpha (e^x - 1)`.

    Clevert, Unterthiner, Hochreiter (2016), "Fast and accurate deep network learning by exponential linear units".
    """
    return _activate(_elu, input, inplace, alpha)


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@composite(method=False, inplace=True)
def selu(input):
    """Element-wise self-normalising unit; see :func:`torch.nn.functional.selu`."""
    return _elu(input, _SELU_ALPHA, _SELU_SCALE)


@composite(name="nn.functional.selu", samples=_with_inplace())
def functional_selu(input, inplace=False):
    r"""Element-wise :math:`1.0507 \cdot \mathrm{elu}(x, 1.6733)`, which keeps mean 0 and variance 1.

    Klambauer et al. (2017), "Self-normalizing neural networks".
    """
    return _activate(selu, input, inplace)


@composite(method=False, inplace=True)
def celu(input, alpha=1.0):
    """Element-wise continuously differentiable unit; see :func:`torch.nn.functional.celu`."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, alpha, 1.0, 1.0 / alpha)


@composite(name="nn.functional.celu", samples=_with_inplace(alpha=1.5))
def functional_celu(input, alpha=1.0, inplace=False):
    r"""Element-wise :math:`x` where positive, else :math:`alpha (e^{x / alpha} - 1)`.

    Barron (2017), "Continuously differentiable exponential linear units".
    """
    return _activate(celu, input, inplace, alpha)


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
def _silu_slope(input):
    return (input,), {}


def _conj_slope(slope):
    """The gradient ``g * conj(slope(input))``."""

    def grad(g, input):
        s = slope(input)
        return g * (s.conj() if s._dtype.is_complex else s)

    return grad


@pointwise(
    lower=lambda b, x: b.mul(x, b.sigmoid(x)),
    kernel=lambda x: x / (1 + np.exp(-x)), grad={"input": _conj_slope(_silu_slope)}, method=False,
    backward_name="SiluBackward0",
)  # fmt: skip
def _silu(input):
    refuse("silu_cpu", input, kinds=NOT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.silu", samples=_with_inplace())
def silu(input, inplace=False):
    r"""Element-wise :math:`x \cdot \sigma(x)`, also called swish.

    Elfwing, Uchibe, Doya (2018), "Sigmoid-weighted linear units for neural network function approximation".
    """
    return _activate(_silu, input, inplace)


def _softplus_kernel(x, beta, threshold):
    z = x * beta
    return select(z > threshold, x, np.log1p(np.exp(np.minimum(z, threshold))) / beta)


@pointwise(
    kernel=_softplus_kernel,
    grad={
        "input": lambda g, input, beta, threshold: where(input * beta > threshold, g, g * sigmoid(input * beta)),
    },
    name="nn.functional.softplus",
    out=True,
    samples=lambda make: [*samples.unary(-2, 2)(make), Sample(make(3), beta=2.0), Sample(make(3), threshold=-5)],
)
def softplus(input, beta=1.0, threshold=20.0):
    r"""Element-wise :math:`\frac{1}{beta} \ln(1 + e^{beta \cdot x})`; :math:`x` itself where :math:`beta \cdot x > threshold`."""
    refuse("softplus_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"beta": float(beta), "threshold": float(threshold)}


def _mish_slope_kernel(x):
    t, s = np.tanh(np.logaddexp(0, x)), 1 / (1 + np.exp(-x))
    return t + x * s * (1 - t * t)


def _grad_of_mish_slope(g, input):
    t, s = tanh(softplus(input)), sigmoid(input)
    return g * ((1 - t * t) * s * (2 + input * (1 - s - 2 * t * s)))


@pointwise(kernel=_mish_slope_kernel, grad={"input": _grad_of_mish_slope}, method=False)
def _mish_slope(input):
    return (input,), {}


@pointwise(
    kernel=lambda x: x * np.tanh(np.log1p(np.exp(np.minimum(x, 20)))),
    grad={"input": lambda g, input: g * _mish_slope(input)},
    method=False,
    backward_name="MishBackward0",
)
def _mish(input):
    refuse("mish_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.mish", samples=_with_inplace())
def mish(input, inplace=False):
    r"""Element-wise :math:`x \tanh(\ln(1 + e^x))`. Misra (2019), "Mish: A self regularized non-monotonic activation function"."""
    return _activate(_mish, input, inplace)


_ROOT_HALF = sqrt(0.5)
_DENSITY = 1 / sqrt(2 * pi)
_TANH_SCALE = sqrt(2 / pi)
_TANH_CUBE = 0.044715


def _gelu_kernel(x, tanh):
    inner = np.tanh(_TANH_SCALE * (x + _TANH_CUBE * x * x * x)) if tanh else erf_kernel(x * _ROOT_HALF)
    inner += 1
    inner *= 0.5
    inner *= x
    return inner


def _gelu_slope_kernel(x, tanh):
    if not tanh:
        return 0.5 * (1 + erf_kernel(x * _ROOT_HALF)) + x * np.exp(x * x * -0.5) * _DENSITY
    square = x * x
    t = np.tanh(_TANH_SCALE * x * (1 + _TANH_CUBE * square))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _TANH_SCALE * (1 + 3 * _TANH_CUBE * square)


def _lower_gelu(b, x, tanh):
    if not tanh:
        return b.mul(b.mul(b.add(b.erf(b.mul(x, _ROOT_HALF)), 1), 0.5), x)
    inner = b.mul(_TANH_SCALE, b.add(x, b.mul(b.mul(b.mul(x, _TANH_CUBE), x), x)))
    return b.mul(b.mul(b.add(b.tanh(inner), 1), 0.5), x)


def _lower_gelu_slope(b, x, tanh):
    square = b.mul(x, x)
    if not tanh:
        below = b.mul(0.5, b.add(1, b.erf(b.mul(x, _ROOT_HALF))))
        return b.add(below, b.mul(b.mul(x, b.exp(b.mul(square, -0.5))), _DENSITY))
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
def _gelu_slope(input, tanh):
    return (input,), {"tanh": tanh}


@pointwise(
    lower=_lower_gelu,
    kernel=_gelu_kernel,
    grad={"input": lambda g, input, tanh: g * _gelu_slope(input, tanh)},
    name="nn.functional.gelu",
    out=True,
    samples=lambda make: [*samples.unary()(make), *samples.unary(approximate="tanh")(make)],
    errors=lambda make: [ErrorSample(RuntimeError, "approximate argument must be", make(2), approximate="fast")],
)
def gelu(input, approximate="none"):
    r"""Element-wise :math:`x \Phi(x)`, :math:`\Phi` the normal distribution function.

    ``approximate="tanh"`` computes :math:`\frac{x}{2}(1 + \tanh(\sqrt{2 / \pi}(x + 0.044715 x^3)))`.

    Hendrycks, Gimpel (2016), "Gaussian error linear units".
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, not {approximate!r}")
    refuse("GeluKernelImpl", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"tanh": approximate == "tanh"}


@pointwise(
    kernel=lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
    grad={"input": lambda g, input: g * sigmoid(-input)},
    name="nn.functional.logsigmoid",
    out=True,
    backward_name="LogSigmoidBackward0",
    samples=samples.unary(),
)
def logsigmoid(input):
    r"""Element-wise :math:`\ln \frac{1}{1 + e^{-x}}`, without overflow on the way."""
    refuse("log_sigmoid_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.softsign", samples=samples.unary())
def softsign(input):
    r"""Element-wise :math:`\frac{x}{1 + |x|}`."""
    return input / (input.abs() + 1)


@composite(
    name="nn.functional.glu",
    out=True,
    samples=lambda make: [Sample(make(3, 4)), Sample(make(4, 3), 0), Sample(make(2, 2, 2), dim=1)],
    errors=lambda make: [ErrorSample(RuntimeError, "Halving dimension must be even", make(3))],
)
def glu(input, dim=-1):
    r"""Gated linear unit: :math:`a \cdot \sigma(b)`, where :math:`a` and :math:`b` are the halves of ``input`` along ``dim``.

    Dauphin et al. (2017), "Language modeling with gated convolutional networks".
    """
    if not input._shape:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    dim = wrap_dim(dim, len(input._shape))
    half, odd = divmod(input._shape[dim], 2)
    if odd:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {input._shape[dim]}")
    return input.narrow(dim, 0, half) * sigmoid(input.narrow(dim, half, half))


for _name, _function in {
    "relu": relu, "leaky_relu": lambda input, negative_slope=0.01: _leaky_relu(input, negative_slope), "rrelu": rrelu,
    "elu": lambda input, alpha=1.0: _elu(input, alpha), "selu": selu, "celu": celu, "hardtanh": hardtanh,
    "threshold": threshold,
}.items():  # fmt: skip
    _in_place_name(_name, _function)
