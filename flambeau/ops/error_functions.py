r"""The error function, its relatives, and the normal distribution.

All rest on two expansions, made with mpmath by interpolation at Chebyshev points:
:math:`-\ln(\mathrm{erfc}(x)) / x`, which gives :math:`\mathrm{erf}` without cancellation, and
:math:`(1 + 2x) e^{x^2} \mathrm{erfc}(x)`, which gives :math:`\mathrm{erfc}` its relative accuracy in the tail.
The inverses improve a first guess by Halley's method.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ops import samples
from flambeau.ops.numerics import chebyshev, in_blocks, in_double, polynomial
from flambeau.ops.record import pointwise
from flambeau.ops.refusals import refuse
from flambeau.ops.special_loops import lower_erfinv

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# -ln(erfc(x)) / x: in powers of x on [0, 3.9] for float32, in Chebyshev polynomials on [0, 6] for float64.
_DECAY_SINGLE = (
    1.12837917, 0.636619835, 0.10277081, -0.0191121683, -0.000274813874, 0.00184014568, -0.000782493476,
    0.000192139507, -2.96713378e-5, 2.6759895e-6, -1.07669306e-7,
)  # fmt: skip
_DECAY = (
    3.6615141829248743, 2.6608105458341172, 0.094194927218652663, -0.025455682633110473, 0.0063841528995083402,
    -0.0014071000618069546, 0.00024027065009852487, -1.4791875823275091e-5, -1.1176382961526992e-5,
    6.8196138853989856e-6, -2.5385764186659629e-6, 7.1742402341267112e-7, -1.4719079786082319e-7,
    1.1741608020393282e-8, 7.5688229959729428e-9, -5.1921503929660838e-9, 2.0778574343169584e-9,
    -6.2291618071461085e-10, 1.3554289054102062e-10, -1.2511894404133435e-11, -6.635841081582186e-12,
    4.905316136200378e-12, -2.0377222136007212e-12, 6.3033340270026746e-13, -1.4220335569921462e-13,
    1.4664288786584018e-14, 6.3883301449650141e-15, -5.0586029986541103e-15, 2.1635879345914945e-15,
    -6.8974558487516754e-16, 1.6529968554703351e-16,
)  # fmt: skip

# (1 + 2x) exp(x^2) erfc(x), in Chebyshev polynomials of t = (x - 3.75) / (x + 3.75), for x >= 0.
_TAIL = (
    1.1775789345674018, -0.0045900545806464773, -0.084249133366517916, 0.05920993999819189, -0.026658668435305752,
    0.0090749976707052651, -0.0024131635404176082, 0.00049077583652580863, -6.9169733025012064e-5,
    4.1390279860730102e-6, 7.7403830661984907e-7, -2.1886401049234396e-7, 1.076499946567091e-8,
    4.5219598112182869e-9, -7.7544002088313512e-10, -6.3180883408866969e-11, 2.8687950109306584e-11,
    1.9455868545994991e-13, -9.6546967483721374e-13, 3.2525481448516447e-14, 3.3478119305924394e-14,
    -1.8645624669913781e-15, -1.2507907627821568e-15, 7.4179031082149925e-17, 5.0584123433943699e-17,
    -2.2638229868352584e-18,
)  # fmt: skip

# erfinv(y) / y, to 1e-8: with w = -ln(1 - y^2), in Chebyshev polynomials of w on [0, 5], of sqrt(w) on [sqrt(5), 6.1].
_INVERSE_CENTRE = (
    1.49129894047, 0.601756303411, -0.00917055950008, -0.00496263532677, 0.000915379670008, -3.88956275413e-6,
    -2.42025994025e-5, 3.26657148712e-6, 2.77589242723e-7, -1.30231579096e-7, 8.08504746082e-9, 2.87466149649e-9,
)  # fmt: skip
_INVERSE_TAILS = (
    4.01354446833, 1.94420716517, 0.00521343523303, -0.00302109003764, 0.00132329448771, -0.000567965380625,
    0.000235634967644, -8.71624714635e-5, 2.54524313786e-5, -4.08740507037e-6, -9.95109072061e-7, 1.11039834851e-6,
    -4.77002941356e-7, 1.09039521229e-7, 4.04331455731e-9, -1.37681388165e-8,
)  # fmt: skip

_ROOT_PI = sqrt(pi)


@in_blocks
def erf_kernel(x: np.ndarray) -> np.ndarray:
    r""":math:`\mathrm{erf}` of a float32 (to 3 units in the last place) or float64 array."""
    size = np.abs(x)
    if x.dtype == np.float32:
        size = np.minimum(size, np.float32(3.95))  # erf is 1 from 3.92 on
        decay = polynomial(_DECAY_SINGLE, size)
    else:
        size = np.minimum(size, 6.0)
        decay = chebyshev(_DECAY, size / 3.0 - 1.0)
    return np.copysign(-np.expm1(-size * decay), x)


def _gauss(x):
    """``exp(-x^2)`` with the rounding error of the square put right."""
    x = np.clip(x, -40, 40)
    head = x.astype(np.float32).astype(np.float64)
    return np.exp(-head * head) * np.exp((head - x) * (head + x))


def _scaled_tail(x):
    """``exp(x^2) erfc(x)`` for ``x >= 0``."""
    return chebyshev(_TAIL, np.where(x > 1e300, 1.0, (x - 3.75) / (x + 3.75))) / (1 + 2 * x)


@in_double
@in_blocks
def erfc_kernel(x: np.ndarray) -> np.ndarray:
    r""":math:`\mathrm{erfc}`, accurate to a relative 1e-15 or so also in the tail."""
    size = np.abs(x)
    tail = _gauss(size) * _scaled_tail(size)
    return np.where(size < 0.5, 1 - erf_kernel(x), np.where(x < 0, 2 - tail, tail))


@in_double
@in_blocks
def erfcx_kernel(x: np.ndarray) -> np.ndarray:
    r""":math:`e^{x^2} \mathrm{erfc}(x)`."""
    tail = _scaled_tail(np.abs(x))
    return np.where(x < 0, 2 / _gauss(x) - tail, tail)


def _improve(z, error):
    """One step of Halley's method for ``erf(z) = y``, where ``error = erf(z) - y``."""
    step = error * (_ROOT_PI / 2) / _gauss(z)
    return z - step / (1 + z * step)


