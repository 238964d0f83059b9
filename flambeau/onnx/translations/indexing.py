"""Elements picked and replaced by indices: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.onnx.translations.registry import translates


@translates("embedding", "_embedding")
def _embedding(w: Any, weight: Any, indices: Any, *rest: Any) -> Any:
    return w.op("Gather", weight, indices)


@translates("_bag_sums")
def _bag_sums(w: Any, weight: Any, indices: Any, *rest: Any) -> Any:
    return w.op("ReduceSum", w.op("Gather", weight, indices), w.ints([1]), keepdims=0)


@translates("index_select")
def _index_select(w: Any, x: Any, dim: int, index: Any) -> Any:
    flat = index if index.shape else w.reshape(index, [1])
    return w.op("Gather", x, flat, axis=dim)


@translates("gather")
def _gather(w: Any, x: Any, dim: int, index: Any, *rest: Any) -> Any:
    return w.op("GatherElements", x, index, axis=dim) if x.shape else x


@translates("_one_hot")
def _one_hot(w: Any, x: Any, classes: int) -> Any:
    return w.op("OneHot", x, w.constant(classes, "int64"), w.constant([0, 1], "int64"))


@translates("_scatter", "scatter_add", "scatter_reduce")
def _scatter(w: Any, x: Any, dim: int, index: Any, source: Any, reduce: str = "none", include_self: bool = True) -> Any:
    reduction = {"scatter_add": "add"}.get(w.name) or {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}.get(
        reduce, reduce
    )
    if reduction == "mean" or not include_self:
        w.refuse(f"scatter_reduce by {reduce!r}, include_self={include_self}")
    if not isinstance(source, str):
        source = w.op("Expand", w.number(source, x), w.op("Shape", index))
    else:  # PyTorch takes a source that is larger than the index
        source = w.cast(source, x.dtype)
        if source.shape != index.shape:
            source = w.op("Slice", source, w.ints([0] * len(index.shape)), w.op("Shape", index))
    return w.op("ScatterElements", x, index, source, axis=dim, reduction=reduction)


def _places(w: Any, x: Any, indices: Sequence[Any]) -> tuple[Any, list[int]]:
    """Indices of several dims as ONNX's pairs, triples, ..., with the dims in the order that these are for."""
    dims = [d for d, i in enumerate(indices) if i is not None]
    if any(indices[d].dtype == "bool" for d in dims):
        w.refuse("an index that is a mask, whose values say how many elements there are: use torch.where")
    whole = []
    for d in dims:
        index, size = w.cast(indices[d], "int64"), w.scalar(x.shape[d])
        below = w.op("Less", index, w.constant(0, "int64"), shape=index.shape, dtype="bool")
        whole.append(w.op("Where", below, w.op("Add", index, size, dtype="int64"), index, shape=index.shape, dtype="int64"))
    if len(whole) > 1:
        shape = w.op("Shape", _sum(w, whole), dtype="int64")
        whole = [w.op("Expand", i, shape, dtype="int64") for i in whole]
    at = w.op("Concat", *[w.op("Unsqueeze", i, w.ints([-1]), dtype="int64") for i in whole], axis=-1, dtype="int64")
    return at, dims + [d for d in range(len(x.shape)) if d not in dims]


def _sum(w: Any, parts: Sequence[Any]) -> Any:
    made = parts[0]
    for part in parts[1:]:
        made = w.op("Add", made, part, dtype="int64")
    return made


@translates("_index")
def _index(w: Any, x: Any, indices: Sequence[Any]) -> Any:
    """The dims of the indices come first, or where they stand if they stand together."""
    dims = [d for d, i in enumerate(indices) if i is not None]
    if len(dims) == 1 and indices[dims[0]].dtype != "bool":
        return w.op("Gather", x, indices[dims[0]], axis=dims[0])
    at, order = _places(w, x, indices)
    picked = w.op("GatherND", w.op("Transpose", x, perm=order), at)
    together = dims == list(range(dims[0], dims[-1] + 1))
    if not together or not dims[0]:
        return picked
    rank = len(w.result.shape)
    wide = rank - (len(x.shape) - len(dims))
    return w.op("Transpose", picked, perm=[*range(wide, wide + dims[0]), *range(wide), *range(wide + dims[0], rank)])


