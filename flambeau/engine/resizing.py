"""Which nodes resize images, and how."""

from __future__ import annotations

from functools import partial

from flambeau.core import dtypes
from flambeau.engine.cpu.specs import ResizeSpec, Weights
from flambeau.engine.pooling import native, planes_of
from flambeau.engine.sampling import taps_of

_LONGEST = 1 << 12
"""Columns that a kernel takes: it has a row on the stack."""

_MOST_TERMS = 32
"""Elements that a column is made of at most."""


def _weights(settings: tuple, size: int, back: bool) -> Weights:
    """What :func:`~flambeau.engine.sampling.taps_of` says; its transpose for the way ``back`` to so many elements."""
    taps, weights = (a.tolist() for a in taps_of(*settings))
    if not back:
        return tuple([tuple(zip(t, w, strict=True)) for t, w in zip(taps, weights, strict=True)])
    found: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for k in range(len(taps[0])):
        for i, (t, w) in enumerate(zip(taps, weights, strict=True)):
            found[t[k]].append((i, w[k]))
    return tuple(map(tuple, found))


def _resize(node, dtype, back: bool) -> ResizeSpec | None:
    (x,) = node.inputs
    kind, sizes, outputs, factors, align_corners, antialias = node.attrs.values()
    planes = planes_of(x, len(sizes))
    if planes is None or max(*sizes, *outputs) > _LONGEST:
        return None
    precise = dtype is dtypes.float64 and not kind.startswith("nearest")
    each = [
        _weights((kind, n, m, factor, align_corners, antialias, precise), n, back)
        for n, m, factor in zip(sizes, outputs, factors, strict=True)
    ]
    if max(map(len, each[-1])) > _MOST_TERMS:
        return None
    given = outputs if back else sizes
    if len(each) == 1:
        each, given = [(((0, 1.0),),), *each], (1, *given)
    return ResizeSpec(dtype, planes[0], tuple(given), planes[1], each[0], each[1])


def _kernel(spec: ResizeSpec) -> int:
    from flambeau.engine.cpu.resizing import resize_kernel  # LLVM is loaded with the first plan

    return resize_kernel(spec)


FORMS = {
    "_upsample": partial(native, partial(_resize, back=False), _kernel),
    "_upsample_grad": partial(native, partial(_resize, back=True), _kernel),
}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
