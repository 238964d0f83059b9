r"""Orthogonal polynomials of a degree given for each element, by their three-term recurrences.

Source of the formulas: NIST Digital Library of Mathematical Functions, 18.9, https://dlmf.nist.gov/18.9
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ops.numerics import in_double
from flambeau.ops.record import Sample, pointwise
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor


def _by_recurrence(first: Callable, step: Callable, shifted: bool = False) -> Callable:
    r"""The kernel of :math:`p_0 = 1`, :math:`p_1 = first(x)`, :math:`p_k = step(k, x, p_{k-1}, p_{k-2})`."""

    @in_double
    def kernel(x, n):
        x, n = np.broadcast_arrays(np.asarray(x, np.float64), np.trunc(n))
        if shifted:
            x = 2 * x - 1
        last, current = np.ones_like(x), first(x)
        result = np.where(n == 0, 1.0, np.where(n < 0, 0.0, current))
        for k in range(2, int(np.max(n, initial=1, where=np.isfinite(n))) + 1):
            last, current = current, step(k, x, current, last)
            result = np.where(n == k, current, result)
        return result

    return kernel


def _chebyshev(k, x, p, q):
    return 2 * x * p - q


_SAMPLES: dict[str, Any] = {
    "tensors": "input n",
    "result": "float",
    "out": True,
    "samples": lambda make: [
        Sample(make(3, 4, requires_grad=False), make.index(9, 4)),
        Sample(make(3, requires_grad=False), 3),
        Sample(0.5, make.index(9, 4)),
    ],
}


@pointwise(kernel=_by_recurrence(lambda x: x, _chebyshev), name="special.chebyshev_polynomial_t", **_SAMPLES)
def chebyshev_polynomial_t(input: Tensor | Number | complex, n: Tensor | Number | complex):
    r"""Element-wise Chebyshev polynomial of the first kind :math:`T_n(x) = \cos(n \arccos x)`; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.chebyshev_polynomial_t(torch.tensor([0.5, 2.0]), 2)  # 2 x^2 - 1
    tensor([-0.5000,  7.0000])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.chebyshev_polynomial_t
    """
    refuse("chebyshev_polynomial_t_cpu", input, n)
    return (input, n), {}


@pointwise(kernel=_by_recurrence(lambda x: 2 * x, _chebyshev), name="special.chebyshev_polynomial_u", **_SAMPLES)
def chebyshev_polynomial_u(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Chebyshev polynomial of the second kind; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.chebyshev_polynomial_u(torch.tensor([0.5, 2.0]), 2)  # 4 x^2 - 1
    tensor([ 0., 15.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.chebyshev_polynomial_u
    """
    refuse("chebyshev_polynomial_u_cpu", input, n)
    return (input, n), {}


