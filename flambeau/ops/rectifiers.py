"""Rectifiers and other activation functions made of pieces of lines, and what all activation functions share.

The functions with a leading underscore are the elementwise records behind ``nn.functional``'s, which take ``inplace``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.random import default_generator
from flambeau.core.random import distributions as streams
from flambeau.core.scalars import fitting
from flambeau.ops import layouts, samples
from flambeau.ops.comparison import where
from flambeau.ops.documentation import docstring
from flambeau.ops.half_gradients import rounded_once
from flambeau.ops.numerics import select
from flambeau.ops.record import ErrorSample, Sample, composite, op, pointwise, registry
from flambeau.ops.refusals import ALL_BUT_FLOATING, NOT_REAL_NUMBERS, refuse
from flambeau.ops.trigonometric import tanh

if TYPE_CHECKING:
    from flambeau.core.random import Generator
    from flambeau.tensor.types import Number, Tensor


def activate(function, input, inplace: bool, *args):
    """``function(input, *args)``, written into ``input`` where ``inplace``."""
    return dispatch.inplace(function, input, args, {}) if inplace else function(input, *args)


def in_place_name(name: str, function) -> None:
    """Registers ``nn.functional.<name>_``."""
    if not hasattr(function, "op"):
        function.op = registry[f"nn.functional.{name}"]  # what is said of in-place forms of an op is said of this one

    def check(input: Tensor, *args: Any, **kwargs: Any):
        return dispatch.inplace(function, input, args, kwargs)

    values = {"threshold": ", 0.0, 0.0"}.get(name, "")
    check.__doc__ = docstring(
        f"In-place form of :func:`torch.nn.functional.{name}`: the result is ``input``.", f"nn.functional.{name}_",
        ">>> x = torch.tensor([1.0, 2.0])", f">>> torch.nn.functional.{name}_(x{values}) is x", "True",
    )  # fmt: skip
    composite(check, name=f"nn.functional.{name}_")


def with_inplace(low: float = -2.0, high: float = 2.0, **kwargs):
    """Samples for a function of one tensor that has ``inplace``."""
    return lambda make: [*samples.unary(low, high, **kwargs)(make), Sample(make(3) * 1.0, inplace=True, **kwargs)]


# --- rectifiers ----------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, g, out: b.select(b.le(out, 0), 0, g),
    kernel=lambda g, out: select(out <= 0, 0, g),
    tensors="g out",
    grad={"g": lambda g, out: _where_active(g, out)},
    method=False,
)
def _where_active(g: Tensor | Number | complex, out: Tensor | Number | complex):
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
def relu(input: Tensor):
    r"""Element-wise rectifier :math:`\max(0, x)`.

    Raises ``RuntimeError`` for bools, ``NotImplementedError`` for complex numbers.

    >>> import flambeau as torch
    >>> torch.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])

    Source: PyTorch's operator ``aten::relu``.
    """
    kind = input._dtype.kind
    if kind == dtypes.BOOLEAN:
        raise RuntimeError("Boolean inputs not supported for relu")
    if kind == dtypes.COMPLEX:
        raise NotImplementedError("clamp is not supported for complex types")
    return (input,), {}


@composite(name="nn.functional.relu", samples=with_inplace())
def functional_relu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Element-wise rectifier :math:`\max(0, x)`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu.html
    """
    return activate(relu, input, inplace)


def _hardtanh_kernel(x, low, high):
    return np.minimum(high, np.maximum(low, x))


@pointwise(
    lower=lambda b, x, low, high: b.min(b.max(x, low), high),
    kernel=_hardtanh_kernel,
    grad={"input": lambda g, input, low, high: where((input <= low) | (input >= high), 0, g)},
    method=False,
    backward_name="HardtanhBackward0",
)
def _hardtanh(input: Tensor, low, high):
    """``input`` between two bounds, without gradient at them."""
    if input._dtype.kind == dtypes.BOOLEAN:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if input._dtype.kind == dtypes.COMPLEX:
        raise NotImplementedError("clamp is not supported for complex types")
    if not input._dtype.is_signed and min(low, high) < 0:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    number = float if input._dtype.kind == dtypes.FLOATING else int
    return (input,), {"low": number(fitting(low, input._dtype)), "high": number(fitting(high, input._dtype))}


