"""``x[...]`` and ``x[...] = v``: Python's index expressions as views and index ops.

Source: https://docs.pytorch.org/docs/stable/tensor_view.html and NumPy's indexing rules.
"""

from __future__ import annotations

import warnings
from math import prod

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.core.scalars import fitting
from flambeau.core.size import Size, size_of_ints
from flambeau.dispatch import grad_mode
from flambeau.engine import graph
from flambeau.engine.run import is_short, run_ahead
from flambeau.ops.creation import full
from flambeau.ops.indexing import expand_masks, filling, index, index_put, index_put_, is_filling
from flambeau.ops.parts import alias, slice_
from flambeau.tensor.order import is_strided, normal_strides
from flambeau.tensor.overlap import in_memory, shows_twice
from flambeau.tensor.reading import values_of
from flambeau.tensor.recipes import Layout, layout_of, little_window, steps_of
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, creation_of

_new = object.__new__
_WHOLE = slice(None)
_NO_DIMS = (
    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim "
    "tensor to a number"
)


def getitem(x: Tensor, key) -> Tensor:
    """``x[key]``: a view for numbers (0-dim integer tensors too), slices, ``None`` and ``...``; a copy where tensors or masks
    index."""
    by_tensor = key.__class__ is Tensor and key._shape
    if not by_tensor and x.__class__ is Tensor and dispatch.watch is None and x._tangent is None:
        layout, storage = x._layout or layout_of(x), x._storage
        if layout.parts is not None and x._history == storage.history and not (layout.requires_grad and grad_mode.enabled):
            place = _row(x, layout, key) if key.__class__ is int else _place(x, layout, key)
            if place is not None:
                return _view(x, storage, layout, *place)
    if key.__class__ is int and not x._shape:
        if not (config.legacy and key == 0):
            raise IndexError(_NO_DIMS)
        warnings.warn("x[0] of a 0-dim tensor is an old spelling of x.item()", DeprecationWarning, stacklevel=2)
        return x
    if key.__class__ is Tensor and not key._shape and x._shape and _is_number(key):
        return getitem(x, key.item())
    view, indices = (x, (key,)) if by_tensor and x._shape else _apply_basic(x, key)
    if indices is None:
        return view if view is not x else _slice(x, 0, key) if key.__class__ is slice and x._shape else alias(x)
    picked = _picked(view, indices)
    return index(view, expand_masks(view, indices)) if picked is None else picked


# --- places --------------------------------------------------------------------------------------------------
#
# Where in memory x[...] is: the shape, the strides (None: row-major), the offset, and the layout if it is known. In a loop over
# some data each is new, so there would be no use in recipes.


def _row(x: Tensor, layout: Layout, i: int, d: int = 0) -> tuple | None:
    """The place of ``x.select(d, i)``; ``None`` where there is no such row."""
    parts: dict = layout.parts  # type: ignore[assignment]
    found = parts.get(d)
    if found is None:
        if not layout.shape:
            return None
        whole, steps = layout.shape, steps_of(layout)
        shape = whole[:d] + whole[d + 1 :]
        strides = normal_strides(shape, steps[:d] + steps[d + 1 :])
        found = parts[d] = _at(whole, d), steps[d], shape, strides, little_window(layout, shape, strides)
    n, step, shape, strides, window = found
    if 0 <= i < n:
        return shape, strides, x._offset + i * step, window
    return (shape, strides, x._offset + (i + n) * step, window) if -n <= i < 0 else None