@pointwise(kernel=_by_recurrence(lambda x: 2 * x - 1, _chebyshev), name="special.chebyshev_polynomial_v", **_SAMPLES)
def chebyshev_polynomial_v(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Chebyshev polynomial of the third kind; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.chebyshev_polynomial_v(torch.tensor([0.5, 2.0]), 1)  # 2 x - 1
    tensor([0., 3.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.chebyshev_polynomial_v
    """
    refuse("chebyshev_polynomial_v_cpu", input, n)
    return (input, n), {}


@pointwise(kernel=_by_recurrence(lambda x: 2 * x + 1, _chebyshev), name="special.chebyshev_polynomial_w", **_SAMPLES)
def chebyshev_polynomial_w(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Chebyshev polynomial of the fourth kind; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.chebyshev_polynomial_w(torch.tensor([0.5, 2.0]), 1)  # 2 x + 1
    tensor([2., 5.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.chebyshev_polynomial_w
    """
    refuse("chebyshev_polynomial_w_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: x, _chebyshev, shifted=True), name="special.shifted_chebyshev_polynomial_t", **_SAMPLES
)  # fmt: skip
def shifted_chebyshev_polynomial_t(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Chebyshev polynomial of the first kind of :math:`2x - 1`; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.shifted_chebyshev_polynomial_t(torch.tensor([0.5, 2.0]), 1)
    tensor([0., 3.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.shifted_chebyshev_polynomial_t
    """
    refuse("shifted_chebyshev_polynomial_t_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: 2 * x, _chebyshev, shifted=True), name="special.shifted_chebyshev_polynomial_u",
    **_SAMPLES,
)  # fmt: skip
def shifted_chebyshev_polynomial_u(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Chebyshev polynomial of the second kind of :math:`2x - 1`; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.shifted_chebyshev_polynomial_u(torch.tensor([0.5, 2.0]), 1)
    tensor([0., 6.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.shifted_chebyshev_polynomial_u
    """
    refuse("shifted_chebyshev_polynomial_u_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: 2 * x - 1, _chebyshev, shifted=True), name="special.shifted_chebyshev_polynomial_v",
    **_SAMPLES,
)  # fmt: skip
def shifted_chebyshev_polynomial_v(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Chebyshev polynomial of the third kind of :math:`2x - 1`; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.shifted_chebyshev_polynomial_v(torch.tensor([0.5, 2.0]), 1)
    tensor([-1.,  5.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.shifted_chebyshev_polynomial_v
    """
    refuse("shifted_chebyshev_polynomial_v_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: 2 * x + 1, _chebyshev, shifted=True), name="special.shifted_chebyshev_polynomial_w",
    **_SAMPLES,
)  # fmt: skip
def shifted_chebyshev_polynomial_w(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Chebyshev polynomial of the fourth kind of :math:`2x - 1`; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.shifted_chebyshev_polynomial_w(torch.tensor([0.5, 2.0]), 1)
    tensor([1., 7.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.shifted_chebyshev_polynomial_w
    """
    refuse("shifted_chebyshev_polynomial_w_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: 2 * x, lambda k, x, p, q: 2 * x * p - 2 * (k - 1) * q),
    name="special.hermite_polynomial_h", **_SAMPLES,
)  # fmt: skip
def hermite_polynomial_h(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise physicist's Hermite polynomial; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.hermite_polynomial_h(torch.tensor([0.5, 2.0]), 2)  # 4 x^2 - 2
    tensor([-1., 14.])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.hermite_polynomial_h
    """
    refuse("hermite_polynomial_h_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: x, lambda k, x, p, q: x * p - (k - 1) * q), name="special.hermite_polynomial_he",
    **_SAMPLES,
)  # fmt: skip
def hermite_polynomial_he(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise probabilist's Hermite polynomial; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.hermite_polynomial_he(torch.tensor([0.5, 2.0]), 2)  # x^2 - 1
    tensor([-0.7500,  3.0000])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.hermite_polynomial_he
    """
    refuse("hermite_polynomial_he_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: 1 - x, lambda k, x, p, q: ((2 * k - 1 - x) * p - (k - 1) * q) / k),
    name="special.laguerre_polynomial_l", **_SAMPLES,
)  # fmt: skip
def laguerre_polynomial_l(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Laguerre polynomial; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.laguerre_polynomial_l(torch.tensor([0.5, 2.0]), 1)  # 1 - x
    tensor([ 0.5000, -1.0000])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.laguerre_polynomial_l
    """
    refuse("laguerre_polynomial_l_cpu", input, n)
    return (input, n), {}


@pointwise(
    kernel=_by_recurrence(lambda x: x, lambda k, x, p, q: ((2 * k - 1) * x * p - (k - 1) * q) / k),
    name="special.legendre_polynomial_p", **_SAMPLES,
)  # fmt: skip
def legendre_polynomial_p(input: Tensor | Number | complex, n: Tensor | Number | complex):
    """Element-wise Legendre polynomial; 0 for negative ``n``.

    >>> import flambeau as torch
    >>> torch.special.legendre_polynomial_p(torch.tensor([0.5, 2.0]), 2)  # (3 x^2 - 1) / 2
    tensor([-0.1250,  5.5000])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.legendre_polynomial_p
    """
    refuse("legendre_polynomial_p_cpu", input, n)
    return (input, n), {}
