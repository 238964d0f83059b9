"""Lists of many tensors that have their values: an op on them runs as it is called, and gives one leaf in place of many.

That is what becomes of the samples of a batch (``torch.stack(samples)``) and of results that a loop has collected. For each tensor
little is done but to find its value.
"""

from __future__ import annotations

import numpy as np

from flambeau.dispatch import grad_mode
from flambeau.engine import flight
from flambeau.engine.graph import VIEW, Node, leaf
from flambeau.engine.interpreter import compute_now
from flambeau.tensor.reading import geometry_of
from flambeau.tensor.tensor import Tensor

MANY = 16
"""Tensors of a list from which on it is looked whether all have their values."""


def values_of_all(tensors: tuple) -> tuple[np.ndarray, ...] | None:
    """The values of tensors, to be read at once; ``None`` where one has not run yet, wants a gradient, or is not one that ops
    compute with."""
    if {t.__class__ for t in tensors} != {Tensor} or any([dtype.is_stored for dtype in {t._dtype for t in tensors}]):
        return None
    enabled = grad_mode.enabled
    found: list[np.ndarray] = []
    for t in tensors:
        node = t._storage.node
        value = node.value
        if value.__class__ is not np.ndarray:
            return None
        if enabled and (t._requires_grad or t._grad_fn is not None or t._base is not None and t._base.requires_grad):
            return None
        if t._strides is None and not t._offset and node.shape == t._shape and node.dtype is t._dtype:
            found.append(value)
        elif t._bits:
            return None
        else:
            found.append(_part(value, node, t))
    return tuple(found)


def _part(value: np.ndarray, node: Node, t: Tensor) -> np.ndarray:
    """The elements of ``t``, which looks at a part of the value of ``node``."""
    end = t._offset + t._shape.numel()
    if t._strides is None and node.dtype is t._dtype and end <= value.size:
        return value.reshape(-1)[t._offset : end].reshape(t._shape)
    return VIEW.kernel(value, **geometry_of(t))


def joined(op, values: tuple[np.ndarray, ...], attrs: dict, dtype) -> Node:
    """A leaf with the result of ``op`` on ``values``."""
    if flight.aloft is not None:
        for value in values:
            flight.settle(value)
    if op.name in _JOIN and not dtype.is_extension:
        found = op.kernel(*values, **attrs)
        found = found if found.flags.c_contiguous else found.copy("C")
    else:
        found = compute_now(op, values, attrs, dtype)
    shape = tuple(v.shape for v in found) if found.__class__ is tuple else found.shape
    return leaf(found, shape, dtype)


_JOIN = ("cat", "stack")
"""Ops whose kernels make an array of their own, of the dtype that all inputs have, and compute nothing."""
