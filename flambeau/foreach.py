"""``torch._foreach_*``: one operation on each tensor of a list, which optimizers and averages of weights are written with.

``name(tensors, ...)`` gives a tuple of results, ``name_(tensors, ...)`` writes them. Further arguments are one number or tensor
for all, or a list with one for each.

>>> import flambeau as torch
>>> xs = [torch.ones(2), torch.full((1,), 3.0)]
>>> torch._foreach_add(xs, [1.0, 2.0])
(tensor([2., 2.]), tensor([5.]))
>>> torch._foreach_mul_(xs, 10)
[tensor([10., 10.]), tensor([30.])]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import ops
from flambeau.ops.norms import vector_norm
from flambeau.tensor import Tensor

__all__: list[str] = []

_UNARY = (
    "abs acos asin atan ceil clone cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg reciprocal round rsqrt sigmoid sign "
    "sin sinh sqrt tan tanh trunc zero max"
).split()
_BINARY = "add sub mul div clamp_min clamp_max maximum minimum pow".split()
_TERNARY = "addcdiv addcmul lerp".split()
_SAME = {"maximum": "clamp_min", "minimum": "clamp_max"}  # the same, of numbers


def _listed(tensors: Any, name: str) -> list:
    if isinstance(tensors, Tensor) or not isinstance(tensors, (list, tuple)):
        raise TypeError(f"_foreach_{name}(): argument 'self' (position 1) must be tuple of Tensors, not {type(tensors).__name__}")
    if not tensors:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return list(tensors)


def _each(value: Any, count: int) -> Sequence:
    """An argument for each of the tensors."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        kind = "Tensor lists" if value and isinstance(value[0], Tensor) else "Tensor list"
        if kind == "Tensor list":
            raise RuntimeError(f"Tensor list must have same number of elements as scalar list. Got {count} and {len(value)}")
        raise RuntimeError(f"Tensor lists must have the same number of tensors, got {count} and {len(value)}")
    return value


def _one(name: str, inplace: bool) -> Callable:
    """The operation on one tensor."""

    def run(x: Any, *args: Any, **kwargs: Any) -> Any:
        if name == "add" and "alpha" in kwargs and not isinstance(args[0], Tensor):
            args = (args[0] * kwargs["alpha"],)
            kwargs = {}
        own = _SAME.get(name, name) if args and not isinstance(args[0], Tensor) else name
        if inplace and own in ("maximum", "minimum"):
            return x.copy_(getattr(ops, own)(x, *args, **kwargs))
        if name in ("addcdiv", "addcmul"):
            kwargs = {"value": args[2]} if len(args) > 2 else kwargs
            args = args[:2]
        if inplace:
            return getattr(x, own + "_")(*args, **kwargs)
        return getattr(ops, own)(x, *args, **kwargs)

    return run


def _scalars(value: Any) -> Any:
    """A 1-D tensor of numbers, one for each, as a list."""
    return list(value) if isinstance(value, Tensor) and value.dim() == 1 else value


def _make(name: str, inplace: bool) -> Callable:
    one = _one(name, inplace)

    def function(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name == "pow" and not inplace and isinstance(self, (int, float, complex)):
            return tuple(ops.pow(self, x) for x in _listed(args[0], name))
        tensors = _listed(self, name)
        args = (*args, *[kwargs.pop(k) for k in _NAMES if k in kwargs])
        if name in ("addcdiv", "addcmul") and len(args) > 2:
            args = (*args[:2], _scalars(args[2]))
        columns = [_each(a, len(tensors)) for a in args]
        rows = zip(*columns, strict=True) if columns else [()] * len(tensors)
        results = tuple(one(x, *row, **kwargs) for x, row in zip(tensors, rows, strict=True))
        return list(results) if inplace else results

    function.__name__ = function.__qualname__ = f"_foreach_{name}{'_' if inplace else ''}"
    function.__doc__ = f"``{name}`` of each tensor of a list."
    return function


_NAMES = ("other", "scalar", "scalars", "exponent", "tensor1", "tensor2", "tensors1", "weight", "weights", "value", "mat2")


def _foreach_norm(self: Any, ord: Any = 2, dtype: Any = None) -> tuple:
    """The norm of each tensor of a list, of all its elements."""
    return tuple(vector_norm(x, ord, dtype=dtype) for x in _listed(self, "norm"))


def _foreach_powsum(self: Any, ord: Any = 2, dtype: Any = None) -> tuple:
    """For each tensor of a list the sum of its elements' magnitudes to a power."""
    return tuple(x.abs().pow(ord).sum(dtype=dtype) for x in _listed(self, "powsum"))


def _foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> list:
    """Copies each tensor of ``src`` into the one of ``self``."""
    tensors = _listed(self, "copy_")
    for x, y in zip(tensors, _each(src, len(tensors)), strict=True):
        x.copy_(y)
    return tensors


def _foreach_mm(self: Any, mat2: Any) -> tuple:
    """The matrix product of each pair of tensors of two lists."""
    tensors = _listed(self, "mm")
    return tuple(ops.mm(x, y) for x, y in zip(tensors, _each(mat2, len(tensors)), strict=True))


for _name in [*_UNARY, *_BINARY, *_TERNARY]:
    if _name != "zero":
        globals()[f"_foreach_{_name}"] = _make(_name, False)
    if _name not in ("max", "clone"):
        globals()[f"_foreach_{_name}_"] = _make(_name, True)
