"""Which nodes take samples of images at the places of a grid, and how their operands lie in memory."""

from __future__ import annotations

from functools import partial
from math import prod

from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.specs import GridSpec
from flambeau.engine.grouping import Ref
from flambeau.engine.natives import RESULT, Native

_LARGEST = 1 << 30
"""Elements of an image, or places, that kernels can count."""


def _along(ref: Ref, dims: range) -> int | None:
    """The stride of ``dims`` as one; ``None`` where they cannot be walked so."""
    walked = [(ref.shape[d], ref.strides[d]) for d in dims if ref.shape[d] != 1]
    for (_, outer), (n, inner) in zip(walked, walked[1:]):
        if outer != n * inner:
            return None
    return walked[-1][1] if walked else 0


def _sampled(part: str, node) -> Native | None:
    refs, a = list(node.inputs), node.attrs
    dtype = node.dtype
    if dtype not in (dtypes.float32, dtypes.float64) or 0 in node.shape or any(0 in r.shape or r.dtype is not dtype for r in refs):
        return None
    grid = refs[-1]
    dims = grid.shape[-1]
    image, g = {"sample": (refs[0], None), "scatter": (None, refs[0]), "slopes": (refs[1], refs[0])}[part]
    sizes = a["sizes"] if image is None else image.shape[2:]
    places, among = _along(grid, range(1, dims + 1)), range(2, dims + 2)
    across = 0 if g is None else _along(g, among)
    if places is None or across is None or max(prod(sizes), prod(grid.shape)) > _LARGEST:
        return None
    channels = node.shape[1] if image is None else image.shape[1]
    strides = (0, 0, *contiguous_strides(sizes)) if image is None else image.strides
    if sum(abs(s) * (n - 1) for n, s in zip(sizes, strides[2:], strict=True)) > _LARGEST:
        return None
    spec = GridSpec(
        part, dtype, a.get("mode") == "nearest", a["padding_mode"], a["align_corners"], grid.shape[0], channels, tuple(sizes),
        prod(grid.shape[1:-1]), strides, (grid.strides[0], places, grid.strides[-1]), (0, 0, 0) if g is None else (*g.strides[:2], across),
    )  # fmt: skip
    return Native(_kernel, spec, (*refs, RESULT))


def _kernel(spec: GridSpec) -> tuple[int, tuple[int, ...]]:
    from flambeau.engine.cpu.grids import grid_kernel  # LLVM is loaded with the first plan

    return grid_kernel(spec)


FORMS = {
    "_grid_sample": partial(_sampled, "sample"),
    "_grid_scatter": partial(_sampled, "scatter"),
    "_grid_slopes": partial(_sampled, "slopes"),
}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
