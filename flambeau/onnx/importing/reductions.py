"""Rules of reductions and of running sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau.onnx.importing.registry import ints, rule

Tensor = torch.Tensor


def _over(axes: Any, x: Tensor, noop: int) -> list[int] | None:
    """The dims to reduce; ``None``: nothing is to be done."""
    given = [] if axes is None else ints(axes)
    return given or (None if noop else list(range(x.dim())))


def _reduction(
    name: str, function: Callable[[Tensor, list[int], bool], Tensor], before: Callable[[Tensor], Tensor] = lambda x: x
) -> None:
    @rule(name, host="axes")
    def reduce(x: Tensor, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        dims = _over(axes, x, noop_with_empty_axes)
        y = before(x)
        return y if dims is None else function(y, dims, bool(keepdims)).to(x.dtype)


def _each(x: Tensor, dims: list[int], keep: bool, one: Callable[..., Tensor]) -> Tensor:
    for dim in sorted((d % x.dim() for d in dims), reverse=True) if x.dim() else ():
        x = one(x, dim, keepdim=keep)
    return x


def _largest(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _extreme(x, dims, keep, torch.amax, -1)


def _smallest(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _extreme(x, dims, keep, torch.amin, 1)


def _extreme(x: Tensor, dims: list[int], keep: bool, function: Callable[..., Tensor], sign: int) -> Tensor:
    """``function``, or of nothing what is on the far side of all numbers: +inf (``sign`` 1) or -inf, or the integer next to them."""
    if all(x.shape[d] for d in dims):
        return function(x, dims, keepdim=keep)
    if x.dtype is torch.bool:
        value: Any = sign > 0
    elif x.is_floating_point():
        value = sign * math.inf
    else:
        value = torch.iinfo(x.dtype).max if sign > 0 else torch.iinfo(x.dtype).min
    return torch.full(x.sum(dims, keepdim=keep).shape, value, dtype=x.dtype)


def _sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return x.sum(dims, keepdim=keep) if dims else x


_reduction("ReduceSum", _sum)
_reduction("ReduceMean", lambda x, dims, keep: x.mean(dims, keepdim=keep) if dims else x)
_reduction("ReduceMax", _largest)
_reduction("ReduceMin", _smallest)
_reduction("ReduceProd", lambda x, dims, keep: _each(x, dims, keep, torch.prod))
_reduction("ReduceL1", _sum, torch.abs)
_reduction("ReduceSumSquare", _sum, torch.square)
_reduction("ReduceLogSumExp", lambda x, dims, keep: torch.logsumexp(x, dims, keepdim=keep) if dims else x)


@rule("ReduceL2", host="axes")
def reduce_l2(x: Tensor, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    dims = _over(axes, x, noop_with_empty_axes)
    return torch.sqrt(x * x if dims is None else _sum(x * x, dims, bool(keepdims))).to(x.dtype)


@rule("ReduceLogSum", host="axes")
def reduce_log_sum(x: Tensor, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    dims = _over(axes, x, noop_with_empty_axes)
    return torch.log(x if dims is None else _sum(x, dims, bool(keepdims)))


def _running(name: str, function: Callable[..., Tensor], start: float) -> None:
    @rule(name, host="axis")
    def run(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
        dim = ints(axis)[0]
        y = x.flip(dim) if reverse else x
        if exclusive:
            first = torch.full_like(y.narrow(dim, 0, 1), start)
            y = torch.cat([first, y.narrow(dim, 0, y.shape[dim] - 1)], dim)
        y = function(y, dim)
        return (y.flip(dim) if reverse else y).to(x.dtype)


_running("CumSum", torch.cumsum, 0)
_running("CumProd", torch.cumprod, 1)
