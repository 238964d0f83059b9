"""The sizes that a model is exported for: those of its example, or all that its dims with names may have.

A plan is made for each of them, as the engine would make it for such a call; nothing is padded, and no bit differs. Machine code
they share.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from flambeau import ops
from flambeau.core import nests
from flambeau.export.dims import Dim, places
from flambeau.slim.recording import ExportError
from flambeau.tensor import Tensor

MOST = 1024
"""Sizes, or combinations of them, that a file may have plans for."""


def examples(names: list[str], args: tuple, kwargs: dict[str, Any], dynamic_shapes: Any) -> Iterator[tuple[tuple, dict[str, Any]]]:
    """Arguments of all sizes. ``names`` are those of the arguments, and ``dynamic_shapes`` says which dims have a name (see
    ``torch.export``)."""
    leaves, spec = nests.tree_flatten((args, kwargs))
    free = places(names, args, kwargs, dynamic_shapes)
    dims = [what for places_of in free for what in places_of.values()]
    for what in dims:
        if not isinstance(what, Dim) or what.max > 1 << 20:
            raise ExportError(f"{what} has no upper bound: a plan is made for each size, so write Dim('batch', min=1, max=32)")
    bounds = {what.__name__: range(max(what.min, 1), what.max + 1) for what in dims}
    count = 1
    for sizes in bounds.values():
        count *= len(sizes)
    if count > MOST:
        raise ExportError(f"{count} combinations of sizes ({', '.join(bounds)}): at most {MOST} can be exported")
    if not bounds:
        yield args, kwargs
        return
    for roots in product(*bounds.values()):
        chosen = dict(zip(bounds, roots))
        yield nests.tree_unflatten([_resized(x, places_of, chosen) for x, places_of in zip(leaves, free, strict=True)], spec)


def _resized(x: Any, places_of: dict[int, Dim], sizes: dict[str, int]) -> Any:
    """An argument of other sizes; what is in it does not matter."""
    if not isinstance(x, Tensor) or not places_of:
        return x
    shape = list(x.shape)
    for d, dim in places_of.items():
        shape[d] = dim.size(sizes[dim.__name__])
    return ops.zeros(shape, dtype=x.dtype)


def common(shapes: list[tuple[int, ...]]) -> list[int | None]:
    """The sizes that all shapes have, and ``None`` where they differ."""
    if len({len(shape) for shape in shapes}) != 1:
        raise ExportError("the model returns tensors of other numbers of dims for other sizes")
    return [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes)]
