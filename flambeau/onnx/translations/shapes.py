"""Shapes, parts, and tensors joined: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.onnx.translations.registry import translates


@translates("view", "reshape", "unflatten", "view_as", "reshape_as", "flatten")
def _reshape(w: Any, x: Any, *rest: Any) -> Any:
    return w.to_shape_of_result(x)


@translates("unsqueeze")
def _unsqueeze(w: Any, x: Any, dim: int) -> Any:
    return w.op("Unsqueeze", x, w.ints([dim]))


@translates("squeeze")
def _squeeze(w: Any, x: Any, dim: Any = None) -> Any:
    dims = [
        i
        for i in ([dim] if isinstance(dim, int) else dim if dim is not None else range(len(x.shape)))
        if x.shape and x.shape[i] == 1
    ]
    return w.op("Squeeze", x, w.ints(dims)) if dims else x


@translates("permute")
def _permute(w: Any, x: Any, dims: Sequence[int]) -> Any:
    return w.op("Transpose", x, perm=[d % len(dims) for d in dims])


@translates("transpose", "swapaxes", "t")
def _transpose(w: Any, x: Any, a: int = 0, b: int = 1) -> Any:
    order = list(range(len(x.shape)))
    order[a], order[b] = order[b], order[a]
    return w.op("Transpose", x, perm=order)


@translates("expand", "expand_as", "broadcast_to")
def _expand(w: Any, x: Any, *rest: Any) -> Any:
    return w.op("Expand", x, w.ints(w.sizes()))


@translates("repeat")
def _repeat(w: Any, x: Any, repeats: Sequence[Any]) -> Any:
    leading = list(range(len(repeats) - len(x.shape)))
    return w.op("Tile", w.op("Unsqueeze", x, w.ints(leading)) if leading else x, w.ints(repeats))


@translates("cat", "concat")
def _cat(w: Any, tensors: Sequence, dim: int = 0) -> Any:
    tensors = [w.cast(t, w.result.dtype) for t in tensors if t.shape != [0] or len(w.result.shape) == 1]
    return w.op("Concat", *tensors, axis=dim)


@translates("stack")
def _stack(w: Any, tensors: Sequence, dim: int = 0) -> Any:
    at = w.ints([dim])
    return w.op("Concat", *[w.op("Unsqueeze", w.cast(t, w.result.dtype), at) for t in tensors], axis=dim)


@translates("split", "chunk", "split_with_sizes", "_split_evenly", "unbind", "tensor_split")
def _split(w: Any, x: Any, *rest: Any) -> Any:
    dim = (rest[0] if rest else 0) if w.name == "unbind" else rest[1] if len(rest) > 1 else 0
    sizes = [1] * len(w.results) if w.name == "unbind" else [w.size(r.shape[dim]) for r in w.results]
    parts = w.op("Split", x, w.ints(sizes), axis=dim, outputs=len(sizes))
    parts = parts if isinstance(parts, tuple) else (parts,)
    return tuple([w.op("Squeeze", p, w.ints([dim])) for p in parts]) if w.name == "unbind" else parts


@translates("slice", "_slice", "narrow")
def _slice(w: Any, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    start, last = 0 if start is None else start, (1 << 63) - 1 if end is None else end
    if w.name == "narrow":
        last = (
            start + end
            if isinstance(start, int) and isinstance(end, int)
            else w.op("Add", w.scalar(start), w.scalar(end), shape=[], dtype="int64")
        )
    return w.op("Slice", x, w.ints([start]), w.ints([last]), w.ints([dim]), w.ints([step or 1]))


@translates("select")
def _select(w: Any, x: Any, dim: int, index: Any) -> Any:
    return w.op("Gather", x, w.scalar(index), axis=dim)


@translates("tril", "triu")
def _triangle(w: Any, x: Any, diagonal: Any = 0) -> Any:
    return w.op("Trilu", x, w.scalar(diagonal), upper=int(w.name == "triu"))


@translates("flip")
def _flip(w: Any, x: Any, dims: Sequence[int]) -> Any:
    dims = [d % len(x.shape) for d in dims]
    least = -(1 << 63) + 1
    return (
        w.op("Slice", x, w.ints([-1] * len(dims)), w.ints([least] * len(dims)), w.ints(dims), w.ints([-1] * len(dims)))
        if dims
        else x
    )


@translates("roll")
def _roll(w: Any, x: Any, shifts: Sequence[int], dims: Sequence[int] | None = None) -> Any:
    made = x if dims else w.reshape(x, [-1])
    for shift, dim in zip(shifts, dims or [0], strict=True):
        size = (x.shape[dim] if dims else prod(x.shape)) or 1
        at = size - shift % size
        rest, first = [w.op("Slice", made, w.ints([a]), w.ints([b]), w.ints([dim])) for a, b in ((at, (1 << 63) - 1), (0, at))]
        made = w.op("Concat", rest, first, axis=dim)
    return made if dims else w.to_shape_of_result(made)


@translates("diagonal")
def _diagonal(w: Any, x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    rank = len(x.shape)
    a, b = dim1 % rank, dim2 % rank
    rows = w.op("Transpose", x, perm=[d for d in range(rank) if d not in (a, b)] + [a, b])
    n = w.result.shape[-1]
    places = np.stack([np.arange(n) + max(-offset, 0), np.arange(n) + max(offset, 0)], 1)
    at = w.constant(places, "int64")
    if rank == 2:
        return w.op("GatherND", rows, at)
    turned = w.op("Transpose", rows, perm=[rank - 2, rank - 1, *range(rank - 2)])
    return w.op("Transpose", w.op("GatherND", turned, at), perm=[*range(1, rank - 1), 0])


@translates("unfold")
def _unfold(w: Any, x: Any, dim: int, size: int, step: int) -> Any:
    """Windows of a dim, which come last: elements by their places."""
    rank, dim = len(x.shape), dim % max(len(x.shape), 1)
    places = np.arange(w.result.shape[dim])[:, None] * step + np.arange(size)
    made = w.op("Gather", x, w.constant(places, "int64"), axis=dim)
    return w.op("Transpose", made, perm=[*range(dim + 1), *range(dim + 2, rank + 1), dim + 1])


# --- tensors of one number, and of numbers in a row ------------------------------------------------------------------------


@translates(
    "zeros",
    "ones",
    "full",
    "empty",
    "new_zeros",
    "new_ones",
    "new_full",
    "new_empty",
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "fill",
    "zero",
)
def _filled(w: Any, *given: Any) -> Any:
    """Where no size is free these are constants, and nothing of this is called."""
    value = 1 if "ones" in w.name else 0
    if "full" in w.name or w.name == "fill":
        value = given[2] if w.name == "new_full" else given[1]
    return w.op("Expand", w.number(value, w.result), w.ints(w.sizes()))


@translates("arange")
def _arange(w: Any, bounds: Sequence[Any], start: Any, end: Any, step: Any, *rest: Any) -> Any:
    """Of numbers by their place, ``(end)``, ``(start, end)`` or ``(start, end, step)``, or by their names."""
    if bounds:
        start, end, step = (start, *bounds, step) if len(bounds) == 1 else (*bounds, step)[:3]
    numbers = (start, end, step)
    if w.result.dtype.startswith("float") or any(isinstance(n, float) for n in numbers):
        return w.op("Range", *[w.number(n, w.result) for n in numbers])
    return w.cast(w.op("Range", *[w.scalar(n) for n in numbers], dtype="int64"), w.result.dtype)
