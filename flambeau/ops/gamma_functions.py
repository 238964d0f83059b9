"""The gamma function's logarithm and its derivatives, the incomplete gamma functions, and the Hurwitz zeta function.

Large arguments are computed by their asymptotic series, others are brought there by recurrences.
Source of the formulas: NIST Digital Library of Mathematical Functions, chapters 5, 8 and 25, https://dlmf.nist.gov.
"""

from __future__ import annotations

from math import factorial, log, pi
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ops import layouts, samples
from flambeau.ops.numerics import in_blocks, in_double, polynomial
from flambeau.ops.ranges import arange
from flambeau.ops.record import ErrorSample, Sample, by_number, composite, pointwise
from flambeau.ops.refusals import no_derivative, refuse
from flambeau.ops.special_loops import lower_digamma, lower_lgamma

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
"""The Bernoulli numbers B2, B4, ..."""

_LARGE = 10.0
"""From here on the asymptotic series are accurate to float64's precision."""

_ZETA_DEGREE = tuple(b / factorial(2 * k) for k, b in enumerate(_BERNOULLI, 1))


@in_double
@in_blocks
def zeta_kernel(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    r""":math:`\sum_{k \ge 0} (q + k)^{-s}`: the first terms one by one, the rest by the Euler-Maclaurin formula.

    NaN for ``q`` below -1000, where there would be too many first terms. At the infinities what PyTorch's recurrence gives.
    """
    lowest = q == -np.inf
    q = np.where(q < -1000, np.nan, q)
    steps = int(_LARGE - np.floor(np.min(q, initial=0.0, where=q < 0)))
    total = np.zeros_like(q)
    for k in range(steps):
        total += (q + k) ** -s
    w = q + steps
    total += w ** (1 - s) / (s - 1) + w**-s / 2
    term = s * w ** (-s - 1)
    for k, c in enumerate(_ZETA_DEGREE):
        total += c * term
        term = term * (s + 2 * k + 1) / w * ((s + 2 * k + 2) / w)
    total = np.where(w == np.inf, np.nan, total)
    at_pole = np.where(np.floor(q) == q, np.inf, np.where(np.floor(s) == s, total, np.nan))
    return np.where(s == 1, np.inf, np.where(s < 1, np.nan, np.where(lowest, np.inf, np.where(q <= 0, at_pole, total))))


_EULER = 0.57721566490153286061
_orders = np.arange(2.0, 30.0)
# ln(Gamma(2 + z)) in powers of z, for |z| <= 1/2.
_NEAR_TWO = (0.0, 1 - _EULER, *((-1) ** _orders * zeta_kernel(_orders, np.full_like(_orders, 2.0)) / _orders).tolist())
_STIRLING = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1))


def _lgamma_of_positive(t):
    # Below _LARGE: t = n + 2 + z with |z| <= 1/2, and Gamma(t) = (t - 1) ... (2 + z) Gamma(2 + z).
    small = np.minimum(t, _LARGE)
    n = np.rint(small) - 2
    product = np.ones_like(t)
    for j in range(1, int(_LARGE) - 1):
        product = np.where(j <= n, product * (small - j), product)
    near = polynomial(_NEAR_TWO, small - (n + 2)) + np.log(product)
    steps_down = np.where(n == -1, np.log1p(small - 1), np.log(small) + np.log1p(small))
    near -= np.where(n < 0, steps_down, 0)
    large = np.maximum(t, _LARGE)
    far = large * (np.log(large) - 1) - np.log(large) / 2 + log(2 * pi) / 2
    far += polynomial(_STIRLING, 1 / (large * large)) / large
    return np.where(t < _LARGE, near, far)


@in_double
@in_blocks
def lgamma_kernel(x: np.ndarray) -> np.ndarray:
    r""":math:`\ln|\Gamma(x)|`."""
    positive = _lgamma_of_positive(np.abs(x))
    sine = np.abs(np.sin(pi * (x - np.rint(x))))
    reflected = np.where(np.abs(x) < 1e-150, -np.log(np.abs(x)), np.log(pi / (np.abs(x) * sine)) - positive)
    return np.where(np.isinf(x), np.inf, np.where(x < 0, np.where(sine == 0, np.inf, reflected), positive))


