"""Results whose dims lie in another order in memory than they have; the rules are in :mod:`flambeau.ops.layouts`.

A node's value is row-major. So such a result's node has the dims in the order of memory, and its tensor has strides.
"""

from __future__ import annotations

import numpy as np

from flambeau import dispatch
from flambeau.core.results import ReturnType
from flambeau.core.size import Size, contiguous_strides
from flambeau.engine.graph import VIEW, Node, leaf
from flambeau.ops.record import registry
from flambeau.tensor.reading import read
from flambeau.tensor.storage import storage_of
from flambeau.tensor.tensor import Tensor, make_tensor

COPY = registry["_clone"]
"""The op that puts a result into another order."""


def normal_strides(shape, strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """``strides``, or ``None`` where they are those of a row-major tensor of ``shape``."""
    return None if strides == contiguous_strides(shape) else strides


def is_strided(inputs: tuple) -> bool:
    """Whether a tensor among them is not row-major, so that a result may have to be laid out in another way."""
    for x in inputs:
        if isinstance(x, Tensor) and x._strides is not None:
            return True
    return False


def laid_out(op, inputs: tuple, results):
    """The fresh results of a composite, in memory as its rule says."""
    if not op.always_laid_out and not is_strided(inputs):
        return results
    several = isinstance(results, tuple)
    found = []
    for i, t in enumerate(results if several else (results,)):
        rule = op.layout[i] if op.layout.__class__ is tuple else op.layout
        order = rule and rule(inputs, t._shape, {})
        if order is None and t._strides is None or order is not None and _has_order(t, order):
            found.append(t)
            continue
        moved = dispatch.record_in_order(COPY, t, {}, t._dtype, order) if t._storage.is_meta else in_memory_order(read(t), order)
        moved._grad_fn, moved._output_nr = t.grad_fn, t._output_nr
        if t._tangent is not None:
            moved._tangent = t._tangent
        found.append(moved)
    if not several:
        return found[0]
    return results.__class__(found) if isinstance(results, ReturnType) else tuple(found)


def _has_order(t: Tensor, order: tuple[int, ...]) -> bool:
    strides = t.stride()
    return tuple([strides[d] for d in order]) == contiguous_strides(reordered(t._shape, order))


def reordered(shape, order) -> Size:
    return Size([shape[d] for d in order])


def in_order(node: Node, order: tuple[int, ...]) -> Tensor:
    """The tensor of a node whose dims are those of the tensor in ``order``."""
    inner = contiguous_strides(node.shape)
    places = sorted(range(len(order)), key=order.__getitem__)
    result = make_tensor(storage_of(node), Size([node.shape[p] for p in places]), node.dtype)
    result._strides = normal_strides(result._shape, tuple([inner[p] for p in places]))
    return result


def in_memory_order(node: Node, order: tuple[int, ...] | None) -> Tensor:
    """The tensor of a node's value, copied to lie in memory with its dims in ``order``."""
    if order is None:
        return make_tensor(storage_of(node), Size(node.shape), node.dtype)
    shape, strides = reordered(node.shape, order), contiguous_strides(node.shape)
    if node.op is None:
        return in_order(leaf(np.ascontiguousarray(node.value.transpose(order)), shape, node.dtype), order)
    geometry = {"shape": shape, "strides": tuple([strides[d] for d in order]), "offset": 0, "dtype": node.dtype}
    turned = Node(VIEW, (node,), geometry, shape, node.dtype)
    return in_order(Node(COPY, (turned,), {}, shape, node.dtype), order)
