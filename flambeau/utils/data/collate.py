"""From a list of samples to a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from copy import copy
from typing import Any

import numpy as np

from flambeau import dispatch, ops
from flambeau.core.dtypes import float64
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import as_tensor, tensor

__all__ = [
    "collate",
    "collate_float_fn",
    "collate_int_fn",
    "collate_numpy_array_fn",
    "collate_numpy_scalar_fn",
    "collate_str_fn",
    "collate_tensor_fn",
    "default_collate",
    "default_collate_err_msg_format",
    "default_collate_fn_map",
    "default_convert",
]

CollateMap = dict[type | tuple[type, ...], Callable]
default_collate_err_msg_format = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def default_convert(data: Any) -> Any:
    """``data`` with every NumPy array and number in it made a tensor: what a loader does that makes no batches.

    >>> import numpy as np
    >>> from flambeau.utils.data import default_convert
    >>> default_convert({"x": np.array([1, 2]), "name": "a"})
    {'x': tensor([1, 2]), 'name': 'a'}

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_convert
    """
    if isinstance(data, np.ndarray):
        return data if data.dtype.kind in "SUO" else as_tensor(data)
    if isinstance(data, np.generic) and not isinstance(data, (str, bytes)):
        return as_tensor(data)
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence_like(data, [default_convert(item) for item in data])
    return data


def collate(batch: Sequence, *, collate_fn_map: CollateMap | None = None) -> Any:
    """The batch of a list of samples; ``collate_fn_map`` says how, by the type of the first.

    A function of the map is called as ``function(batch, collate_fn_map=collate_fn_map)``. Mappings and sequences that
    are not in the map are taken apart: a list of dictionaries becomes a dictionary of batches.
    """
    first = batch[0]
    functions = collate_fn_map or {}
    function = functions.get(type(first))
    if function is None:
        function = next((f for cls, f in functions.items() if isinstance(first, cls)), None)
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        return _mapping_like(
            first, {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in first}
        )
    if isinstance(first, Sequence):
        named = isinstance(first, tuple) and hasattr(first, "_fields")
        lengths = [len(sample) for sample in batch]
        if not named and len(set(lengths)) > 1:
            raise RuntimeError(f"each element in list of batch should be of equal size, got sizes {lengths[:20]}")
        columns = zip(*batch, strict=not named)
        return _sequence_like(first, [collate(column, collate_fn_map=collate_fn_map) for column in columns])
    raise TypeError(default_collate_err_msg_format.format(type(first)))


def _mapping_like(template: Mapping, items: dict) -> Any:
    """``items`` in a mapping of the template's type, where it can be made; else a dictionary."""
    try:
        if isinstance(template, MutableMapping):
            filled = copy(template)
            filled.update(items)
            return filled
        return type(template)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _sequence_like(template: Sequence, items: list) -> Any:
    """``items`` in a sequence of the template's type, where it can be made; else, and for a plain tuple, a list."""
    if isinstance(template, tuple):
        return type(template)(*items) if hasattr(template, "_fields") else items
    try:
        if isinstance(template, MutableSequence):
            filled = copy(template)
            for i, item in enumerate(items):
                filled[i] = item
            return filled
        return type(template)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def collate_tensor_fn(batch: Sequence[Tensor], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Tensors of one shape, along a new first dimension."""
    first = batch[0]
    if all(t.shape == first.shape and t.dtype is first.dtype and not t.requires_grad for t in batch):
        # Nothing to record, and one copy of the values costs less than an operation with hundreds of inputs.
        return dispatch.wrap(np.stack([t._array() for t in batch]), first.dtype)
    return ops.stack(tuple(batch), 0)


def collate_numpy_array_fn(batch: Sequence[np.ndarray], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Arrays of one shape, as a tensor with a new first dimension."""
    if batch[0].dtype.kind in "SUO":
        raise TypeError(default_collate_err_msg_format.format(batch[0].dtype))
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Sequence[np.generic], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """NumPy's numbers, as a tensor."""
    return as_tensor(np.array(batch))


def collate_float_fn(batch: Sequence[float], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Floats, as a tensor of float64."""
    return tensor(batch, dtype=float64)


def collate_int_fn(batch: Sequence[int], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    """Integers, as a tensor."""
    return tensor(batch)


def collate_str_fn(batch: Sequence, *, collate_fn_map: CollateMap | None = None) -> Sequence:
    """Strings, as they are."""
    return batch


default_collate_fn_map: CollateMap = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}
"""How :func:`default_collate` treats each type of sample; programs may add to it."""


def default_collate(batch: Sequence) -> Any:
    """The batch of a list of samples: tensors, arrays and numbers are stacked along a new first dimension.

    Dictionaries, lists and named tuples keep their type and hold batches; tuples become lists; strings stay as they are.

    >>> from flambeau.utils.data import default_collate
    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


np_str_obj_array_pattern = re.compile(r"[SaUO]")
"""The kinds of NumPy arrays that no tensor can be made of, as libraries with a ``collate`` of their own ask for them."""
default_collate_err_msg_format = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
