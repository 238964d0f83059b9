"""The device ``meta``: what an op would make, without values.

What a call gives is known from the record: the decorated function checks the arguments and says shape and dtype, the layout rule
says the strides. So recording on such tensors is recording without a node. Composites, views, in-place writes and the tape need
nothing of their own.

>>> import flambeau as torch
>>> x = torch.empty(64, 3, 32, 32, device="meta")
>>> torch.nn.functional.conv2d(x, torch.empty(8, 3, 3, 3, device="meta")).shape
torch.Size([64, 8, 30, 30])

Source: https://docs.pytorch.org/docs/stable/meta.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import prod
from typing import Any

from flambeau import dispatch
from flambeau.core.dtypes import FLOATING
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import Size, strides_in_order
from flambeau.dispatch import grad_mode
from flambeau.ops.layouts import elementwise
from flambeau.tensor.order import is_strided, normal_strides
from flambeau.tensor.storage import MetaStorage
from flambeau.tensor.tensor import Tensor, make_tensor


def valueless(shape: Any, dtype: Dtype, strides: tuple[int, ...] | None = None, like: MetaStorage | None = None) -> Tensor:
    """A tensor on the device ``meta``, or of the kind that has ``like`` in place of memory."""
    shape = shape if shape.__class__ is Size else Size(shape)
    size = prod(shape)
    if strides is not None and size:
        size = 1 + sum([(n - 1) * s for n, s in zip(shape, strides, strict=True)])
    t = make_tensor(MetaStorage(size, dtype) if like is None else like.another(size, dtype), shape, dtype)
    if strides is not None:
        t._strides = normal_strides(shape, strides)
    return t


def on_meta(*values: Any) -> MetaStorage | None:
    """What the first tensor among arguments, or lists of them, has that has no values; ``None`` where all have."""
    for x in values:
        if isinstance(x, Tensor):
            if x._storage.is_meta:
                return x._storage  # type: ignore[return-value]
        elif x.__class__ in (tuple, list) and (found := on_meta(*x)) is not None:
            return found
    return None


class _Inside(threading.local):
    """Whether a composite or a gradient's rule runs, which may make constants on the CPU."""

    composite = False


_inside = _Inside()


def run_inside(function: Callable, args: tuple, kwargs: dict) -> Any:
    """``function(*args, **kwargs)``, where tensors on the CPU are constants of its own."""
    before, _inside.composite = _inside.composite, True
    try:
        return function(*args, **kwargs)
    finally:
        _inside.composite = before


def refuse_others(inputs: tuple) -> None:
    """Raises where tensors with and without values are to be computed with. Numbers on the CPU and indices may be."""
    if _inside.composite:
        return
    tensors = [x for x in inputs if isinstance(x, Tensor) and (x._shape or x._storage.is_meta) and x._dtype.kind >= FLOATING]
    found = on_meta(*tensors)
    if found is not None:
        found.refuse_others(tensors)


def record(op: Any, shape: Any, dtype: Any, inputs: tuple, attrs: dict, like: MetaStorage) -> Any:
    """The result of a primitive of which all but the values is known; ``like`` is what an argument has in place of memory."""
    if op.eager or shape is None:
        like.refuse_shape(op.short_name.lstrip("_"))
    if op.name != "_copy":
        refuse_others(inputs)
    several = bool(op.outputs)
    shapes, kinds = (shape, dtype) if several else ((shape,), (dtype,))
    rules = op.layout if op.layout.__class__ is tuple else (op.layout,) * len(shapes)
    asked = op.layout is not None and (op.always_laid_out or is_strided(inputs))
    orders = [rule(inputs, s, attrs) if asked and rule else None for rule, s in zip(rules, shapes, strict=True)]
    if op.layout is elementwise and several:
        orders = orders[:1] * len(orders)
    results = tuple([in_order(s, d, order, like) for s, d, order in zip(shapes, kinds, orders, strict=True)])
    result: Any = results if several else results[0]
    if grad_mode.enabled and op.grads:
        dispatch.attach(op, result, inputs, attrs)
    return op.named_tuple()(results) if several else result


def in_order(shape: Any, dtype: Dtype, order: tuple[int, ...] | None, like: MetaStorage | None) -> Tensor:
    """A tensor whose dims lie in memory in ``order``."""
    return valueless(shape, dtype, None if order is None else strides_in_order(shape, order), like)


dispatch.valueless = valueless