_DIGAMMA = tuple(b / (2 * k) for k, b in enumerate(_BERNOULLI, 1))


@in_double
@in_blocks
def digamma_kernel(x: np.ndarray) -> np.ndarray:
    r""":math:`\Gamma'(x) / \Gamma(x)`."""
    t = np.where(x < 0, 1 - x, x)
    below = np.zeros_like(t)
    for _ in range(int(_LARGE)):
        small = t < _LARGE
        below += np.where(small, 1 / t, 0)
        t = np.where(small, t + 1, t)
    square = 1 / (t * t)
    result = np.log(t) - 0.5 / t - square * polynomial(_DIGAMMA, square) - below
    fraction = x - np.trunc(x)
    reflected = result - pi / np.tan(pi * fraction)
    return np.where(x < 0, np.where(fraction == 0, np.nan, reflected), np.where(x == 0, np.copysign(np.inf, -x), result))


def _cotangent_derivative(n: int) -> tuple[float, ...]:
    """The derivative of order ``n`` of the cotangent, as a polynomial in the cotangent ``c``: each takes p to -(1 + c^2) p'."""
    p = [0.0, 1.0]
    for _ in range(n):
        slope = [k * a for k, a in enumerate(p)][1:]
        p = [-a - b for a, b in zip([*slope, 0.0, 0.0], [0.0, 0.0, *slope], strict=True)]
    return tuple(p)


def _trigamma_kernel(x):
    r""":math:`\psi'(x)`, for negative numbers from :math:`\psi'(1 - x) + \psi'(x) = (\pi / \sin \pi x)^2`.

    The sine is that of the rounded product, in the dtype at hand, so that integers give large numbers rather than infinity.
    """
    value = in_double(zeta_kernel)(np.full_like(x, 2.0), np.where(x < 0.5, 1 - x, x))
    reflected = np.square(x.dtype.type(pi) / np.sin(x.dtype.type(pi) * x)) - value
    return np.where(x < 0.5, reflected, np.where(x == np.inf, 0, value))


@in_double
def _polygamma_kernel(x, n):
    if n == 0:
        return digamma_kernel(x)
    sign = (-1) ** n
    value = -sign * float(factorial(n)) * zeta_kernel(np.full_like(x, n + 1.0), np.where((x < 0) & (x != -np.inf), 1 - x, x))
    cotangent = 1 / np.tan(pi * (x - np.trunc(x)))
    reflected = sign * value - pi ** (n + 1) * polynomial(_cotangent_derivative(n), cotangent)
    return np.where((x < 0) & (x != -np.inf), reflected, value)


def _incomplete(a, x):
    """The regularised lower and upper incomplete gamma functions of positive, finite ``a`` and ``x``."""
    front = np.exp(a * np.log(x) - x - lgamma_kernel(a))
    # The series of the lower one where x < a + 1, ...
    term = 1 / a
    total = term
    below = x < a + 1
    k = 0
    while np.any(below & (term > total * 1e-17)):
        k += 1
        term = np.where(below, term * x / (a + k), 0)
        total = total + term
    # ... elsewhere the continued fraction of the upper one, by the modified Lentz method.
    tiny = 1e-300
    b = x + 1 - a
    c = np.full_like(x, 1 / tiny)
    d = 1 / np.where(b == 0, tiny, b)
    fraction = d
    change = np.zeros_like(x)
    k = 0
    while np.any(~below & (np.abs(change - 1) > 1e-16)) and k < 10000:
        k += 1
        factor = -k * (k - a)
        b = b + 2
        d = factor * d + b
        d = 1 / np.where(np.abs(d) < tiny, tiny, d)
        c = b + factor / c
        c = np.where(np.abs(c) < tiny, tiny, c)
        change = c * d
        fraction = fraction * change
    lower = np.where(below, front * total, 1 - front * fraction)
    upper = np.where(below, 1 - front * total, front * fraction)
    return lower, upper