@translates("_index_put")
def _index_put(w: Any, x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    dims = [d for d, i in enumerate(indices) if i is not None]
    if len(dims) == 1 and indices[dims[0]].dtype == "bool" and not values.shape and not accumulate:
        mask = indices[dims[0]]
        wide = (
            w.op("Unsqueeze", mask, w.ints(list(range(len(mask.shape), len(x.shape))))) if len(mask.shape) < len(x.shape) else mask
        )
        return w.op("Where", wide, w.number(values, x), x)
    at, order = _places(w, x, indices)
    if order != list(range(len(x.shape))):
        w.refuse("index_put whose indices do not stand first")
    head = w.op("Shape", at, dtype="int64")
    counts = w.op("Slice", head, w.ints([0]), w.ints([-1]), dtype="int64")
    rest = w.ints([w.size(n) for n in x.shape[len(dims) :]]) if len(dims) < len(x.shape) else None
    shape = counts if rest is None else w.op("Concat", counts, rest, axis=0, dtype="int64")
    updates = w.op("Expand", w.number(values, x), shape)
    return w.op("ScatterND", x, at, updates, reduction="add" if accumulate else "none")


@translates("index_add", "index_copy", "index_fill")
def _index_change(w: Any, x: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Any:
    """By ScatterElements, with the index of each element."""
    dim = dim % max(len(x.shape), 1)
    if w.name == "index_fill":
        sizes = [w.size(n) for n in x.shape]
        sizes[dim] = w.size(index.shape[0])
        source = w.op("Expand", w.number(source, x), w.ints(sizes), shape=[*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :]])
    elif alpha != 1:
        source = w.op("Mul", source, w.number(alpha, source), shape=source.shape)
    flat = w.reshape(w.cast(index, "int64"), [1] * dim + [-1] + [1] * (len(x.shape) - dim - 1))
    places = w.op("Expand", flat, w.op("Shape", source, dtype="int64"), dtype="int64")
    return w.op("ScatterElements", x, places, source, axis=dim, reduction="add" if w.name == "index_add" else "none")


@translates("bucketize", "searchsorted")
def _bucketize(w: Any, *given: Any) -> Any:
    """How many boundaries lie below."""
    named = {a.name: v for a, v in zip(w.node._schema.arguments, given, strict=True)}
    boundaries, x = (named["boundaries"], named["self"]) if w.name == "bucketize" else (named["sorted_sequence"], named["self"])
    if len(boundaries.shape) != 1 or named.get("sorter") is not None:
        w.refuse("searchsorted in several sequences, or with a sorter")
    kind = w.op(
        "GreaterOrEqual" if named.get("right") or named.get("side") == "right" else "Greater",
        *w.alike(w.op("Unsqueeze", x, w.ints([-1]), dtype=x.dtype), boundaries, x.dtype),
        dtype="bool",
    )
    return w.cast(w.op("ReduceSum", w.cast(kind, "int64"), w.ints([-1]), keepdims=0, dtype="int64"), w.result.dtype)


@translates("_pad_sequence")
def _pad_sequence(w: Any, tensors: Sequence[Any], batch_first: bool, value: float, *rest: Any) -> Any:
    longest = max([t.shape[0] for t in tensors])
    rows = []
    for t in tensors:
        pads = np.zeros((2, len(t.shape)), np.int64)
        pads[int(not (rest and rest[0])), 0] = longest - t.shape[0]
        rows.append(
            w.op("Unsqueeze", w.op("Pad", t, w.constant(pads.reshape(-1)), w.number(value, t)), w.ints([0 if batch_first else 1]))
        )
    return w.op("Concat", *rows, axis=0 if batch_first else 1)
