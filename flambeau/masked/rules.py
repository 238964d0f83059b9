"""What ops do with masked tensors: elementwise ones keep the mask, views and joins change data and mask alike, reductions leave
out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.core.memory_format import strided
from flambeau.masked import reductions
from flambeau.masked.tensor import MaskedTensor, as_masked_tensor, masked
from flambeau.ops import layouts
from flambeau.tensor.interception import rules_in
from flambeau.tensor.tensor import Tensor

__all__ = ["apply"]

_DATA_ALONE = frozenset(
    "clone _clone contiguous Tensor.contiguous detach ones_like _to_dtype Tensor.to Tensor.cpu Tensor.float Tensor.double Tensor.half Tensor.long Tensor.int "
    "Tensor.short Tensor.char Tensor.bool Tensor.type Tensor.type_as laid_out_as Tensor.laid_out_as".split()
)
_ALIKE = frozenset(
    "cat concat concatenate stack split split_with_sizes tensor_split chunk unbind flatten reshape Tensor.reshape Tensor.view_as Tensor.unflatten movedim "
    "nn.functional.unfold nn.functional.fold _index index_select hstack vstack atleast_1d atleast_2d".split()
)
_ELEMENTWISE = frozenset("clamp nan_to_num square div round sigmoid".split())
_REDUCTIONS = frozenset("sum mean amin amax argmin argmax prod var std".split())
_RULES: dict[str, Callable] = {}
_rule = rules_in(_RULES)


def apply(function: Any, args: tuple, kwargs: dict) -> Any:
    """The result of an op one of whose arguments is masked."""
    op = function.op
    name = op.name
    in_place = function.__name__.endswith("_") and function is not op.function
    if not in_place:
        if name in _RULES:
            return _RULES[name](*args, **kwargs)
        if name in _REDUCTIONS:
            return _reduced(getattr(reductions, name), *args, **kwargs)
        if name in _DATA_ALONE:
            return args[0]._with(function(*_data(args), **_data(kwargs)))
        if op.form == "view" or name in _ALIKE:
            data, masks = (function(*part(args), **part(kwargs)) for part in (_data, _masks))
            return type(data)(map(masked, data, masks)) if isinstance(data, (tuple, list)) else masked(data, masks)
    if op.form == "pointwise" or op.layout in (layouts.elementwise, layouts.of_real) or name in _ELEMENTWISE:
        return _elementwise(function, args, kwargs, in_place)
    raise TypeError(
        f"Multiple dispatch failed for '{function.__name__}': MaskedTensor does not implement it; use get_data(), get_mask() or to_tensor(value)"
    )


def _map(x: Any, change: Callable) -> Any:
    """Arguments with what ``change`` makes of the masked tensors among them."""
    if isinstance(x, MaskedTensor):
        return change(x)
    if isinstance(x, dict):
        return {k: _map(v, change) for k, v in x.items()}
    return type(x)([_map(v, change) for v in x]) if type(x) in (list, tuple) else x


def _data(x: Any) -> Any:
    return _map(x, MaskedTensor.get_data)


def _masks(x: Any) -> Any:
    return _map(x, MaskedTensor.get_mask)


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two masks, or two tensors of places, are the same."""
    if a.layout is not b.layout:
        return False
    if a.layout is strided:
        return a is b or a.equal(b)
    return all(_same(p, q) for p, q in zip((*a._parts, a._v), (*b._parts, b._v), strict=True))  # type: ignore[attr-defined]


def _elementwise(function: Any, args: tuple, kwargs: dict, in_place: bool) -> Any:
    among = [x for x in (*args, *kwargs.values()) if isinstance(x, MaskedTensor)]
    like = among[0]
    if not all(_same(x._mask, like._mask) for x in among[1:]):
        raise ValueError("Input masks must match. If you need support for this, please open an issue on Github.")
    if like.is_sparse:
        if in_place:
            raise NotImplementedError(f"{function.__name__}: not for MaskedTensors with sparse data")
        values = [x._v._v if isinstance(x, MaskedTensor) else x for x in args]  # type: ignore[attr-defined]
        return like._with(like._v._with(function(*values, **kwargs)))  # type: ignore[attr-defined]
    result = function(*_data(args), **_data(kwargs))
    return like if in_place else masked(result, like._mask.expand_as(result))


def _reduced(reduction: Callable, input: MaskedTensor, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> MaskedTensor:
    """The reduction of what the mask selects, masked where it selects nothing."""
    settings = {k: v for k, v in kwargs.items() if k == "dtype" and v is not None}
    if input.is_sparse:
        if dim is not None:
            raise NotImplementedError(f"{reduction.__name__}: along a dim, a MaskedTensor with sparse data must become dense first")
        return as_masked_tensor(reduction(input._v._v, mask=input._mask._v), input._mask._v.any())  # type: ignore[attr-defined]
    if dim is None or dim == ():
        return masked(reduction(input._v, mask=input._mask, **settings), input._mask.any())
    found = reduction(input._v, dim, keepdim=keepdim, mask=input._mask, **settings)
    return masked(found, input._mask.any(dim, keepdim))


@_rule("norm")
def _norm(
    input: MaskedTensor, p: Any = 2, dim: Any = None, keepdim: bool = False, out: Any = None, dtype: Any = None
) -> MaskedTensor:
    order = 2.0 if p in ("fro", None) else p
    return _reduced(lambda x, dim=None, **settings: reductions.norm(x, order, dim, **settings), input, dim, keepdim, dtype=dtype)


@_rule("all")
def _all(input: MaskedTensor, dim: Any = None, keepdim: bool = False) -> MaskedTensor:
    filled = input._v.masked_fill(~input._mask, True)
    if dim is None:
        return masked(filled.all(), input._mask.any())
    return masked(filled.all(dim, keepdim), input._mask.any(dim, keepdim))


@_rule("where")
def _where(condition: Tensor, input: Any, other: Any) -> MaskedTensor:
    parts = [x if isinstance(x, MaskedTensor) else masked(x, flambeau.ones_like(x, dtype=flambeau.bool)) for x in (input, other)]
    data, masks = (flambeau.where(condition, *[part(x) for x in parts]) for part in (_data, _masks))
    return masked(data, masks)


@_rule("softmax", "nn.functional.softmax")
def _softmax(input: MaskedTensor, dim: int, *args: Any, **kwargs: Any) -> MaskedTensor:
    settings = {"dtype": kwargs["dtype"]} if kwargs.get("dtype") is not None else {}
    return input._with(input.to_tensor(float("-inf")).softmax(dim, **settings))
