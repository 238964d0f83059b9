"""``x[...]`` and ``x[...] = v``: Python's index expressions as views and index ops.

Source: https://docs.pytorch.org/docs/stable/tensor_view.html and NumPy's indexing rules.
"""

from __future__ import annotations

import warnings

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.core.size import Size
from flambeau.dispatch import grad_mode
from flambeau.ops.creation import full
from flambeau.ops.indexing import expand_masks, filling, index, index_put, index_put_
from flambeau.ops.parts import alias, slice_
from flambeau.tensor.order import normal_strides
from flambeau.tensor.tensor import Tensor, creation_of

_WHOLE = slice(None)
_NO_DIMS = (
    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim "
    "tensor to a number"
)


def getitem(x: Tensor, key) -> Tensor:
    """``x[key]``: a view for numbers (0-dim integer tensors too), slices, ``None`` and ``...``; a copy where tensors or masks
    index."""
    if key.__class__ is int:
        if x._shape:
            n = x._shape[0]
            if not -n <= key < n:
                raise IndexError(f"index {key} is out of bounds for dimension 0 with size {n}")
        elif not (config.legacy and key == 0):
            raise IndexError(_NO_DIMS)
        else:
            warnings.warn("x[0] of a 0-dim tensor is an old spelling of x.item()", DeprecationWarning, stacklevel=2)
            return x
        return x.select(0, key) if (part := _part(x, key, None)) is None else part
    if key.__class__ is slice and key.step is None and x._shape:
        start, stop = key.start or 0, x._shape[0] if key.stop is None else key.stop
        if start.__class__ is int and stop.__class__ is int and 0 <= start < stop <= x._shape[0]:
            part = _part(x, start, stop - start)
            if part is not None:
                return part
    if key.__class__ is Tensor and not key._shape and x._shape and _is_number(key):
        return getitem(x, key.item())
    view, indices = _apply_basic(x, key)
    if indices is None:
        return view if view is not x else _slice(x, 0, key) if key.__class__ is slice and x._shape else alias(x)
    return index(view, expand_masks(view, indices))


def _part(x: Tensor, start: int, length: int | None) -> Tensor | None:
    """``x[start]``, or so many elements of the first dim from there on; ``None`` where that is not all that matters.

    In a loop over some data each is new, so there would be no use in recipes.
    """
    if x.__class__ is not Tensor:
        return None
    storage = x._storage
    layout = x._layout or dispatch.layout_of(x)
    parts = layout.parts
    if layout.requires_grad and grad_mode.enabled or x._history != storage.history or parts is None:
        return None
    if x._tangent is not None:
        return None
    found = parts.get(length)
    if found is None:
        shape, strides = x._shape, x.stride()
        if length is None:
            found = shape[1:], normal_strides(shape[1:], strides[1:]), strides[0]
        else:
            part = Size((length, *shape[1:]))
            found = part, normal_strides(part, strides), strides[0]
        parts[length] = found
    result = object.__new__(Tensor)
    result._storage, result._dtype = storage, x._dtype
    result._shape, result._strides, step = found
    result._offset = x._offset + (start if start >= 0 else start + x._shape[0]) * step
    if layout.inference:
        return result
    base = x._base
    if base is None:
        result._base = x
    else:
        result._base = base
        if x._creation is not None:
            result._creation = x._creation
    result._history = storage.history
    if layout.requires_grad or not grad_mode.enabled:
        result._creation = creation_of(x, False)
    return result


def _is_number(index: Tensor) -> bool:
    """Whether a 0-dim index stands for the number that it holds: then what it shows is a view, so the number must be known."""
    return index._dtype.kind == dtypes.INTEGRAL and index._dtype is not dtypes.uint8


def setitem(x: Tensor, key, value) -> None:
    """``x[key] = value``."""
    if isinstance(key, Tensor) and key._dtype is dtypes.bool and key._shape == x._shape and value.__class__ in (int, float):
        if x._dtype.kind == dtypes.FLOATING and not (dispatch.grad_mode.enabled and x.requires_grad):
            x.masked_fill_(key, value)  # what the tape would need to know is all that index_put has more
            return
    view, indices = _apply_basic(x, key)
    if not isinstance(value, (Tensor, int, float, complex, np.generic)):
        raise TypeError(
            f"can't assign a {_type_name(value)} to a {x.type()}: assign a tensor or a number, for example "
            "torch.tensor(...)"
        )
    if isinstance(value, Tensor) and value._shape and value._shape[0] == 1 and (indices is not None or value.dim() > view.dim()):
        value = value.reshape(value._shape[next((d for d, n in enumerate(value._shape) if n != 1), value.dim()) :])
    if indices is None:
        if isinstance(value, Tensor):
            _check_fits(view, value)
            view.copy_(value.expand(view._shape) if value._storage is view._storage else value)
        else:
            view.copy_(_as_values(view, value))
        return
    value = filling(view, indices, value) if isinstance(value, Tensor) else _as_values(view, value)
    masks = expand_masks(view, indices)
    dispatch.refuse_overlap(index_put_.op, view, (value, *masks))
    dispatch.assign(view, index_put(view._alias(), masks, value, False))


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
