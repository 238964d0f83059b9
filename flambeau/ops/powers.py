"""Powers and roots."""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.scalars import fitting
from flambeau.ops import samples
from flambeau.ops.arithmetic import is_bool, is_integral
from flambeau.ops.comparison import where
from flambeau.ops.complexes import conj_of
from flambeau.ops.division import both_integer
from flambeau.ops.numerics import in_double, select
from flambeau.ops.record import ErrorSample, Sample, composite, pointwise
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- powers --------------------------------------------------------------------------------------------------


def _power(x, y):
    if not isinstance(y, np.ndarray):
        # The exponents that have kernels of their own, with their own rounding, in PyTorch.
        if y == 2:
            return x * x
        if y == 3:
            return x * x * x
        if y == 1:
            return x
        if isinstance(x, np.ndarray) and x.dtype.kind == "f":
            if y == 0.5:
                return np.sqrt(x)
            if y == -0.5:
                return 1 / np.sqrt(x)
            if y == -1:
                return 1 / x
            if y == -2:
                return 1 / (x * x)
    elif both_integer(x, y) and y.dtype.kind == "i" and (y < 0).any():
        odd = y % 2 != 0
        fraction = select(np.equal(x, 1), 1, select(np.equal(x, -1), select(odd, -1, 1), 0))
        return select(y < 0, fraction, np.power(x, np.maximum(y, 0)))
    return in_double(np.power)(x, y)


def _lower_power(b, x, y):
    if isinstance(x, (int, float)):
        return b.pow(b.const(x, b.result), y)
    special: dict[float, Any] = {2: b.mul(x, x), 3: b.mul(b.mul(x, x), x), 1: x}
    if not isinstance(y, (int, float)):
        return b.pow(x, y)
    if y in special:
        return special[y]
    if b.result.is_floating_point:
        powers = {
            0.5: b.sqrt,
            -0.5: lambda x: b.div(1, b.sqrt(x)),
            -1: lambda x: b.div(1, x),
            -2: lambda x: b.div(1, b.mul(x, x)),
        }
        return powers[y](x) if y in powers else b.pow(x, y)
    return b.refuse("integer powers")


def _grad_of_base(g, input, exponent):
    if not isinstance(exponent, dispatch.Tensor):
        if exponent == 0:
            return g * 0
        return g * conj_of(exponent * input ** (exponent - 1))
    return where(exponent == 0, 0, g * conj_of(exponent * input ** (exponent - 1)))


def _grad_of_exponent(g, out, input, exponent):
    if not isinstance(input, dispatch.Tensor):
        if input == 0:
            return where(_nonnegative(exponent), 0, g * float("-inf") * out)
        if isinstance(input, complex) or out._dtype.kind == dtypes.COMPLEX:
            return g * conj_of(out * cmath.log(input))
        return g * conj_of(out * (math.log(input) if input > 0 else math.nan))
    base = input.to(out._dtype) if out._dtype.kind == dtypes.COMPLEX else input  # a negative base has a logarithm there
    return where((input == 0) & _nonnegative(exponent), 0, g * conj_of(out * base.log()))


def _nonnegative(x):
    return (x.real >= 0) & (x.imag == 0) if x._dtype.kind == dtypes.COMPLEX else x >= 0


@pointwise(
    lower=_lower_power,
    static=True,
    kernel=_power,
    tensors="input exponent",
    grad={"input": _grad_of_base, "exponent": _grad_of_exponent},
    overload=lambda inputs, attrs: (not isinstance(inputs[0], dispatch.Tensor)) + isinstance(inputs[1], dispatch.Tensor),
    inplace=True,
    out=True,
    samples=lambda make: [
        *samples.binary(low=0.5, high=2.0)(make),
        *(Sample(make(3, low=0.5, high=2.0), n) for n in (0, 1, 2, 3, 0.5, -0.5, -1, -2, 2.7)),
        Sample(2.0, make(3)),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "Integers to negative integer powers", (make(3) > 0).long(), -1)],
)
def pow_(input: Tensor | Number | complex, exponent: Tensor | Number | complex):
    """Element-wise power :math:`input^{exponent}`. Either argument may be a number.

    Raises ``RuntimeError`` for integers to a negative integer power.

    >>> import flambeau as torch
    >>> torch.pow(torch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.pow.html
    """
    if is_integral(exponent) and is_integral(input):
        if not isinstance(exponent, dispatch.Tensor):
            power: Any = exponent
            exponent = power = fitting(power, dispatch.result_type(input, power)) if power >= 0 else power
            if power < 0:
                raise RuntimeError(
                    "Integers to negative integer powers are not allowed: "
                    f"the exponent is {exponent}; make the base floating-point, for example with .float()"
                )
        if is_bool(input) and is_bool(exponent) and isinstance(exponent, dispatch.Tensor):
            refuse("pow", input, exponent, kinds=(dtypes.BOOLEAN,))
    return (input, exponent), {}


@composite(inplace=True, out=True, samples=samples.unary())
def square(input: Tensor) -> Tensor:
    """Element-wise :math:`input^2`.

    >>> import flambeau as torch
    >>> torch.square(torch.tensor([-3, 2]))
    tensor([9, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.square.html
    """
    return pow_(input, 2)


def _in_double(x):
    """A tensor or number as ``float64`` or ``complex128``."""
    if isinstance(x, dispatch.Tensor):
        return x.to(dtypes.complex128 if x._dtype.kind == dtypes.COMPLEX else dtypes.float64)
    return x if isinstance(x, complex) else float(x)


@composite(
    inplace=True,
    out="same",
    samples=lambda make: [*samples.binary(low=0.5, high=2.0)(make), Sample(2.0, make(3))],
)
def float_power(input: Tensor | Number | complex, exponent: Tensor | Number | complex) -> Tensor:
    """Element-wise power, computed and returned in ``float64`` (``complex128`` for complex arguments).

    >>> import flambeau as torch
    >>> torch.float_power(torch.tensor([1, 2, 3]), 0.5)
    tensor([1.0000, 1.4142, 1.7321], dtype=torch.float64)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.float_power.html
    """
    return pow_(_in_double(input), _in_double(exponent))


@pointwise(
    lower=lambda b, x: b.sqrt(x),
    kernel=np.sqrt,
    result="float",
    grad={"input": lambda g, out: g / (2 * conj_of(out))},
    inplace=True,
    out=True,
    samples=samples.unary(low=0.5, high=3.0),
)
def sqrt(input: Tensor):
    r"""Element-wise :math:`\sqrt{input}`; NaN for negative real numbers.

    >>> import flambeau as torch
    >>> torch.sqrt(torch.tensor([4.0, 2.0, -1.0]))
    tensor([2.0000, 1.4142,    nan])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sqrt.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.div(1, b.sqrt(x)),
    kernel=lambda x: 1 / np.sqrt(x),
    result="float",
    grad={"input": lambda g, out: -0.5 * g * conj_of(out**3)},
    inplace=True,
    out=True,
    samples=samples.unary(low=0.5, high=3.0),
)
def rsqrt(input: Tensor):
    r"""Element-wise :math:`1 / \sqrt{input}`.

    >>> import flambeau as torch
    >>> torch.rsqrt(torch.tensor([4.0, 0.25]))
    tensor([0.5000, 2.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.rsqrt.html
    """
    return (input,), {}
