"""How tensors are read: the node of a tensor's value, and the parts of data that are leaves of their own, *windows*."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from flambeau import dispatch
from flambeau.core.size import Size, contiguous_strides
from flambeau.engine import flight
from flambeau.engine.graph import NO_ATTRS, VIEW, Node
from flambeau.tensor.attributes import contents_of
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor

_new = object.__new__


def is_plain(t: Tensor) -> bool:
    """Whether a tensor is all of its memory, as it lies there."""
    node = t._storage.node
    return t._strides is None and not t._offset and node.shape == t._shape and node.dtype is t._dtype


def in_memory(t: Tensor) -> Tensor:
    """``t`` as its elements are in memory, without the conjugate and the sign that reading them gives them; off the tape."""
    out = make_tensor(t._storage, t._shape, t._dtype)
    out._strides = None if t._strides == contiguous_strides(t._shape) else t._strides
    out._offset = t._offset
    return out


def geometry_of(t: Tensor) -> dict:
    """Which part of a storage ``t`` is: the settings of the nodes that read or write it there."""
    return {"shape": t._shape, "strides": t.stride(), "offset": t._offset, "dtype": t._dtype}


def read(t: Tensor) -> Node:
    """The node whose value is ``t``'s, as it is now in the order of the program."""
    storage = t._storage
    if t._strides is not None and t._bits:
        return dispatch.flipped(read(in_memory(t)), t._bits)
    if storage.exposed and storage.is_shared():
        return storage.snapshot(t._shape, t.stride(), t._offset, t._dtype)
    node = storage.node
    if is_plain(t):
        return node
    layout, window = t._layout, is_window(t)
    if layout is not None and (layout.memory is WINDOW) is not window:
        t._layout = None  # its values have come, or something has been written over them
    if window:
        if is_little(t._shape, t._strides):
            return _copied(t, node)
        return storage.window(t._offset, t._shape, t._shape.numel())
    if storage.busy:
        storage.busy -= 1
    return Node(VIEW, (node,), geometry_of(t), t._shape, t._dtype)


def values_of(t: Tensor, own: bool = False) -> np.ndarray | None:
    """The values of a tensor whose storage's content is there; ``None`` where it could not be computed. ``own``: a copy."""
    node = t._storage.node
    values = node.value
    if values.__class__ is not np.ndarray:
        return None
    if flight.aloft is not None:
        flight.settle(values)
    if not is_plain(t):
        values = VIEW.kernel(values, **geometry_of(t))
    return values.copy() if own else values


# --- windows -------------------------------------------------------------------------------------------------

WINDOW = object()
"""The memory, in a layout, of a tensor that is read through a window: all of them are alike, wherever they begin."""
LITTLE, SPREAD, CROP = 64, 1024, 1 << 16
"""Elements of a part that is copied rather than looked at where it is; of one whose elements, or rows, lie apart; and of one with
more than two dims, such as a crop of pictures that is drawn at every step: that takes less time than what is new for the engine at
each place. (Large parts of a matrix are rather those of a grid, several of which one loop reads.)"""


def is_little(shape: Size, strides: tuple[int, ...] | None) -> bool:
    """Whether a part of some data is so small that reading it copies it: then nobody need know of that when data are written."""
    if not shape:
        return True
    if strides is None:
        return 0 < shape.numel() <= LITTLE
    if len(shape) == 1:
        return 0 < tuple.__getitem__(shape, 0) <= SPREAD and strides[0] > 0
    return (
        strides[-1] == 1 and 0 < prod(shape) <= (CROP if len(shape) > 2 else SPREAD) and min(strides) > 0
    )  # rows from some column on


def _copied(t: Tensor, content: Node) -> Node:
    """A leaf with a copy of a part of some data."""
    if flight.aloft is not None:
        flight.settle(content.value)
    storage, shape, offset, strides = t._storage, t._shape, t._offset, t._strides
    flat: Any = storage.buffer if storage.leaf is content else content.value.reshape(-1)
    if strides is None or len(shape) == 1:
        step = 1 if strides is None else strides[0]
        end = offset + (prod(shape) - 1) * step + 1
        if end > flat.size:  # of memory that has become smaller
            VIEW.kernel(flat, (end,), (1,), 0, t._dtype)  # raises
        if not shape:
            value = flat[offset, ...].copy()
        else:
            value = flat[offset:end:step].copy()
            if len(shape) > 1:
                value = value.reshape(shape)
    else:
        numbers, size = t._dtype.np, flat.itemsize
        if numbers.kind != "V" and flat.size:  # as VIEW.kernel looks at it, in fewer steps
            steps = [s * size if n > 1 else size for n, s in zip(shape, strides)]
            value = np.ndarray(shape, numbers, flat, offset * size, steps).copy()
        else:
            value = VIEW.kernel(flat, shape, strides, offset, t._dtype).copy()
    found = _new(Node)  # as graph.leaf makes it
    found.op, found.inputs, found.attrs, found.shape, found.dtype, found.value = None, (), NO_ATTRS, shape, t._dtype, value
    return found


def is_window(t: Tensor) -> bool:
    """Whether a tensor is a part of some data: of values that are there. Either a run of elements, of data that do not change all
    the time, or a little part."""
    storage = t._storage
    node = storage.node
    value = node.value
    if value.__class__ is not np.ndarray or node.dtype is not t._dtype or t._requires_grad or t._grad_fn is not None:
        return False
    size = prod(t._shape)
    if not Storage.windowed or t._bits or not 0 < size < value.size:
        return False
    if is_little(t._shape, t._strides):
        return True
    return t._strides is None and not storage.busy and (storage.buffer is None or storage.leaf is node)


def placeless(t: Tensor) -> Tensor:
    """``t``, or a tensor of its own with the same values where it is a window, so that nothing made of it can tell where it lies.

    Backward passes that repeat take gradients of one layout for alike, and all windows have one.
    """
    if "_storage" in contents_of(t) and is_window(t):  # a batched tensor has none
        return make_tensor(Storage(read(t)), t._shape, t._dtype)
    return t


def window_of(t: Tensor) -> Node | None:
    """What reading a window makes; ``None`` for a tensor that is none any more."""
    layout = t._layout
    if layout is not None and layout.little and Storage.windowed:  # is_window, in few steps
        node = t._storage.node
        value = node.value
        if value.__class__ is np.ndarray and node.dtype is layout.dtype and layout.size < value.size:
            return _copied(t, node)
    if is_window(t):
        return read(t)
    t._layout = None
    return None
