"""Distributions drawn by rejection: how many random words a sample takes depends on the words, so one by one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .distributions import DIGITS, DOUBLE, FLOAT, shaped, unsupported
from .generator import Generator


class _Serial:
    """The generator's uniform and normal ``float64`` samples one at a time. On leaving, unused ones are given back."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._block = 16

    def __enter__(self) -> _Serial:
        self._values: list[float] = []
        self._used = 0
        return self

    def uniform(self) -> float:
        if self._used == len(self._values):
            self._before = self._generator._state()
            self._values = self._generator.doubles(self._block).tolist()
            self._block = min(2 * self._block, 4096)
            self._used = 0
        self._used += 1
        return self._values[self._used - 1]

    def normal(self) -> float:
        generator = self._generator
        if generator.next_normal is not None:
            sample, generator.next_normal = generator.next_normal, None
            return sample
        angle, v = 2 * math.pi * self.uniform(), self.uniform()
        radius = math.sqrt(-2 * math.log1p(-v))
        generator.next_normal = radius * math.sin(angle)
        return radius * math.cos(angle)

    def __exit__(self, *exc: object) -> None:
        if self._used < len(self._values):
            kept = self._generator.next_normal
            self._generator.set_state(self._before)
            self._generator.doubles(self._used)
            self._generator.next_normal = kept


def _draw(kernel: str, generator: Generator, sample: Callable, dtype: np.dtype, *parameters: np.ndarray) -> np.ndarray:
    if dtype not in DIGITS:
        raise unsupported(kernel, dtype)
    parameters = np.broadcast_arrays(*parameters)
    with _Serial(generator) as source:
        values = [sample(source, *row) for row in zip(*(p.ravel().tolist() for p in parameters), strict=True)]
    return shaped(np.array(values, np.float64), parameters[0].shape, dtype)


def poisson(generator: Generator, rate: np.ndarray) -> np.ndarray:
    """Samples of the Poisson distribution with the given rates, of their shape and dtype.

    Products of uniform numbers below a rate of 10; from there W. Hoermann's transformed rejection "PTRS" (*Insurance:
    Mathematics and Economics* 12, 1993).
    """
    return _draw("poisson_cpu", generator, _poisson, rate.dtype, rate)


def _poisson(source: _Serial, rate: float) -> int:
    if not rate >= 0:
        raise RuntimeError(f"invalid Poisson rate, expected rate to be non-negative, got {rate}")
    if rate == 0:
        return 0
    if rate < 10:
        limit = math.exp(-rate)
        count, product = 0, source.uniform()
        while product > limit:
            count += 1
            product *= source.uniform()
        return count
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    log_inverse_alpha = math.log(1.1239 + 1.1328 / (b - 3.4))
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = source.uniform() - 0.5, source.uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue  # the tail of infinite length
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        accept = -rate + k * log_rate - math.lgamma(k + 1)
        if v == 0 or math.log(v) + log_inverse_alpha - math.log(a / (us * us) + b) <= accept:
            return k


def gamma(generator: Generator, alpha: np.ndarray) -> np.ndarray:
    """Samples of the gamma distribution of shape ``alpha`` and scale 1, of its shape and dtype.

    The rejection method of G. Marsaglia and W. W. Tsang (ACM TOMS 26, 2000).
    """
    if alpha.dtype not in (FLOAT, DOUBLE):
        raise unsupported("gamma_cpu", alpha.dtype)
    tiny = float(np.finfo(alpha.dtype).tiny)
    real = alpha.dtype.type
    return _draw("gamma_cpu", generator, lambda source, a: max(tiny, _gamma(source, a, real)), alpha.dtype, alpha)


# PyTorch writes these as float32 constants, in float64 formulas too.
_THIRD, _SQUEEZE = np.float32(1) / np.float32(3), float(np.float32(0.0331))


def _gamma(source: _Serial, alpha: float, real: type) -> float:
    if alpha == 0:
        return 0.0
    scale = 1.0
    if alpha < 1:
        scale = (1 - source.uniform()) ** float(real(1) / real(alpha))
        alpha = float(real(alpha) + real(1))
    d = float(real(alpha) - real(_THIRD))
    c = 1 / math.sqrt(9 * d) if d > 0 else math.nan
    while True:
        y = 0.0
        while not y > 0:
            x = source.normal()
            y = 1 + c * x
            if y != y:
                return y
        v = y * y * y
        u = 1 - source.uniform()
        xx = x * x
        if u < 1 - _SQUEEZE * xx * xx or math.log(u) < 0.5 * xx + d * (1 - v + math.log(v)):
            return scale * d * v


def dirichlet(generator: Generator, alpha: np.ndarray) -> np.ndarray:
    """Samples of the Dirichlet distribution: gamma samples, in ``float64``, divided by their sum over the last dimension."""
    samples = gamma(generator, alpha.astype(np.float64))
    info = np.finfo(alpha.dtype)
    ratios: np.ndarray = (samples / samples.sum(-1, keepdims=True)).astype(alpha.dtype)
    return ratios.clip(info.tiny, alpha.dtype.type(1) - info.eps)


def binomial(generator: Generator, count: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """How many of ``count`` trials with chance ``prob`` succeed, of the dtype of ``count``.

    Sums of geometric samples for a mean below 10; from there W. Hoermann's transformed rejection "BTRS" (*Journal of
    Statistical Computation and Simulation* 46, 1993).
    """
    if count.dtype not in (FLOAT, DOUBLE):
        raise unsupported("binomial_cpu", count.dtype)
    real = count.dtype.type
    return _draw("binomial_cpu", generator, lambda source, n, p: _binomial(source, n, p, real), count.dtype, count, prob)


def _binomial(source: _Serial, count: float, prob: float, real: type) -> float:
    if count <= 0 or prob <= 0:
        return 0.0
    if prob >= 1:
        return count
    if prob != prob:
        return math.nan
    if prob > 0.5:
        return count - _below_half(source, count, float(real(1 - prob)), real)
    return _below_half(source, count, prob, real)


def _below_half(source: _Serial, count: float, prob: float, real: type) -> float:
    if float(real(count) * real(prob)) < 10:
        successes, total, log_failure = 0, 0.0, float(np.log1p(real(-prob)))
        while True:
            u = source.uniform()
            total += math.ceil(math.log(u) / log_failure) if u > 0 else math.inf
            if total > count:
                return float(successes)
            successes += 1
    deviation = math.sqrt(real(count) * real(prob) * (real(1) - real(prob)))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c = float(real(count) * real(prob)) + 0.5
    v_r = 0.92 - 4.2 / b
    r = float(real(prob) / (real(1) - real(prob)))
    alpha = (2.83 + 5.1 / b) * deviation
    m = math.floor((real(count) + real(1)) * real(prob))
    while True:
        u, v = source.uniform() - 0.5, source.uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        k = float(real(math.floor((2 * a / us + b) * u + c)))
        if k < 0 or k > count:
            continue
        if us >= 0.07 and v <= v_r:
            return k
        bound = (
            (m + 0.5) * math.log((m + 1) / (r * (count - m + 1)))
            + (count + 1) * math.log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * math.log(r * (count - k + 1) / (k + 1))
            + _stirling_tail(m)
            + _stirling_tail(count - m)
            - _stirling_tail(k)
            - _stirling_tail(count - k)
        )
        if v == 0 or math.log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


def _stirling_tail(k: float) -> float:
    """``log k!`` less its Stirling approximation."""
    if k < 10:
        return math.lgamma(k + 1) - ((k + 0.5) * math.log(k + 1) - (k + 1) + 0.5 * math.log(2 * math.pi))
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)