def _regularised(upper: bool):
    @in_double
    @in_blocks
    def kernel(a: np.ndarray, x: np.ndarray) -> np.ndarray:
        inside = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
        value = _incomplete(np.where(inside, a, 1.0), np.where(inside, x, 1.0))[upper]
        valid = (a >= 0) & (x >= 0) & ((a > 0) | (x > 0)) & ~((a == np.inf) & (x == np.inf))
        all_below = (a == 0) | (x == np.inf)
        edge = np.where(all_below, 0.0 if upper else 1.0, 1.0 if upper else 0.0)
        return np.where(inside, value, np.where(valid, edge, np.nan))

    return kernel


# --- records -------------------------------------------------------------------------------------------------


@pointwise(
    kernel=lgamma_kernel,
    lower=lambda b, x: lower_lgamma(b, x, _NEAR_TWO, _STIRLING, int(_LARGE)),
    result="float",
    grad={"input": lambda g, input: g * digamma(input)},
    inplace=True,
    out=True,
    aliases=("special.gammaln",),
    samples=samples.unary(0.5, 3.0),
)
def lgamma(input: Tensor):
    r"""Element-wise :math:`\ln|\Gamma(x)|`.

    >>> import flambeau as torch
    >>> torch.lgamma(torch.tensor([3.0, 4.0]))
    tensor([0.6931, 1.7918])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lgamma.html
    """
    refuse("lgamma_vml_cpu", input)
    return (input,), {}


@pointwise(
    kernel=digamma_kernel,
    lower=lambda b, x: lower_digamma(b, x, _DIGAMMA, int(_LARGE)),
    result="float",
    grad={"input": lambda g, input: g * polygamma(1, input)},
    inplace=True,
    out=True,
    aliases=("special.digamma", "special.psi"),
    samples=samples.unary(0.5, 3.0),
)
def digamma(input: Tensor):
    r"""Element-wise digamma function :math:`\psi(x) = \Gamma'(x) / \Gamma(x)`.

    >>> import flambeau as torch
    >>> torch.digamma(torch.tensor([1.0, 2.0]))
    tensor([-0.5772,  0.4228])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.digamma.html
    """
    refuse("digamma", input)
    return (input,), {}


@pointwise(
    kernel=lambda x, n: _trigamma_kernel(x) if n == 1 else _polygamma_kernel(x, n=n),
    result="float",
    grad={"input": lambda g, input, n: g * _polygamma(input, n + 1)},
    method=False,
    backward_name="PolygammaBackward0",
)
def _polygamma(input: Tensor, n):
    refuse("polygamma", input)
    return (input,), {"n": n}


@composite(
    out=True,
    method=False,
    aliases=("special.polygamma",),
    samples=lambda make: [Sample(n, make(3, low=0.5, high=3.0)) for n in (0, 1, 2, 4)],
    errors=lambda make: [ErrorSample(RuntimeError, "does not support negative n", -1, make(2))],
)
def polygamma(n: int, input: Tensor) -> Tensor:
    r"""Element-wise :math:`\psi^{(n)}(x)`, the derivative of order ``n`` of :func:`digamma`.

    Raises ``RuntimeError`` for a negative ``n``.

    >>> import flambeau as torch
    >>> torch.polygamma(1, torch.tensor([1.0]))
    tensor([1.6449])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.polygamma.html
    """
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, but got n = {n}.")
    return _polygamma(input, int(n))


@composite(name="Tensor.polygamma", inplace=True)
def _polygamma_method(input: Tensor, n: int):
    """See :func:`torch.polygamma`, whose arguments stand in the other order.

    >>> import flambeau as torch
    >>> torch.tensor([1.0]).polygamma(1)
    tensor([1.6449])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.polygamma.html
    """
    return polygamma(n, input)


