r"""The Airy function Ai.

Near zero by its power series. Elsewhere by the integral, with :math:`\zeta = \frac{2}{3} z^{3/2}`,

.. math:: \mathrm{Ai}(z) = \frac{e^{-\zeta}}{\sqrt{\pi}\, 48^{1/6}\, \Gamma(5/6)\, \zeta^{1/6}} \int_0^\infty (2 + t /
\zeta)^{-1/6} t^{-1/6} e^{-t} dt,

whose weight is that of Gauss-Laguerre quadrature, and for negative arguments from its values at complex ones: twice the real part
of :math:`e^{i \pi / 3} \mathrm{Ai}(|x| e^{i \pi / 3})`.

Source: Gil, Segura and Temme, "On nonoscillating integrals for computing inhomogeneous Airy functions" and "Computing complex Airy
functions by numerical quadrature", 2002; https://dlmf.nist.gov/9.4, https://dlmf.nist.gov/9.17
"""

from __future__ import annotations

from functools import cache
from math import gamma, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ops.numerics import in_double
from flambeau.ops.record import Sample, pointwise
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

_NODES, _POWER = 40, -1 / 6
_NEAR = 1.5
"""Up to here the power series is used: below the quadrature's error is small."""
_VANISHED = 103.892
"""From here on the value is below the smallest number."""


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for ``t ** _POWER * exp(-t)``: eigenvalues and first components of the recurrence's matrix."""
    k = np.arange(_NODES)
    off = np.sqrt(k[1:] * (k[1:] + _POWER))
    nodes, vectors = np.linalg.eigh(np.diag(2 * k + 1 + _POWER) + np.diag(off, 1) + np.diag(off, -1))
    return nodes, gamma(1 + _POWER) * vectors[0] ** 2


def _series(x: np.ndarray) -> np.ndarray:
    cube = x * x * x
    first, second = np.ones_like(x), x.copy()
    totals = [first.copy(), second.copy()]
    for k in range(1, 12):
        first *= cube / ((3 * k - 1) * (3 * k))
        second *= cube / (3 * k * (3 * k + 1))
        totals[0] += first
        totals[1] += second
    return totals[0] / (3 ** (2 / 3) * gamma(2 / 3)) - totals[1] / (3 ** (1 / 3) * gamma(1 / 3))


def _integral(z: np.ndarray) -> np.ndarray:
    nodes, weights = _quadrature()
    zeta = 2 / 3 * z * np.sqrt(z)
    total = sum(w * (2 + t / zeta) ** _POWER for t, w in zip(nodes, weights, strict=True))
    return np.exp(-zeta) / (sqrt(pi) * 48 ** (1 / 6) * gamma(5 / 6) * zeta ** (1 / 6)) * total


@in_double
def _kernel(x):
    size = np.abs(x)
    out = np.where(size <= _NEAR, _series(np.clip(x, -_NEAR, _NEAR)), np.nan)
    right, left = (x > _NEAR) & (x < np.inf), (x < -_NEAR) & (x > -np.inf)
    out[right] = np.where(x[right] > _VANISHED, 0, _integral(np.minimum(x[right], _VANISHED)))
    turn = np.exp(1j * pi / 3)
    out[left] = 2 * (turn * _integral(size[left] * turn)).real
    return out


@pointwise(
    kernel=_kernel,
    result="float",
    out=True,
    name="special.airy_ai",
    samples=lambda make: [Sample(make(3, 4, low=-5.0, high=5.0, requires_grad=False))],
)
def airy_ai(input: Tensor):
    """Element-wise Airy function Ai; it has no gradient.

    >>> import flambeau as torch
    >>> torch.special.airy_ai(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([0.2274, 0.3550, 0.0349])

    Source: https://docs.pytorch.org/docs/stable/special.html
    """
    refuse("airy_ai_cpu", input)
    return (input,), {}
