"""The recorded graph: nodes and the trace of those that have not run yet.

A node is one operation on values: ``op`` applied to ``inputs`` (nodes, Python numbers or ``None``) under ``attrs``
(hashable settings such as a dimension). Its value is a C-contiguous NumPy array of ``shape`` and ``dtype``; a leaf
has its value from the start. Nodes never change what they mean: an in-place write makes a new node.

Nodes are appended to the trace in program order, so the trace is already sorted.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.core.dtypes import dtype as Dtype


class Node:
    """One recorded operation, or a leaf with a value.

    An op with several results has tuples for ``shape``, ``dtype`` and ``value``; ``PROJECT`` nodes take them apart.
    """

    # What most nodes share stands on the class: making a node is most of what recording costs.
    value: Any = None
    uses = 0  # consumers in the trace that still have to run
    kept = False  # whether somebody outside the trace can still ask for the value
    is_buffer = False  # whether ``value`` is the memory of a storage
    is_constant = False  # whether ``value`` follows from shape and dtype: it is the same each time that this is recorded
    address = 0  # of the value's memory, where it is known
    site: str | None = None  # where the user's program recorded it, for ops that may fail when they run
    thread = 0  # that recorded it, for these
    shortage: str | None = None  # what was said when there was no memory for its value
    kind: object = None  # what nodes of the same op, settings, shape and dtype have in common (see engine/trace.py)
    number = 0  # its place in the trace that is being looked up; of a leaf that has a slot there, ``~slot``
    op: Any
    inputs: tuple
    attrs: dict
    shape: Any
    dtype: Any

    def __init__(self, op, inputs: tuple, attrs: dict, shape, dtype) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.shape = shape
        self.dtype = dtype
        trace.append(self)

    def __repr__(self) -> str:
        return f"<Node {self.op.name if self.op else 'leaf'} {self.shape} {self.dtype}>"


def leaf(value: np.ndarray, shape, dtype: Dtype) -> Node:
    """A node that has its value: ``value`` is C-contiguous, of ``shape`` and ``dtype``."""
    node = object.__new__(Node)
    node.op, node.inputs, node.attrs = None, (), NO_ATTRS
    node.shape, node.dtype, node.value = shape, dtype, value
    return node


shared: dict[tuple, Node] = {}
"""Small leaves full of one number, by number, shape and dtype."""


def shared_leaf(number: float, shape, dtype: Dtype) -> Node:
    """A leaf full of ``number``, which is the same node each time where it is small. Nobody may write to its memory."""
    key = (number, shape, dtype)
    found = shared.get(key)
    if found is None:
        value = np.full(shape, number, dtype.np)
        found = private_leaf(leaf(value, shape, dtype))
        if value.size <= 64 and len(shared) < 1024:
            shared[key] = found
    return found


def private_leaf(x: Node) -> Node:
    """A leaf with a copy of the value of ``x``, to be read again and again: nobody may write to its memory."""
    copy = leaf(x.value.copy(), x.shape, x.dtype)
    copy.value.flags.writeable = False
    copy.is_buffer = True  # a storage that gets it makes a copy
    return copy


NO_ATTRS: dict = {}

SIZES = frozenset(["affine", "form", "offset", "outputs", "shape", "size", "sizes", "strides"])
"""The names of settings that are sizes, which may change from step to step as those of tensors do."""

trace: list[Node] = []
"""Nodes recorded and not yet run, in program order. One list object for the life of the process."""

written: list[weakref.ref] = []
"""Storages that have memory and whose newest content is in the trace."""


fallible: bool = False
"""Whether a node in the trace may refuse its values when it runs."""

history: list[tuple[weakref.ref, Node]] = []
"""Storages and the content, not computed yet, that was written over behind a fallible node: what stays if that fails."""


class EngineOp:
    """An operation of the engine's own (views, writes): a name and its NumPy meaning."""

    __slots__ = ("kernel", "lower", "name")
    reduces = None
    static = False
    checked = False

    def __init__(self, name: str, kernel: Callable, lower: Callable | None = None) -> None:
        self.name = name
        self.kernel = kernel
        self.lower = lower


def strided(base: np.ndarray, shape, strides, offset: int, dtype: Dtype) -> np.ndarray:
    """The elements of a contiguous ``base`` at ``offset + sum(i * stride)``, as a view; strides in elements."""
    if 0 in shape:
        return np.empty(shape, dtype.np)
    if not base.size:  # for which NumPy would not look whether the strides fit
        raise RuntimeError(f"a tensor of shape {list(shape)} is read, but its storage was resized to 0 bytes")
    if base.dtype.type.__module__ == "ml_dtypes":  # which has no buffer protocol of its own
        base = base.reshape(-1).view(np.uint8)
    size = dtype.itemsize
    steps = [s * size if n > 1 else size for n, s in zip(shape, strides, strict=True)]  # that of one element may be anything
    return np.ndarray(shape, dtype.np, base, offset * size, steps)


def write_into(base: np.ndarray, value: np.ndarray, **geometry) -> np.ndarray:
    """``base`` after ``value`` has been written to the elements that :func:`strided` would show."""
    strided(base, **geometry)[...] = value
    return base


def write_changed(base: np.ndarray, value: np.ndarray, **geometry) -> np.ndarray:
    """``base`` after those elements of ``value`` have been written that are not what the view shows already.

    So an element that was written in one of several windows which overlap keeps its value in the next.
    """
    base = base.copy()
    shown = strided(base, **geometry)
    changed = (_bytes(shown) != _bytes(value)).any(-1).reshape(shown.shape)
    shown[changed] = value[changed]
    return base


def _bytes(values: np.ndarray) -> np.ndarray:
    """The bytes of each element, which tell zeros of both signs apart and NaN not."""
    return np.ascontiguousarray(values).reshape(-1, 1).view(np.uint8)


VIEW = EngineOp("view", strided)
WRITE = EngineOp("write", lambda base, value, **geometry: write_into(base.copy(), value, **geometry))
WRITE_CHANGED = EngineOp("write_changed", write_changed)
PROJECT = EngineOp("project", lambda values, index: values[index])
