"""Sample arguments that many records share. See :class:`flambeau.ops.record.Sample` for what they are for."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.ops.record import Sample


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