@in_blocks
def erfinv_kernel(y: np.ndarray) -> np.ndarray:
    r"""The inverse of :math:`\mathrm{erf}`; infinite at 1 and -1, NaN beyond."""
    size = np.abs(y).astype(np.float64)
    rest = 1 - size
    w = -np.log(rest * (1 + size))
    centre = chebyshev(_INVERSE_CENTRE, np.minimum(w, 5) / 2.5 - 1)
    low, high = sqrt(5), 6.1
    tails = chebyshev(_INVERSE_TAILS, (np.sqrt(np.clip(w, 5, high * high)) * 2 - (low + high)) / (high - low))
    z = size * np.where(w < 5, centre, tails)
    if y.dtype == np.float64:
        z = _improve(z, np.where(size < 0.5, erf_kernel(z) - size, rest - erfc_kernel(z)))
    return np.copysign(np.where(rest == 0, np.inf, z), y)


@in_double
@in_blocks
def ndtri_kernel(p: np.ndarray) -> np.ndarray:
    """The quantiles of the standard normal distribution."""
    q = 2 * np.minimum(p, 1 - p)
    # Winitzki's guess, good to 2e-3 also far in the tail, then three steps for erfc(z) = q.
    w = np.log(q) + np.log(2 - q)
    half = 2 / (pi * 0.147) + w / 2
    z = np.sqrt(np.maximum(np.sqrt(half * half - w / 0.147) - half, 0))
    for _ in range(3):
        z = _improve(z, np.where(z < 0.5, erf_kernel(z) - (1 - q), q - _gauss(z) * _scaled_tail(z)))
    z = np.where(q == 0, np.inf, np.sqrt(2) * z)
    return np.where(p < 0.5, -z, z)


@in_double
@in_blocks
def log_ndtr_kernel(x: np.ndarray) -> np.ndarray:
    """The logarithm of the standard normal distribution function, also far in the tail."""
    z = x * sqrt(0.5)
    return np.where(x < -1, np.log(_scaled_tail(np.abs(z)) / 2) - z * z, np.log1p(-erfc_kernel(z) / 2))


# --- records -------------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, x: b.erf(x),
    kernel=erf_kernel,
    result="float",
    grad={"input": lambda g, input: g * (2 / _ROOT_PI * (-(input * input)).exp())},
    inplace=True,
    out=True,
    aliases=("special.erf",),
    samples=samples.unary(),
)
def erf(input: Tensor):
    r"""Element-wise error function :math:`\frac{2}{\sqrt{\pi}} \int_0^x e^{-t^2} dt`.

    >>> import flambeau as torch
    >>> torch.erf(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.erf.html
    """
    refuse("erf_vml_cpu", input)
    return (input,), {}


