"""Sample arguments that many records share. See :class:`flambeau.ops.record.Sample` for what they are for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops.record import Sample


class Make:
    """Makes the tensors of samples: ``make(3, 4)``, ``make.index(n, 2)``, ``make.mask(3)``. The same each time."""

    def __init__(self, seed: int = 0, dtype: dtypes.dtype = dtypes.float64, requires_grad: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.requires_grad = requires_grad

    def __call__(self, *shape, dtype=None, low=None, high=None, requires_grad=None):
        """A tensor with values between ``low`` and ``high`` (-2 and 2); it requires a gradient where it can."""
        d = dtype or self.dtype
        low, high = (-2.0 if low is None else low), (2.0 if high is None else high)
        if d is dtypes.bool:
            return self.mask(*shape)
        if d.kind == dtypes.INTEGRAL:
            return dispatch.wrap(self.rng.integers(int(low), int(high) + 1, shape), d)
        values = self.rng.uniform(low, high, shape)
        if d.is_complex:
            values = values + 1j * self.rng.uniform(low, high, shape)
        t = dispatch.wrap(np.asarray(values).astype(d.np), d)
        return t.requires_grad_(self.requires_grad if requires_grad is None else requires_grad)

    def index(self, n: int, *shape, unique: bool = False):
        """int64 indices below ``n``."""
        values = self.rng.permutation(n)[: int(np.prod(shape))].reshape(shape) if unique else self.rng.integers(0, n, shape)
        return dispatch.wrap(np.asarray(values, np.int64))

    def mask(self, *shape):
        """Booleans, of both values where there is room for them."""
        values = np.asarray(self.rng.random(shape) < 0.5)
        if values.size > 1:
            values.reshape(-1)[:2] = True, False
        return dispatch.wrap(values)


def unary(low: float | None = None, high: float | None = None, **kwargs) -> Callable:
    """Samples for a function of one tensor: matrix, permuted, 0-dim and empty, with values in ``[low, high)``."""

    def samples(make) -> list[Sample]:
        return [
            Sample(make(3, 4, low=low, high=high), **kwargs),
            Sample(make(4, 3, low=low, high=high).t(), **kwargs),
            Sample(make(low=low, high=high), **kwargs),
            Sample(make(0, 3, low=low, high=high), **kwargs),
        ]

    return samples


def binary(low: float | None = None, high: float | None = None, number: float | None = 1.5, **kwargs) -> Callable:
    """Samples for a function of two tensors: equal shapes, both ways of broadcasting, 0-dim, empty, and a number."""

    def samples(make) -> list[Sample]:
        def m(*shape):
            return make(*shape, low=low, high=high)

        made = [
            Sample(m(3, 4), m(3, 4), **kwargs),
            Sample(m(4, 3).t(), m(4), **kwargs),
            Sample(m(4), m(3, 1), **kwargs),
            Sample(m(2, 3), m(), **kwargs),
            Sample(m(0, 3), m(3), **kwargs),
        ]
        if number is not None:
            made.append(Sample(m(3, 4), number, **kwargs))
        return made

    return samples
