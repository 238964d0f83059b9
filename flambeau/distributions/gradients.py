r"""Samples of the gamma and Dirichlet distributions through which gradients flow.

The sampler rejects, so its own steps have no gradient. Instead the sample is differentiated as the quantile that it is:
:math:`\frac{dx}{da} = -\frac{\partial F(x; a)}{\partial a} / p(x; a)`, where for the gamma and the beta distribution

.. math:: \frac{\partial F}{\partial a} = \int^x p(t; a)\,(\ln t - E[\ln t])\,dt

Source: Figurnov, Mohamed and Mnih (2018), "Implicit Reparameterization Gradients".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flambeau.autograd.function import Function, once_differentiable
from flambeau.core import random as streams
from flambeau.core.random import default_generator
from flambeau.dispatch import wrap
from flambeau.ops.gamma_functions import digamma_kernel

__all__ = ["sample_dirichlet", "standard_gamma"]

_PANELS, _NEGLIGIBLE = 64, 38.0  # e^-38 is below a float64's resolution
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_NODES = ((np.arange(_PANELS)[:, None] + (_POINTS + 1) / 2) / _PANELS).ravel()
_NODE_WEIGHTS = np.tile(_WEIGHTS / 2 / _PANELS, _PANELS)


def _shift(log_weight: Callable, log_t: Callable, mean: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The derivative of the quantile in the coordinate ``v``, divided by ``t``.

    ``log_weight`` is the concave logarithm of the density in ``v`` but for a constant, ``log_t`` increasing. The integrand
    changes its sign where ``log_t`` is ``mean``, and the integral over everything is 0: on the side of ``v`` where the
    sign stays the same nothing cancels.
    """
    side = np.where(log_t(v) < mean, -1.0, 1.0)
    here = log_weight(v)
    reach = np.full_like(v, 1e-6)
    for _ in range(64):
        near = here - log_weight(v + side * reach) < _NEGLIGIBLE
        if not near.any():
            break
        reach = np.where(near, 2 * reach, reach)
    at = v + side * reach * _NODES[:, None]
    integrand = np.exp(log_weight(at) - here) * (log_t(at) - mean)
    return side * reach * (_NODE_WEIGHTS @ integrand)


def _by_pieces(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    """``function`` of the flattened arrays, a few thousand elements at a time."""
    flat = [np.asarray(a, np.float64).ravel() for a in np.broadcast_arrays(*arrays)]
    with np.errstate(all="ignore"):
        pieces = [function(*(a[i : i + 4096] for a in flat)) for i in range(0, flat[0].size, 4096)]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return np.concatenate(pieces).reshape(shape) if pieces else np.empty(shape)


def gamma_gradient(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """dx/da of a sample x of the gamma distribution with concentration a."""

    def gradient(x, a):
        return x * _shift(lambda v: a * v - np.exp(v), lambda v: v, digamma_kernel(a), np.log(x))

    return _by_pieces(gradient, x, a)


def dirichlet_gradient(x: np.ndarray, a: np.ndarray, total: np.ndarray) -> np.ndarray:
    """dx/da / (1 - x) of a sample x of the beta distribution with concentrations a and total - a."""

    def gradient(x, a, total):
        x = np.clip(x, 1e-300, 1 - 1e-16)

        def log_t(v):
            return -np.logaddexp(0, -v)

        def log_weight(v):
            return a * log_t(v) + (total - a) * -np.logaddexp(0, v)

        return x * _shift(log_weight, log_t, digamma_kernel(a) - digamma_kernel(total), np.log(x) - np.log1p(-x))

    return _by_pieces(gradient, x, a, total)


class _StandardGamma(Function):
    @staticmethod
    def forward(ctx, concentration):
        x = wrap(streams.gamma(default_generator, concentration.detach().numpy()))
        ctx.save_for_backward(concentration, x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        a, x = ctx.saved_tensors
        x, a = x.detach().numpy(), a.detach().numpy()
        slope = gamma_gradient(np.maximum(x, np.finfo(x.dtype).tiny), a)
        return g * wrap(slope.astype(x.dtype))


class _SampleDirichlet(Function):
    @staticmethod
    def forward(ctx, concentration):
        x = wrap(streams.dirichlet(default_generator, concentration.detach().numpy()))
        ctx.save_for_backward(concentration, x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        a, x = ctx.saved_tensors
        values, a = x.detach().numpy(), a.detach().numpy()
        slope = dirichlet_gradient(values, a, a.sum(-1, keepdims=True))
        return wrap(slope.astype(values.dtype)) * (g - (x * g).sum(-1, True))


def standard_gamma(concentration):
    """Samples of the gamma distribution with rate 1."""
    return _StandardGamma.apply(concentration)


def sample_dirichlet(concentration):
    """Samples of the Dirichlet distribution with the given concentrations in the last dimension."""
    return _SampleDirichlet.apply(concentration)


def _sample_dirichlet(input, generator=None):
    """Samples of the Dirichlet distribution, under the name that programs have found in ``torch``."""
    if generator is not None:
        raise NotImplementedError("torch._sample_dirichlet: only the default generator is used")
    return sample_dirichlet(input)