@composite(
    layout=layouts.row_major,
    inplace=True,
    out=True,
    aliases=("special.multigammaln",),
    samples=samples.unary(2.0, 4.0, p=3),
    errors=lambda make: [ErrorSample(RuntimeError, "p has to be greater than or equal to 1", make(2), 0)],
)
def mvlgamma(input: Tensor, p: int) -> Tensor:
    r"""Element-wise logarithm of the multivariate gamma function of dimension ``p``.

    :math:`\frac{p (p - 1)}{4} \ln \pi + \sum_{j=1}^{p} \ln \Gamma(x - \frac{j - 1}{2})`.

    Raises ``RuntimeError`` for a ``p`` below 1.

    >>> import flambeau as torch
    >>> torch.mvlgamma(torch.tensor([3.0]), 2)
    tensor([1.5502])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mvlgamma.html
    """
    if p < 1:
        raise RuntimeError(f"p has to be greater than or equal to 1, but got {p}")
    halves = arange((1 - p) * 0.5, 0.5, 0.5, dtype=input.dtype if input.dtype.is_floating_point else None, device=input.device)
    return lgamma(input.unsqueeze(-1) + halves).sum(-1) + p * (p - 1) / 4 * log(pi)


@pointwise(
    overload=by_number(0, 1),
    kernel=zeta_kernel,
    tensors="input other",
    result="float",
    grad={"input": no_derivative("zeta"), "other": lambda g, input, other: g * -input * zeta(input + 1, other)},
    out=True,
    name="special.zeta",
    samples=lambda make: [
        Sample(make(3, low=1.5, high=4.0, requires_grad=False), make(3, low=0.5, high=3.0)),
        Sample(2.5, make(3, low=0.5, high=3.0)),
    ],
)
def zeta(input: Tensor | Number | complex, other: Tensor | Number | complex):
    r"""Element-wise Hurwitz zeta function :math:`\sum_{k=0}^{\infty} (other + k)^{-input}`.

    >>> import flambeau as torch
    >>> torch.special.zeta(torch.tensor([2.0]), torch.tensor([1.0]))
    tensor([1.6449])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.zeta
    """
    refuse("zeta", input, other)
    return (input, other), {}


def _density(g, input, other):
    """The derivative of the incomplete gamma function by its second argument."""
    return g * ((input - 1) * other.log() - other - lgamma(input)).exp()


def _gamma_pairs(make):
    def pair(*shape):
        return make(*shape, low=0.5, high=5.0, requires_grad=False), make(*shape, low=0.5, high=5.0)

    return [Sample(*pair(3, 4)), Sample(*pair(2)), Sample(*pair(0))]


@pointwise(
    kernel=_regularised(upper=False),
    tensors="input other",
    only="input other",
    result="float",
    grad={"input": no_derivative("igamma: input"), "other": _density},
    inplace=True,
    out=True,
    aliases=("special.gammainc",),
    samples=_gamma_pairs,
)
def igamma(input: Tensor, other: Tensor):
    r"""Element-wise lower incomplete gamma function :math:`\frac{1}{\Gamma(a)} \int_0^x t^{a-1} e^{-t} dt`.

    ``input`` is :math:`a`, ``other`` is :math:`x`.

    >>> import flambeau as torch
    >>> torch.igamma(torch.tensor([1.0]), torch.tensor([2.0]))  # 1 - exp(-2)
    tensor([0.8647])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.igamma.html
    """
    refuse("igamma", input, other)
    return (input, other), {}


@pointwise(
    kernel=_regularised(upper=True),
    tensors="input other",
    only="input other",
    result="float",
    grad={"input": no_derivative("igammac: input"), "other": lambda g, input, other: -_density(g, input, other)},
    inplace=True,
    out=True,
    aliases=("special.gammaincc",),
    samples=_gamma_pairs,
)
def igammac(input: Tensor, other: Tensor):
    r"""Element-wise upper incomplete gamma function :math:`\frac{1}{\Gamma(a)} \int_x^\infty t^{a-1} e^{-t} dt`.

    ``input`` is :math:`a`, ``other`` is :math:`x`.

    >>> import flambeau as torch
    >>> torch.igammac(torch.tensor([1.0]), torch.tensor([2.0]))  # exp(-2)
    tensor([0.1353])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.igammac.html
    """
    refuse("igammac", input, other)
    return (input, other), {}
