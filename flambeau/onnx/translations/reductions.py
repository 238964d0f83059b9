"""Sums, extremes and statistics of dims: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.onnx.translations.registry import translates


@translates("mean", "sum", "amax", "amin", "prod")
def _reduce(w: Any, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    op = {"mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin", "prod": "ReduceProd"}[w.name]
    return _reduced(w, op, w.cast(x, w.result.dtype), dim, keepdim)


def _reduced(w: Any, op: str, x: Any, dim: Any, keepdim: Any) -> Any:
    dims = [dim] if isinstance(dim, int) else list(dim or [])
    return w.op(op, x, *[w.ints(dims)] if dims else [], keepdims=int(keepdim))


@translates("all", "any")
def _all(w: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """By the least or greatest of 0 and 1."""
    truths = w.cast(w.cast(x, "bool"), "int32")
    out = _reduced(w, "ReduceMin" if w.name == "all" else "ReduceMax", truths, dim, keepdim)
    return w.op("Equal", out, w.constant(1, "int32"))


@translates("count_nonzero")
def _count_nonzero(w: Any, x: Any, dim: Any = None) -> Any:
    return _reduced(w, "ReduceSum", w.cast(w.cast(x, "bool"), "int64"), dim, False)


@translates("logsumexp")
def _logsumexp(w: Any, x: Any, dim: Any, keepdim: bool = False) -> Any:
    return _reduced(w, "ReduceLogSumExp", w.cast(x, w.result.dtype), dim, keepdim)


@translates("nansum")
def _nansum(w: Any, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    numbers = w.op("Where", w.op("IsNaN", x), w.number(0, x), x) if x.dtype.startswith("float") else x
    return _reduced(w, "ReduceSum", w.cast(numbers, w.result.dtype), dim, keepdim)


@translates("vector_norm", "norm")
def _vector_norm(w: Any, x: Any, order: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    x, order = w.cast(x, w.result.dtype), 2 if order in (None, "fro") else order
    if isinstance(order, str):
        w.refuse(f"the norm {order!r}")
    if order in (1, 2):
        return _reduced(w, f"ReduceL{order:.0f}", x, dim, keepdim)
    sizes = w.op("Abs", x)
    if order in (math.inf, -math.inf):
        return _reduced(w, "ReduceMax" if order > 0 else "ReduceMin", sizes, dim, keepdim)
    if order == 0:
        return _reduced(w, "ReduceSum", w.op("Sign", sizes), dim, keepdim)
    total = _reduced(w, "ReduceSum", w.op("Pow", sizes, w.number(order, x)), dim, keepdim)
    return w.op("Pow", total, w.number(1 / order, x))


@translates("var", "std", "_var_mean", "_std_mean")
def _variance(w: Any, x: Any, *rest: Any) -> Any:
    """Of ``(dim, unbiased, keepdim)``, ``(unbiased,)``, ``(dim, correction, keepdim)`` or ``(dim, unbiased, keepdim, correction)``."""
    dim, spread, keepdim, correction = (None, rest[0], False, None) if len(rest) == 1 else (*rest, *[None] * (4 - len(rest)))
    if len(rest) < 4 and spread is not None and not isinstance(spread, bool):
        spread, correction = None, spread
    correction = correction if correction is not None else int(spread is not False)
    dims = list(range(len(x.shape))) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
    mean = _reduced(w, "ReduceMean", x, dims, True)
    change = w.op("Sub", x, mean)
    count = w.constant(1, "int64")
    for d in dims:
        count = w.op("Mul", count, w.scalar(x.shape[d]), shape=[], dtype="int64")
    total = _reduced(w, "ReduceSum", w.op("Mul", change, change), dims, keepdim)
    freedom = w.op("Sub", w.cast(count, x.dtype), w.number(correction, x))
    out = w.op("Div", total, w.op("Max", freedom, w.number(0, x)))
    out = w.op("Sqrt", out) if "std" in w.name else out
    return (out, _reduced(w, "ReduceMean", x, dims, keepdim)) if len(w.results) == 2 else out


@translates("aminmax")
def _aminmax(w: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _reduced(w, "ReduceMin", x, dim, keepdim), _reduced(w, "ReduceMax", x, dim, keepdim)


@translates("max_all", "min_all")
def _of_all(w: Any, x: Any) -> Any:
    return w.op("ReduceMax" if w.name == "max_all" else "ReduceMin", x, keepdims=0)


@translates("logcumsumexp")
def _logcumsumexp(w: Any, x: Any, dim: int) -> Any:
    top = _reduced(w, "ReduceMax", x, dim, True)
    total = w.op("CumSum", w.op("Exp", w.op("Sub", x, top)), w.constant(dim, "int64"))
    return w.op("Add", w.op("Log", total), top)


@translates("topk")
def _topk(w: Any, x: Any, k: Any, dim: int = -1, largest: bool = True, in_order: bool = True) -> Any:
    return w.op("TopK", x, w.ints([k]), axis=dim, largest=int(largest), sorted=int(in_order), outputs=2)


@translates("sort", "argsort")
def _sort(w: Any, x: Any, *rest: Any) -> Any:
    """Of ``(dim, descending)`` or ``(stable, dim, descending)``. ONNX says nothing of equal elements."""
    dim, descending = rest[-2:] if len(rest) > 1 else (rest[0] if rest else -1, False)
    if not x.shape:
        return (w.op("Identity", x), w.constant(0, "int64")) if w.name == "sort" else w.constant(0, "int64")
    made = w.op("TopK", x, w.ints([w.size(x.shape[dim])]), axis=dim, largest=int(bool(descending)), sorted=1, outputs=2)
    return made if w.name == "sort" else made[1]


@translates("kthvalue", "median")
def _kthvalue(w: Any, x: Any, *rest: Any) -> Any:
    if w.name == "median":
        if not rest or rest[0] is None:
            w.refuse("the median of all elements")
        dim, keepdim = rest[0], rest[1] if len(rest) > 1 else False
        k = (x.shape[dim] + 1) // 2
    else:
        k, dim, keepdim = (*rest, -1, False)[:3] if len(rest) == 1 else (*rest, False)[:3]
    found = w.op("TopK", x, w.ints([k]), axis=dim, largest=0, sorted=1, outputs=2)
    last = [
        w.op("Gather", y, w.constant(np.array([-1]) if keepdim else np.array(-1), "int64"), axis=dim, dtype=y.dtype) for y in found
    ]
    return last[0], last[1]


@translates("max", "min")
def _extreme(w: Any, x: Any, *rest: Any) -> Any:
    other = next((y for y in rest if isinstance(y, str)), None)
    if other is not None:
        return w.op(w.name.capitalize(), *w.alike(x, other))
    dim, keepdim = (*rest, None, False)[:2] if len(rest) != 1 else (rest[0], False)
    op = "Max" if w.name == "max" else "Min"
    if dim is None:
        return w.op(f"Reduce{op}", x, keepdims=0)
    return w.op(f"Reduce{op}", x, w.constant(np.array([dim], np.int64)), keepdims=int(keepdim)), w.op(
        f"Arg{op}", x, axis=dim, keepdims=int(keepdim)
    )


@translates("argmax", "argmin")
def _arg(w: Any, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    op = "ArgMax" if w.name == "argmax" else "ArgMin"
    return w.op(op, w.reshape(x, [-1]), axis=0, keepdims=0) if dim is None else w.op(op, x, axis=dim, keepdims=int(keepdim))


@translates("cumsum")
def _cumsum(w: Any, x: Any, dim: int, dtype: Any = None) -> Any:
    return w.op("CumSum", w.cast(x, w.result.dtype), w.constant(np.array(dim, np.int64)))