@composite(
    name="nn.functional.hardtanh",
    samples=with_inplace(min_val=-0.5, max_val=0.7),
    errors=lambda make: [ErrorSample(ValueError, "min_val cannot be greater than max_val", make(2), 1.0, -1.0)],
)
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` with values below ``min_val`` and above ``max_val`` replaced by these bounds.

    Raises ``ValueError`` where ``min_val`` is greater than ``max_val``.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.hardtanh(torch.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardtanh.html
    """
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val: got {min_val} and {max_val}")
    return activate(_hardtanh, input, inplace, min_val, max_val)


@composite(name="nn.functional.relu6", samples=with_inplace())
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`\min(\max(0, x), 6)`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.relu6(torch.tensor([-1.0, 3.0, 8.0]))
    tensor([0., 3., 6.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu6.html
    """
    return activate(_hardtanh, input, inplace, 0, 6)


@pointwise(
    lower=lambda b, x, slope: b.select(b.gt(x, 0), x, b.mul(x, slope)),
    kernel=lambda x, slope: select(x > 0, x, x * slope),
    grad={"input": lambda g, input, slope: where(input > 0, g, g * slope)},
    method=False,
    backward_name="LeakyReluBackward0",
)
def _leaky_relu(input: Tensor, slope):
    refuse("leaky_relu_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {"slope": float(slope)}


@composite(name="nn.functional.leaky_relu", samples=with_inplace(negative_slope=0.2))
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Element-wise ``input``, its negative values multiplied by ``negative_slope``.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.leaky_relu(torch.tensor([-10.0, 2.0]))
    tensor([-0.1000,  2.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.leaky_relu.html
    """
    return activate(_leaky_relu, input, inplace, negative_slope)


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
def _prelu(input: Tensor, weight: Tensor | Number | complex):
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
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Element-wise ``input``, its negative values multiplied by ``weight``: one number, or one for each channel (dim 1).

    He et al. (2015), "Delving deep into rectifiers".

    Raises ``RuntimeError`` for weights that are neither one nor as many as channels, and for different dtypes.

    >>> import flambeau as torch
    >>> torch.prelu(torch.tensor([[-4.0, -4.0]]), torch.tensor([0.25, 0.5]))
    tensor([[-1., -2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.prelu.html
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
def _random_slopes(input: Tensor, lower, upper):
    """1 for positive elements; for each other one a number drawn from the default generator."""
    return None, input._dtype, (input,), {"lower": float(lower), "upper": float(upper)}


@composite(layout=layouts.row_major, method=False, inplace=True)
def rrelu(
    input: Tensor,
    lower: Number | complex = 1 / 8,
    upper: Number | complex = 1 / 3,
    training: bool = False,
    generator: Generator | None = None,
):
    """Leaky rectifier with a random slope; see :func:`torch.nn.functional.rrelu`.

    >>> import flambeau as torch
    >>> torch.rrelu(torch.tensor([-24.0, 2.0]))
    tensor([-5.5000,  2.0000])

    Source: PyTorch's operator ``aten::rrelu``.
    """
    if not training:
        return _leaky_relu(input, (lower + upper) / 2)
    refuse("rrelu_with_noise_out_cpu", input, kinds=ALL_BUT_FLOATING)
    return input * _random_slopes(input.detach(), lower, upper)


@composite(name="nn.functional.rrelu", samples=with_inplace())
def functional_rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky rectifier whose slope for negative values is drawn from [``lower``, ``upper``) in training, else their mean.

    Xu et al. (2015), "Empirical evaluation of rectified activations in convolutional network".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.rrelu(torch.tensor([-24.0, 2.0]), 0.25, 0.75)
    tensor([-12.,   2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rrelu.html
    """
    return activate(rrelu, input, inplace, lower, upper, training)


def _lower_threshold(b, x, threshold, value):
    if x.dtype.kind != dtypes.FLOATING:
        b.refuse("whole numbers beside a threshold that may be none")
    return b.select(b.le(x, threshold), value, x)


@pointwise(
    lower=_lower_threshold,
    kernel=lambda x, threshold, value: select(x <= threshold, value, x),
    grad={"input": lambda g, input, threshold: where(input <= threshold, 0, g)},
    inplace=True,
    method=False,
    samples=samples.unary(threshold=0.1, value=5.0),
)
def threshold(input: Tensor, threshold: Number | complex, value: Number | complex):
    """Element-wise ``input`` where it is greater than ``threshold``, else ``value``.

    >>> import flambeau as torch
    >>> torch.threshold(torch.tensor([0.5, 3.0]), 1.0, -1.0)
    tensor([-1.,  3.])

    Source: PyTorch's operator ``aten::threshold``.
    """
    refuse("threshold_cpu", input, kinds=NOT_REAL_NUMBERS)
    d = input._dtype
    wide = dtypes.float32 if d.itemsize == 2 and d.is_floating_point else d
    return (input,), {"threshold": fitting(threshold, wide), "value": fitting(value, d)}


@composite(name="nn.functional.threshold", samples=with_inplace(threshold=0.1, value=5.0))
def functional_threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Element-wise ``input`` where it is greater than ``threshold``, else ``value``.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.threshold(torch.tensor([0.5, 3.0]), 1.0, -1.0)
    tensor([-1.,  3.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.threshold.html
    """
    return activate(_threshold, input, inplace, threshold, value)


_threshold = threshold


# --- shrinkage -----------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, x, lambd: b.select(b.and_(b.ge(x, -lambd), b.le(x, lambd)), 0, x),
    kernel=lambda x, lambd: select((x >= -lambd) & (x <= lambd), 0, x),
    grad={"input": lambda g, input, lambd: where((input >= -lambd) & (input <= lambd), 0, g)},
    out="same",
    aliases=("nn.functional.hardshrink",),
    samples=samples.unary(),
)
def hardshrink(input: Tensor, lambd: Number | complex = 0.5):
    r"""Element-wise ``input``, with 0 where :math:`|x| \le lambd`.

    >>> import flambeau as torch
    >>> torch.hardshrink(torch.tensor([-1.0, 0.3, 2.0]))
    tensor([-1.,  0.,  2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hardshrink.html
    """
    refuse("hardshrink_cpu", input, kinds=ALL_BUT_FLOATING)
    bound: Any = lambd
    return (input,), {"lambd": float(bound)}


def _lower_softshrink(b, x, lambd):
    below = b.select(b.lt(x, -lambd), b.add(x, lambd), b.mul(x, 0))
    return b.select(b.gt(x, lambd), b.sub(x, lambd), below)


@pointwise(
    lower=_lower_softshrink,
    kernel=lambda x, lambd: select(x > lambd, x - lambd, select(x < -lambd, x + lambd, x * 0)),
    grad={"input": lambda g, input, lambd: where((input >= -lambd) & (input <= lambd), 0, g)},
    name="nn.functional.softshrink",
    out="same",
    samples=samples.unary(),
    errors=lambda make: [ErrorSample(RuntimeError, "lambda must be in range", make(2), -1)],
)
def softshrink(input: Tensor, lambd: Number | complex = 0.5):
    r"""Element-wise ``input`` moved towards 0 by ``lambd``, and 0 where :math:`|x| \le lambd`.

    Raises ``RuntimeError`` for a negative ``lambd``.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.softshrink(torch.tensor([-1.0, 0.3, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softshrink.html
    """
    refuse("softshrink_check", input, kinds=ALL_BUT_FLOATING)
    limit = dtypes.finfo(input._dtype).max
    bound: Any = lambd
    if not 0 <= bound <= limit:
        raise RuntimeError(f"lambda must be in range [0, {limit:g}] for input dtype {input._dtype.name}, but found {lambd:g}")
    return (input,), {"lambd": float(bound)}


@composite(name="nn.functional.tanhshrink", samples=samples.unary())
def tanhshrink(input: Tensor) -> Tensor:
    r"""Element-wise :math:`x - \tanh(x)`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.tanhshrink(torch.tensor([0.0, 2.0]))
    tensor([0.0000, 1.0360])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.tanhshrink.html
    """
    return input - tanh(input)


# --- pieces of lines in place of curves ----------------------------------------------------------------------


def _grad_of_hardswish(g, input):
    return where(input <= -3, 0, where(input < 3, g * ((input * 2 + 3) / 6), g))


@pointwise(
    lower=lambda b, x: b.div(b.mul(x, b.min(b.max(b.add(x, 3), 0), 6)), 6),
    kernel=lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
    grad={"input": lambda g, input: rounded_once(_grad_of_hardswish, g, input)},
    method=False,
    backward_name="HardswishBackward0",
)
def _hardswish(input: Tensor):
    refuse("hardswish_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.hardswish", samples=with_inplace())
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`x \cdot \min(\max(x + 3, 0), 6) / 6`. Howard et al. (2019), "Searching for MobileNetV3".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.hardswish(torch.tensor([-4.0, 1.0, 4.0]))
    tensor([-0.0000, 0.6667, 4.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardswish.html
    """
    return activate(_hardswish, input, inplace)


_ONE_SIXTH = float(np.float32(1 / 6))
"""PyTorch's slope of hardsigmoid, in every dtype."""


@pointwise(
    lower=lambda b, x: b.div(b.min(b.max(b.add(x, 3), 0), 6), 6),
    kernel=lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
    grad={"input": lambda g, input: where((input > -3) & (input < 3), g * _ONE_SIXTH, 0)},
    method=False,
    backward_name="HardsigmoidBackward0",
)
def _hardsigmoid(input: Tensor):
    refuse("hardsigmoid_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


@composite(name="nn.functional.hardsigmoid", samples=with_inplace())
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Element-wise :math:`\min(\max(x + 3, 0), 6) / 6`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.hardsigmoid(torch.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardsigmoid.html
    """
    return activate(_hardsigmoid, input, inplace)


for _name, _function in {
    "relu": relu, "leaky_relu": lambda input, negative_slope=0.01: _leaky_relu(input, negative_slope), "rrelu": rrelu,
    "hardtanh": hardtanh, "threshold": threshold,
}.items():  # fmt: skip
    in_place_name(_name, _function)