def _place(x: Tensor, layout: Layout, key) -> tuple | None:
    """The place of ``x[key]`` for numbers, slices, ``None`` and ``...``; ``None`` for whatever is more than that, or wrong."""
    if key.__class__ is tuple and len(key) == 2 and key[1].__class__ is int and len(layout.shape) == 2:  # an element, or a column
        i, j = key
        if i.__class__ is int:
            (m, n), (row, column) = layout.shape, steps_of(layout)
            if not (-m <= i < m and -n <= j < n):
                return None
            return SCALAR, None, x._offset + (i % m) * row + (j % n) * column, little_window(layout, SCALAR, None)
        if i.__class__ is slice and i == _WHOLE:
            return _row(x, layout, j, 1)
    cut: list = []
    numbers: list[int] = []
    for part in key if key.__class__ is tuple else (key,):
        kind = part.__class__
        if kind is slice:
            start, stop, step = part.start, part.stop, part.step
            if start.__class__ not in _SIMPLE or stop.__class__ not in _SIMPLE or step.__class__ not in _SIMPLE:
                return None
            cut.append((start, stop, step))
        elif kind is int:
            cut.append(int)
            numbers.append(part)
        elif part is None or part is Ellipsis:
            cut.append(part)
        elif kind is Tensor and not part._shape and _is_number(part):
            cut.append(int)
            numbers.append(part.item())
        else:
            return None
    parts: dict = layout.parts  # type: ignore[assignment]
    known = tuple(cut)
    found = parts.get(known)
    if found is None:
        found = _cut(layout, known)
        if found is None:
            return None
        if len(parts) >= MAX_PARTS:
            parts.clear()
        parts[known] = found
    shape, strides, offset, window, steps = found
    offset += x._offset
    for i, (n, step) in zip(numbers, steps):
        if i < 0:
            i += n
        if not 0 <= i < n:
            return None
        offset += i * step
    return shape, strides, offset, window


MAX_PARTS = 256
"""Of one layout, how many parts are remembered."""


