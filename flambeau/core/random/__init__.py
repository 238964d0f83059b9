"""PyTorch's CPU random streams: the same seed gives the same numbers, in the same order.

:class:`Generator` holds the stream (a Mersenne twister and one cached normal sample). The functions draw NumPy arrays
from it: ``uniform(generator, (2, 3))``. Several calls in a row consume exactly what PyTorch 2.13's CPU kernels consume,
so two programs that make the same calls stay in step.

Exactness. What needs only arithmetic is bit for bit PyTorch's: uniform values, integers, permutations, Bernoulli masks.
So are ``float32``, ``float16`` and ``bfloat16`` normals, whose logarithm and sine PyTorch computes by polynomials that
:mod:`.boxmuller` follows. Where PyTorch calls the C library in double precision (``float64`` normals, exponential,
Cauchy, log-normal), NumPy's functions may differ from it in the last place. Native kernels draw the same bits sooner, see
:mod:`.native`.

    >>> from flambeau.core.random import Generator, uniform
    >>> uniform(Generator().manual_seed(0), 3)
    array([0.4962566 , 0.7682218 , 0.08847743], dtype=float32)
"""

from .distributions import (
    bernoulli,
    cauchy,
    exponential,
    geometric,
    integers,
    log_normal,
    multinomial,
    normal,
    permutation,
    random,
    uniform,
)
from .generator import DEFAULT_SEED, Generator, default_generator
from .samplers import binomial, dirichlet, gamma, poisson

__all__ = [
    "DEFAULT_SEED", "Generator", "bernoulli", "binomial", "cauchy", "default_generator", "dirichlet", "exponential",
    "gamma", "geometric", "integers", "log_normal", "multinomial", "normal", "permutation", "poisson", "random", "uniform",
]  # fmt: skip
