"""Which nodes resize images, or take samples of them, and how."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from flambeau.core import dtypes
from flambeau.engine import grids
from flambeau.engine.cpu.specs import LONGEST, ResizeSpec, Taps
from flambeau.engine.pooling import native, planes_of
from flambeau.engine.sampling import taps_of

_MOST_TERMS = 32
"""Elements that a column is made of at most."""


@lru_cache(128)
def _taps(settings: tuple, size: int, back: bool) -> Taps:
    """What :func:`~flambeau.engine.sampling.taps_of` says; its transpose for the way ``back`` to so many elements."""
    taps, weights = taps_of(*settings)
    count, terms = taps.shape
    if not back:
        return Taps(np.arange(0, count * terms + 1, terms), taps.ravel(), weights.ravel())
    elements = taps.T.ravel()
    order = np.argsort(elements, kind="stable")
    starts = np.concatenate([[0], np.bincount(elements, minlength=size).cumsum()])
    return Taps(starts, np.tile(np.arange(count), terms)[order], weights.T.ravel()[order])


_ALONE = Taps(np.array([0, 1]), np.array([0]), np.array([1.0]))
"""The row of a sequence."""


def _resize(node, dtype, back: bool) -> ResizeSpec | None:
    (x,) = node.inputs
    kind, sizes, outputs, factors, align_corners, antialias = node.attrs.values()
    planes = planes_of(x, len(sizes))
    if planes is None or max(*sizes, *outputs) > LONGEST:
        return None
    precise = dtype is dtypes.float64 and not kind.startswith("nearest")
    each = [
        _taps((kind, n, m, factor, align_corners, antialias, precise), n, back)
        for n, m, factor in zip(sizes, outputs, factors, strict=True)
    ]
    if each[-1].counts.max() > _MOST_TERMS:
        return None
    given = outputs if back else sizes
    if len(each) == 1:
        each, given = [_ALONE, *each], (1, *given)
    apart = [
        0 if n == 1 else s for n, s in zip(given, planes[1][2:])
    ]  # of one element it may be anything, as after a slice with a huge step
    strides = planes[1][0], planes[1][1], apart[0], apart[1]
    return ResizeSpec(dtype, planes[0], tuple(given), strides, each[0], each[1])


def _kernel(spec: ResizeSpec) -> tuple[int, tuple[int, ...]]:
    from flambeau.engine.cpu.resizing import resize_kernel  # LLVM is loaded with the first plan

    return resize_kernel(spec)


FORMS = {
    "_upsample": partial(native, partial(_resize, back=False), _kernel),
    "_upsample_grad": partial(native, partial(_resize, back=True), _kernel),
    **grids.FORMS,
}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