@pointwise(
    kernel=erfc_kernel,
    result="float",
    grad={"input": lambda g, input: g * (-2 / _ROOT_PI * (-(input * input)).exp())},
    inplace=True,
    out=True,
    aliases=("special.erfc",),
    samples=samples.unary(),
)
def erfc(input: Tensor):
    r"""Element-wise complementary error function :math:`1 - \mathrm{erf}(x)`, accurate for large :math:`x`.

    >>> import flambeau as torch
    >>> torch.erfc(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.erfc.html
    """
    refuse("erfc_vml_cpu", input)
    return (input,), {}


@pointwise(
    kernel=erfcx_kernel,
    result="float",
    grad={"input": lambda g, out, input: g * (2 * input * out - 2 / _ROOT_PI)},
    out=True,
    name="special.erfcx",
    samples=samples.unary(),
)
def erfcx(input: Tensor):
    r"""Element-wise scaled complementary error function :math:`e^{x^2} \mathrm{erfc}(x)`.

    >>> import flambeau as torch
    >>> torch.special.erfcx(torch.tensor([0.0, 1.0, 100.0]))
    tensor([1.0000, 0.4276, 0.0056])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.erfcx
    """
    refuse("erfcx_cpu", input)
    return (input,), {}


@pointwise(
    kernel=erfinv_kernel,
    lower=lambda b, y: lower_erfinv(b, y, _INVERSE_CENTRE, _INVERSE_TAILS),
    result="float",
    grad={"input": lambda g, out: g * (_ROOT_PI / 2 * (out * out).exp())},
    inplace=True,
    out=True,
    aliases=("special.erfinv",),
    samples=samples.unary(-0.9, 0.9),
)
def erfinv(input: Tensor):
    """Element-wise inverse of :func:`erf`, on :math:`(-1, 1)`.

    >>> import flambeau as torch
    >>> torch.erfinv(torch.tensor([0.0, 0.8427, 1.0]))
    tensor([0.0000, 1.0000,    inf])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.erfinv.html
    """
    refuse("erfinv_vml_cpu", input)
    return (input,), {}


@pointwise(
    kernel=in_double(lambda x: erfc_kernel(x * -sqrt(0.5)) / 2),
    result="float",
    grad={"input": lambda g, input: g * ((input * input / -2).exp() / sqrt(2 * pi))},
    out=True,
    name="special.ndtr",
    samples=samples.unary(),
)
def ndtr(input: Tensor):
    r"""Element-wise distribution function of the standard normal distribution, :math:`\frac{1}{2} \mathrm{erfc}(-x / \sqrt{2})`.

    >>> import flambeau as torch
    >>> torch.special.ndtr(torch.tensor([0.0, 1.96]))
    tensor([0.5000, 0.9750])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.ndtr
    """
    refuse("ndtr_cpu", input)
    return (input,), {}


@pointwise(
    kernel=ndtri_kernel,
    result="float",
    grad={"input": lambda g, out: g * (sqrt(2 * pi) * (out * out / 2).exp())},
    out=True,
    name="special.ndtri",
    samples=samples.unary(0.1, 0.9),
)
def ndtri(input: Tensor):
    """Element-wise inverse of :func:`torch.special.ndtr`, on :math:`(0, 1)`.

    >>> import flambeau as torch
    >>> torch.special.ndtri(torch.tensor([0.5, 0.975]))
    tensor([0.0000, 1.9600])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.ndtri
    """
    refuse("ndtri_cpu", input)
    return (input,), {}


@pointwise(
    kernel=log_ndtr_kernel,
    result="float",
    grad={
        "input": lambda g, input: (
            g * (sqrt(2 / pi) / erfcx(input * -sqrt(0.5))).masked_fill((input < 0) & (input * input == np.inf), np.nan)
        )
    },
    out=True,
    name="special.log_ndtr",
    samples=samples.unary(),
)
def log_ndtr(input: Tensor):
    """Element-wise logarithm of :func:`torch.special.ndtr`, accurate also for large negative numbers.

    >>> import flambeau as torch
    >>> torch.special.log_ndtr(torch.tensor([0.0, -20.0]))
    tensor([  -0.6931, -203.9172])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.log_ndtr
    """
    refuse("log_ndtr_cpu", input)
    return (input,), {}