def _cut(layout: Layout, cut: tuple) -> tuple | None:
    """What tensors of ``layout`` show where they are cut so: shape, strides, offset and :func:`little_window`, and for each number,
    which stands as ``int`` in ``cut``, the extent and the step of its dim. Slices are (start, stop, step)."""
    shape, steps = layout.shape, steps_of(layout)
    extents: list[int] = []
    strides: list[int] = []
    walks: list[tuple[int, int]] = []
    offset = d = 0
    n = len(steps)
    for part in cut:
        if part is Ellipsis:
            end = n - (len([p for p in cut if p is not None]) - 1 - d)
            if end < d:
                return None
            extents += shape[d:end]
            strides += steps[d:end]
            d = end
        elif part is None:
            extents.append(1)
            strides.append(_at(shape, d) * steps[d] if d < n else 1)
        elif d == n:
            return None
        else:
            extent, step = _at(shape, d), steps[d]
            d += 1
            if part is int:
                walks.append((extent, step))
                continue
            if part != _ALL:
                start, stop, by = slice(*part).indices(extent) if part[2] is None or part[2] > 0 else (0, 0, 0)
                if not by:
                    return None
                extent = max(0, (stop - start + by - 1) // by)
                offset += start * step
                step *= by
            extents.append(extent)
            strides.append(step)
    if d < n:
        extents += shape[d:]
        strides += steps[d:]
    found = size_of_ints(tuple(extents))
    normal = normal_strides(found, tuple(strides)) if extents else None
    return found, normal, offset, little_window(layout, found, normal), walks


_at = tuple.__getitem__
_SIMPLE = frozenset((int, type(None)))
_ALL = (None, None, None)
SCALAR = Size(())


def _view(x: Tensor, storage: Storage, layout: Layout, shape: Size, strides, offset: int, window) -> Tensor:
    """A view of ``x`` at a place."""
    result = _new(Tensor)
    result._storage, result._dtype, result._shape, result._offset = storage, x._dtype, shape, offset
    if strides is not None:
        result._strides = strides
    if layout.inference:
        return result
    base = x._base
    result._base = x if base is None else base
    if storage.history:
        result._history = storage.history
    if x._creation is not None or not grad_mode.enabled:
        result._creation = creation_of(x, False)
    if window is not None and Storage.windowed and not layout.requires_grad:
        value = storage.node.value
        if value.__class__ is np.ndarray and value.size > window.size:
            result._layout = window
    return result


def _is_number(index: Tensor) -> bool:
    """Whether a 0-dim index stands for the number that it holds: then what it shows is a view, so the number must be known."""
    return index._dtype.kind == dtypes.INTEGRAL and index._dtype is not dtypes.uint8


# --- index tensors whose values are there ---------------------------------------------------------------------
#
# Reading and writing a few elements at places that are known takes less time than recording that it is to be done.


def _where(indices: tuple) -> tuple | None:
    """The values of index tensors, and whole slices; ``None`` where some are not known, or may be wrong in ways of PyTorch's own."""
    found: list = []
    for i in indices:
        if i is None:
            found.append(_WHOLE)
            continue
        if i.__class__ is not Tensor or i._dtype not in _INDICES or not _is_there(i):
            return None
        found.append(values_of(i))
    return tuple(found)


def _is_there(t: Tensor) -> bool:
    """Whether the values of a tensor are there; what is pending runs for it, if that is little or it is a mask, whose values say
    how many elements there will be."""
    if t._storage.node.value is not None:
        return not t._storage.is_meta
    if config.values_unknown or t._shape.numel() > MANY or t._dtype is not dtypes.bool and not is_short(graph.trace):
        return False
    run_ahead(t._storage.node)
    return True


_INDICES = (dtypes.int64, dtypes.bool, dtypes.int32)


def _picked(x: Tensor, indices: tuple) -> Tensor | None:
    """``x`` at index tensors, at once; ``None`` where that is not for here."""
    if x.__class__ is not Tensor or x._bits or x._tangent is not None or dispatch.watch is not None or not Storage.windowed:
        return None
    if grad_mode.enabled and x.requires_grad or not _is_there(x):
        return None
    where, values = _where(indices), values_of(x)
    if where is None or values is None:
        return None
    first = where[0]
    try:
        if len(where) == 1:
            if first.dtype == bool:
                if first.shape != values.shape[: first.ndim] or not values.flags.c_contiguous or np.count_nonzero(first) > MANY:
                    return None
                values, first = values.reshape(first.size, *values.shape[first.ndim :]), np.flatnonzero(first)  # some times as fast
            if first.size * values.size > MANY * len(values):
                return None
            array = values.take(first, 0)
        else:
            array = values[where]
    except IndexError:
        return None  # PyTorch says it in other words
    if array.size > MANY or array.ndim > 1 and is_strided((x, *indices)):
        return None
    return dispatch.wrap(array, x._dtype)


def _put_at(x: Tensor, indices: tuple, value) -> bool:
    """Writes a number or a tensor to ``x`` at index tensors at once; whether that could be."""
    storage = x._storage
    if x.__class__ is not Tensor or x._bits or x._tangent is not None or dispatch.watch is not None or not Storage.windowed:
        return False
    if storage.node.value.__class__ is not np.ndarray or storage.node.dtype is not x._dtype:
        return False
    if isinstance(value, Tensor) and value._storage is storage or any([i is not None and i._storage is storage for i in indices]):
        return False
    if grad_mode.enabled and (x.requires_grad or x._base is not None and x._base.requires_grad):
        return False
    values = _ready(value, x, None)
    if values is None:
        return False
    where = _where(indices)
    try:
        return where is not None and storage.put(values, x._shape, x._strides, x._offset, where)
    except (IndexError, TypeError, ValueError):
        return False  # nothing has been written: PyTorch says it in other words


def setitem(x: Tensor, key, value) -> None:
    """``x[key] = value``."""
    if _put(x, key, value) or key.__class__ is Tensor and key._shape and _put_at(x, (key,), value):
        return
    if isinstance(key, Tensor) and key._dtype is dtypes.bool and key._shape == x._shape and value.__class__ in (int, float):
        if x._dtype.kind == dtypes.FLOATING and not (dispatch.grad_mode.enabled and x.requires_grad):
            x.masked_fill_(key, value)  # what the tape would need to know is all that index_put has more
            return
    view, indices = (x, (key,)) if key.__class__ is Tensor and key._shape and x._shape else _apply_basic(x, key)
    if not isinstance(value, (Tensor, int, float, complex, np.generic)):
        raise TypeError(
            f"can't assign a {_type_name(value)} to a {x.type()}: assign a tensor or a number, for example torch.tensor(...)"
        )
    if isinstance(value, Tensor) and value._shape and value._shape[0] == 1 and (indices is not None or value.dim() > view.dim()):
        value = value.reshape(value._shape[next((d for d, n in enumerate(value._shape) if n != 1), value.dim()) :])
    if indices is not None and _put_at(view, indices, value):
        return
    if indices is None:
        if isinstance(value, Tensor):
            _check_fits(view, value)
            same = value._storage is view._storage and isinstance(view._storage, Storage)  # a batched tensor has none
            same = same and value._shape == view._shape and value.stride() == view.stride()
            if same and value._offset == view._offset and value._dtype is view._dtype and value._bits == view._bits:
                if not (grad_mode.enabled and (view.requires_grad or value.requires_grad)):
                    view._storage.check_write()
                    view._storage.version += 1
                    return
            view.copy_(value.expand(view._shape) if value._storage is view._storage else value)
        else:
            view.copy_(_as_values(view, value))
        return
    value = filling(view, indices, value) if isinstance(value, Tensor) else _as_values(view, value)
    masks = expand_masks(view, indices)
    dispatch.refuse_overlap(index_put_.op, view, masks if is_filling(indices, value) else (value, *masks))
    if shows_twice(view):
        view, masks = in_memory(view, masks)
    dispatch.assign(view, index_put(view._alias(), masks, value, False))


def _put(x: Tensor, key, value) -> bool:
    """Writes a number, or a tensor of the right shape, to its place in memory at once; whether that could be.

    Not where the tape has to know of it, nor where an op's calls are watched.
    """
    if x.__class__ is not Tensor or dispatch.watch is not None or not Storage.windowed:
        return False
    storage, layout = x._storage, x._layout or layout_of(x)
    if storage.node.value.__class__ is not np.ndarray or storage.node.dtype is not x._dtype:
        return False
    if layout.parts is None or x._history != storage.history:
        return False
    on_tape = grad_mode.enabled
    if x._tangent is not None or on_tape and (layout.requires_grad or x._base is not None and x._base.requires_grad):
        return False
    place = _row(x, layout, key) if key.__class__ is int else _place(x, layout, key)
    if place is None:
        return False
    shape, strides, offset, _ = place
    if (
        value.__class__ is Tensor
        and value._storage is storage
        and value._shape == shape
        and not value._bits
        and value._tangent is None
    ):
        if value._offset == offset and value._strides == strides:  # x[i] += 1 has written it already
            storage.check_write()
            storage.version += 1
            values = None
        elif strides is None is value._strides and abs(value._offset - offset) >= prod(shape):  # rows that do not overlap
            values = values_of(value)
        else:
            return False
    else:
        values = _ready(value, x, shape)
        if values is None:
            return False
    if values is not None and not storage.put(values, shape, strides, offset):
        return False
    storage.unseen += (x if x._base is None else x._base)._from_data
    return True


def _ready(value, x: Tensor, shape: Size | None):
    """What is written to a part of ``x`` as a number, or an array of its dtype; ``None`` where it is not there, or does not fit.

    A tensor must have this shape, or none. What is pending runs for it, if that is little.
    """
    dtype = x._dtype
    if value.__class__ is float or value.__class__ is int:
        if dtype in _AS_IT_IS and -_EXACT <= value <= _EXACT:
            return value
        return dtypes.cast(np.array(fitting(value, dtype)), dtype)
    if value.__class__ is not Tensor or value._dtype is not dtype or value._tangent is not None or value._bits:
        return None
    if shape is not None and value._shape and value._shape != shape or grad_mode.enabled and value.requires_grad:
        return None
    within = value._storage is x._storage
    if within and value._shape:  # they may overlap
        return None
    return values_of(value, within) if _is_there(value) else None


_AS_IT_IS, _EXACT = (dtypes.float32, dtypes.float64), 1 << 53
"""Numbers up to here become elements of these dtypes by one rounding, if any."""
MANY = 4096
"""With so many elements a write may wait, like anything else."""


def _type_name(value) -> str:
    return "numpy.ndarray" if isinstance(value, np.ndarray) else type(value).__name__


def _as_values(view: Tensor, value) -> Tensor:
    """A number that is written to ``view`` as a tensor."""
    return full.op.check((), value.item() if isinstance(value, np.generic) else value, dtype=view._dtype)


def _check_fits(view: Tensor, value: Tensor) -> None:
    shape = value.shape
    lead = len(shape) - view.dim()
    if lead > 0 or any(n not in (1, m) for n, m in zip(reversed(shape), reversed(view.shape), strict=False)):
        sizes = zip(reversed(view.shape), reversed(shape), strict=False)
        at = next((i for i, (m, n) in enumerate(sizes, 1) if n not in (1, m)), 0)
        if at:
            raise RuntimeError(
                f"The expanded size of the tensor ({view.shape[-at]}) must match the existing size ({shape[-at]}) at "
                f"non-singleton dimension {view.dim() - at}.  Target sizes: {list(view.shape)}.  Tensor sizes: {list(shape)}"
            )
        raise RuntimeError(
            f"expand({value.type()}{{{list(shape)}}}, size={list(view.shape)}): the number of sizes provided "
            f"({view.dim()}) must be greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )


def _apply_basic(x: Tensor, key) -> tuple[Tensor, tuple | None]:
    """Applies what can be a view; returns the view, and the index tensors that are left (``None`` where none is)."""
    parts = _parts(x, key)
    view = x
    d = 0
    indices: list = []
    for position, part in enumerate(parts):
        if part is None:
            view = view.unsqueeze(d)
            indices.append(None)
            d += 1
        elif part.__class__ is slice:
            if part != _WHOLE:
                view = _slice(view, d, part)
            indices.append(None)
            d += 1
        elif part is True or part is False:
            view = view.unsqueeze(d)
            indices.append(dispatch.wrap(np.array([part])))
            d += 1
        elif part.__class__ is int:
            n = view._shape[d]
            if not -n <= part < n:
                raise IndexError(f"index {part} is out of bounds for dimension {position} with size {n}")
            view = view.select(d, part)
        else:
            indices.append(part)
            if part.dtype in (dtypes.bool, dtypes.uint8):
                if not part.dim():
                    view = view.unsqueeze(d)
                    indices[-1] = part.reshape(1)
                    d += 1
                d += part.dim()
            else:
                d += 1
    if all(i is None for i in indices):
        return view, None
    return view, tuple(indices)


def _slice(view: Tensor, d: int, part: slice) -> Tensor:
    try:
        start, stop, step = (v.__index__() if v is not None else None for v in (part.start, part.stop, part.step))
    except AttributeError:
        raise TypeError("slice indices must be integers or None or have an __index__ method") from None
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if step is not None and step < 0:
        raise ValueError("step must be greater than zero: use torch.flip to reverse a dimension")
    return slice_(view, d, start, stop, step)


def _parts(x: Tensor, key) -> list:
    """The key as a list of int, slice, None, bool and index tensors, with ``...`` written out."""
    if key.__class__ is list and any(isinstance(part, _PARTS) for part in key):
        warnings.warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] instead of x[seq]. "
            "In PyTorch this will be interpreted as x[torch.tensor(seq)] in the future.",
            UserWarning,
            stacklevel=4,
        )
        key = tuple(key)
    parts = list(key) if isinstance(key, tuple) else [key]
    out: list = []
    used = 0
    ellipsis_at = None
    for part in parts:
        if part is None or part is True or part is False:
            out.append(part)
            continue
        if part is Ellipsis:
            if ellipsis_at is None:
                ellipsis_at = len(out)
            continue
        if part.__class__ is slice or part.__class__ is int:
            used += 1
            out.append(part)
            continue
        part = _as_index(part)
        if isinstance(part, Tensor):
            mask = part.dtype in (dtypes.bool, dtypes.uint8)
            used += part.dim() if mask else 1
        else:
            used += 1
        out.append(part)
    ndim = x.dim()
    if used > ndim:
        if not ndim and not out:
            return out
        if ndim:
            raise IndexError(f"too many indices for tensor of dimension {ndim}")
        if slice in map(type, out):
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        raise IndexError(_NO_DIMS if key.__class__ is int else "too many indices for tensor of dimension 0")
    if ellipsis_at is not None:
        out[ellipsis_at:ellipsis_at] = [_WHOLE] * (ndim - used)
    return out


# What makes a list stand for a tuple of indices rather than for an index tensor.
_PARTS = (type(None), type(Ellipsis), slice, Tensor, list, tuple, np.ndarray)


def _as_index(part):
    """An index that is no plain int or slice: a tensor, or an int where it stands for one."""
    if isinstance(part, Tensor):
        if part._shape or part.dtype in (dtypes.bool, dtypes.uint8):
            return part
        if part.dtype.kind != dtypes.INTEGRAL:
            raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {part.dtype}")
        return part if part._opaque else part.item()
    if isinstance(part, (np.bool_,)):
        return dispatch.wrap(np.asarray(part))
    if isinstance(part, (list, tuple, range, np.ndarray)):
        array = np.asarray([p.item() if isinstance(p, Tensor) and not p.dim() else p for p in part]
                           if not isinstance(part, np.ndarray) else part)  # fmt: skip
        if array.dtype.kind == "f":  # as PyTorch, which cuts them; also the empty list
            array = array.astype(np.int64)
        index = dispatch.wrap(np.array(array))
        return index if index._shape or not _is_number(index) else index.item()
    if hasattr(part, "__index__"):
        return part.__index__()
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
        f"{type(part).__name__})"
    )


Tensor.__getitem__ = getitem  # type: ignore[attr-defined]
Tensor.__setitem__ = setitem  # type: ignore[attr-defined]
