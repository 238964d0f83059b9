"""Reading and writing at places given by index tensors.

Index tensors are int64 for the kernels. What is out of range raises where the op runs, with the line that recorded it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import warn
from flambeau.core.scalars import fitting
from flambeau.core.size import broadcast_shapes, wrap_dim
from flambeau.ops import layouts
from flambeau.ops.limits import is_index_of
from flambeau.ops.numerics import all_below
from flambeau.ops.record import ErrorSample, Sample, by_tensor, composite, op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Number, Tensor


def _check_index(index, name: str) -> None:
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {index.dtype}")


def in_range(index: np.ndarray, n: int, dim: int, error: type[Exception] = IndexError, start: str = "") -> np.ndarray:
    """``index``, or the error that PyTorch raises where an entry is not in ``[0, n)``."""
    if not all_below(index, n):
        low, high = index.min(), index.max()
        bad = low if low < 0 else high
        raise error(f"{start}index {bad} is out of bounds for dimension {dim} with size {n}")
    return index


def verify_along(error: type[Exception] = IndexError, start: str = "") -> Callable:
    """The check of the index, an op's second input, along the dim ``dim`` of its first."""

    def verify(inputs: tuple, attrs: dict) -> bool:
        shape, known = inputs[0]._shape, dispatch.known(inputs[1])
        if known is None or not shape:
            return bool(shape) and is_index_of(inputs[1], shape[attrs["dim"]])
        in_range(known, shape[attrs["dim"]], attrs["dim"], error, start)
        return True

    return verify


# --- advanced indexing: x[i, :, mask] ------------------------------------------------------------------------


def _resolve(shape: tuple[int, ...], indices: tuple) -> tuple:
    """Index arrays checked and counted from the front, full slices where there is none."""
    out = []
    for d, i in enumerate(indices):
        if i is None:
            out.append(slice(None))
            continue
        n = shape[d]
        if i.size:
            if not n:
                raise IndexError("index is out of bounds for dimension with size 0")
            if not all_below(i, n):
                low, high = i.min(), i.max()
                if low < -n or high >= n:
                    raise IndexError(f"index {low if low < -n else high} is out of bounds for dimension {d} with size {n}")
        out.append(i)
    return tuple(out)


def _verify(inputs: tuple, attrs: dict) -> bool:
    """The check of the index tensors of an op, which are its last inputs."""
    indices = inputs[1 + ("accumulate" in attrs) :]
    known = [None if i is None else dispatch.known(i) for i in indices]
    for i, k, n in zip(indices, known, inputs[0]._shape):
        if i is not None and k is None and not is_index_of(i, n):
            return False
    _resolve(inputs[0]._shape, tuple(known))
    return True


def _index_kernel(x, *indices):
    return x[_resolve(x.shape, indices)]


def _index_put_kernel(x, values, *indices, accumulate):
    out = x.copy()
    where = _resolve(x.shape, indices)
    if accumulate:
        np.add.at(out, where, values)
    else:
        out[where] = values
    return out


def _index_gradient(g, needs, input_shape, indices):
    if not needs[0]:
        return (None,) * len(needs)
    zeros = g.new_zeros(input_shape)
    return (index_put(zeros, indices, g, True), *[None] * (len(needs) - 1))


def index_shape(shape: tuple[int, ...], indices: Sequence[Any]) -> tuple[int, ...]:
    """The shape of ``x[indices]``: the broadcast index shape in the place of the indexed dims (first, where apart)."""
    at = [d for d, i in enumerate(indices) if i is not None]
    try:
        block = broadcast_shapes(*[indices[d].shape for d in at])
    except RuntimeError:
        shapes = ", ".join(str(list(indices[d].shape)) for d in at)
        raise IndexError(f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}") from None
    rest = tuple(n for d, n in enumerate(shape) if d >= len(indices) or indices[d] is None)
    if at[-1] - at[0] == len(at) - 1:
        return rest[: at[0]] + tuple(block) + rest[at[0] :]
    return tuple(block) + rest


@op(
    layout=layouts.indexed,
    name="_index",
    method=False,
    checked=True,
    verify=_verify,
    tensors="input *indices",
    kernel=_index_kernel,
    grad={"*": _index_gradient},
    backward_name="IndexBackward0",
)
def index(input: Tensor, indices: Sequence[Tensor]):
    """``input`` at index tensors (int64, or ``None`` for a whole dim), with NumPy's rules."""
    return index_shape(tuple(input.shape), indices), input.dtype, (input, *indices), {}


def _index_put_gradient(g, needs, accumulate, indices):
    own = None
    if needs[0]:
        own = g if accumulate else index_put(g, indices, g.new_zeros(()), False)
    return (own, index(g, indices) if needs[1] else None, *[None] * (len(needs) - 2))


@op(
    name="_index_put",
    method=False,
    checked=True,
    verify=_verify,
    tensors="input values *indices",
    kernel=_index_put_kernel,
    grad={"*": _index_put_gradient},
    backward_name="IndexPutBackward0",
)
def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate):
    """``input`` with ``values`` written, or added, at index tensors."""
    target = index_shape(tuple(input.shape), indices)
    try:
        fits = broadcast_shapes(values.shape, target) == target
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result of shape "
            f"{list(target)}"
        )
    if values.dtype is not input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {dtypes.scalar_name(input.dtype)} for the destination "
            f"and {dtypes.scalar_name(values.dtype)} for the source: convert the source with .to({input.dtype})."
        )
    return tuple(input.shape), input.dtype, (input, values, *indices), {"accumulate": accumulate}


def expand_masks(input, indices) -> tuple:
    """Index tensors as int64, with each boolean mask replaced by the indices of its true entries."""
    out: list = []
    for i in indices:
        if i is None:
            out.append(None)
        elif i.dtype in (dtypes.bool, dtypes.uint8):
            if i._opaque and not i._storage.is_meta:
                raise RuntimeError(
                    "vmap: We do not support batching operators that can support dynamic shape. Attempting to batch over indexing "
                    "with a boolean mask."
                )
            if i.dtype is dtypes.uint8:
                warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.")
            for k, n in enumerate(i.shape):
                d = len(out) + k
                have = input.shape[d] if d < input.dim() else None
                if n != have:
                    raise IndexError(
                        f"The shape of the mask {list(i.shape)} at index {k} does not match the shape of the indexed tensor "
                        f"{list(input.shape)} at index {d}"
                    )
            if i._storage.is_meta:
                i.nonzero()  # raises
            out.extend(dispatch.wrap(a, dtypes.int64) for a in np.nonzero(i._array()))
        elif i.dtype in (dtypes.int64, dtypes.int32):
            out.append(i if i.dtype is dtypes.int64 else i.to(dtypes.int64))
        else:
            raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {i.dtype}")
    if len(out) > input.dim():
        raise IndexError(f"too many indices for tensor of dimension {input.dim()}")
    return tuple(out)


def filling(input, indices, values):
    """``values`` in ``input``'s dtype where one value is written under one mask, which is filling; else as they are.

    Only that converts: other values must have the dtype of what they are written to.
    """
    if values.dtype is input.dtype or not is_filling(indices, values):
        return values
    return values.to(input.dtype).reshape(())


def is_filling(indices, values) -> bool:
    """Whether one value is written under one mask. It is read as a number then, so it may lie in the memory that is written to."""
    given = [i for i in indices if i is not None]
    return len(given) == 1 and values.numel() == 1 and given[0].dtype in (dtypes.bool, dtypes.uint8)


@composite(layout=layouts.as_first, name="index_put", inplace=True)
def index_put_(input: Tensor, indices: Sequence[Tensor | None] | Sequence[Tensor], values: Tensor, accumulate: bool = False):
    """``input`` with ``values`` written (or added) at the tuple of index tensors ``indices``.

    Raises ``RuntimeError`` without an index, for shapes that do not fit, and for values of another dtype.

    >>> import flambeau as torch
    >>> torch.index_put(torch.zeros(3), (torch.tensor([0, 2]),), torch.tensor([1.0, 5.0]))
    tensor([1., 0., 5.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_put.html
    """
    if all(i is None for i in indices):
        raise RuntimeError("at least one index must be provided")
    values = values if accumulate else filling(input, indices, values)
    return index_put(input, expand_masks(input, indices), values, bool(accumulate))


# --- whole slices --------------------------------------------------------------------------------------------


def _index_select_kernel(x, index, dim):
    n = x.shape[dim] if x.ndim else 1
    taken = np.take(x, in_range(index.reshape(-1), n, dim, start="index out of range in self: "), dim)
    return taken.reshape(x.shape[:dim] + (index.size,) + x.shape[dim + 1 :] if x.ndim else x.shape)


def _index_select_gradient(g, input_shape, dim, index):
    return index_add(g.new_zeros(input_shape), dim, index, g)


@op(
    tensors="input index",
    checked=True,
    verify=verify_along(start="index out of range in self: "),
    out="same",
    kernel=_index_select_kernel,
    grad={"input": _index_select_gradient},
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 4)), Sample(make(2, 3), -1, make.index(3, 2)), Sample(make(), 0, make.index(1, 1)),
    ],
    errors=lambda make: [
        ErrorSample(IndexError, "Index is supposed to be a vector", make(3, 2), 0, make.index(3, 2, 2)),
        ErrorSample(RuntimeError, "Expected dtype int32/int64", make(3), 0, make(2)),
    ],
)  # fmt: skip
def index_select(input: Tensor, dim: int, index: Tensor):
    """The slices of ``dim`` at the entries of the 1-d ``index``, as a copy.

    Raises ``IndexError`` for an ``index`` of more than one dim.

    >>> import flambeau as torch
    >>> torch.index_select(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([1, 1]))
    tensor([[2, 2],
            [4, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.index_select.html
    """
    d = wrap_dim(dim, input.dim())
    _check_index(index, "index_select")
    if index.dim() > 1:
        raise IndexError(f"index_select(): Index is supposed to be a vector, but got dim: {index.dim()}")
    if input.dim() and not input.shape[d] and index.numel():
        raise RuntimeError(
            f"index_select(): self indexing axis dim should be positive: dim {d} of shape {list(input.shape)} is empty"
        )
    shape = input.shape[:d] + (index.numel(),) + input.shape[d + 1 :] if input.dim() else ()
    return shape, input.dtype, (input, index), {"dim": d}


def _rows_in_range(index: np.ndarray, shape: tuple[int, ...], dim: int) -> np.ndarray:
    """``index``, or the error that ``index_add`` raises, which depends on how many dims there are."""
    if len(shape) > 1:
        return in_range(index, shape[dim], dim, RuntimeError)
    if not all_below(index, shape[0] if shape else 1):
        raise IndexError("index out of range in self")
    return index


def _verify_index_add(inputs: tuple, attrs: dict) -> bool:
    known = dispatch.known(inputs[1])
    if known is None:
        return False
    _rows_in_range(known, inputs[0]._shape, attrs["dim"])
    return True


def _index_add_kernel(x, index, source, dim):
    out = np.array(x, order="C")
    flat = out.reshape(1) if not out.ndim else out
    index = _rows_in_range(index.reshape(-1), flat.shape, dim)
    source = source.reshape((1,)) if not source.ndim else source
    np.add.at(np.moveaxis(flat, dim, 0), index, np.moveaxis(source, dim, 0))
    return out


def _check_slices(name, input, dim, index, source):
    """The dim along which ``source``'s slices go into ``input``; a tensor without dims counts as one slice."""
    d = wrap_dim(dim, input.dim())
    if index.dtype not in (dtypes.int64, dtypes.int32) or index.dtype is dtypes.int32 and name == "index_copy":
        wanted = "dtype int32/int64 for index but got:" if name == "index_add" else "a long tensor for index, but got"
        raise RuntimeError(f"{name}_(): Expected {wanted} {dtypes.scalar_name(index.dtype)}")
    if index.dim() > 1:
        raise IndexError(f"{name}_(): Index should have dimension 1 or 0 (got {index.dim()})")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}_(): self ({dtypes.scalar_name(input.dtype)}) and source ({dtypes.scalar_name(source.dtype)}) must have the "
            "same scalar type"
        )
    if name == "index_add":
        _check_added(input, d, index, source)
    else:
        _check_copied(input, d, index, source)
    return d


def _check_added(input, d, index, source):
    n = source.shape[d] if source.dim() > d else 1
    if index.numel() != n:
        raise RuntimeError(
            f"index_add_(): Number of indices ({index.numel()}) should be equal to source.size(dim): ({n}), for dim: {d}"
        )
    mine, theirs = list(input.shape), list(source.shape)
    if mine and len(mine) == len(theirs):
        mine[d] = theirs[d] = 0
    if mine != theirs:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(input.shape)} source.shape = {list(source.shape)}"
        )


def _check_copied(input, d, index, source):
    if not source.dim() and index.numel() != 1:
        raise IndexError(f"index_copy_(): When source is scalar, index should have one element (got {index.numel()})")
    if source.dim() != input.dim() and source.dim() and input.dim():
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source dimensionality "
            f"({source.dim()}), destination dimensionality ({input.dim()})"
        )
    mine, theirs = list(input.shape), list(source.shape)
    if mine:
        del mine[d]
    if theirs:
        del theirs[d]
    if mine != theirs:
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{' '.join(map(str, mine))} at dimension {d} and source slice shape: {' '.join(map(str, theirs))} at dimension 0."
        )
    if source.dim() and index.numel() != source.shape[d]:
        raise IndexError(
            f"index_copy_(): Number of indices ({index.numel()}) should be equal to source.size(dim) ({source.shape[d]})"
        )


@op(
    tensors="input index source",
    checked=True,
    verify=_verify_index_add,
    inplace=True,
    out="same",
    kernel=_index_add_kernel,
    grad={
        "input": lambda g: g,
        "source": lambda g, index, dim, source_shape: g.index_select(dim, index.reshape(-1)).reshape(source_shape),
    },
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 2), make(2, 2)),
        Sample(make(3), 0, make.index(3, 4), make(4), alpha=2),
    ],
)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number | complex = 1):
    """``input`` with ``alpha * source``'s slices added at the entries of ``index``.

    >>> import flambeau as torch
    >>> torch.index_add(torch.zeros(3), 0, torch.tensor([0, 0]), torch.tensor([1.0, 5.0]))
    tensor([6., 0., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.index_add.html
    """
    d = _check_slices("index_add", input, dim, index, source)
    if source.dtype.kind == dtypes.INTEGRAL:
        given: Any = alpha
        alpha = int(given)  # as PyTorch
    if alpha != 1:
        source = (source * alpha).to(source.dtype)
    return tuple(input.shape), input.dtype, (input, index, source), {"dim": d}


def _index_copy_kernel(x, index, source, dim):
    out = np.array(x, order="C")
    flat = out.reshape(1) if not out.ndim else out
    np.moveaxis(flat, dim, 0)[in_range(index.reshape(-1), flat.shape[dim], dim, start="index_copy_(): ")] = np.moveaxis(
        source.reshape((1,)) if not source.ndim else source, dim, 0
    )
    return out


@op(
    tensors="input index source",
    checked=True,
    verify=verify_along(start="index_copy_(): "),
    inplace=True,
    out="same",
    kernel=_index_copy_kernel,
    grad={
        "input": lambda g, dim, index: g.index_fill(dim, index.reshape(-1), 0),
        "source": lambda g, dim, index, source_shape: g.index_select(dim, index.reshape(-1)).reshape(source_shape),
    },
    samples=lambda make: [Sample(make(3, 2), 0, make.index(3, 2, unique=True), make(2, 2))],
)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor):
    """``input`` with ``source``'s slices written at the entries of ``index``.

    >>> import flambeau as torch
    >>> torch.index_copy(torch.zeros(3), 0, torch.tensor([2, 0]), torch.tensor([1.0, 5.0]))
    tensor([5., 0., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.index_copy.html
    """
    d = _check_slices("index_copy", input, dim, index, source)
    return tuple(input.shape), input.dtype, (input, index, source), {"dim": d}


def _index_fill_kernel(x, index, value, dim):
    out = np.array(x, order="C")
    flat = out.reshape(1) if not out.ndim else out
    n = flat.shape[dim]
    index = index.reshape(-1)
    if index.size and (index.min() < -n or index.max() >= n):
        bad = index[(index < -n) | (index >= n)][0]
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {n}")
    np.moveaxis(flat, dim, 0)[index] = value
    return out


@op(
    overload=by_tensor(2),
    layout=layouts.as_first,
    tensors="input index value",
    checked=True,
    fits=True,
    inplace=True,
    kernel=_index_fill_kernel,
    grad={
        "input": lambda g, dim, index: g.index_fill(dim, index, 0),
        "value": lambda g, dim, index: g.index_select(dim, index.reshape(-1).unique()).sum(),
    },
    samples=lambda make: [Sample(make(3, 2), 0, make.index(3, 2), 1.5), Sample(make(2, 3), 1, make.index(3, 1), make())],
)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Number | complex):
    """``input`` with ``value`` in the slices of ``dim`` at the entries of ``index``.

    Raises ``IndexError`` for an ``index`` that is no vector of int64.

    >>> import flambeau as torch
    >>> torch.index_fill(torch.zeros(2, 2), 1, torch.tensor([0]), 7)
    tensor([[7., 0.],
            [7., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_fill.html
    """
    d = wrap_dim(dim, input.dim())
    if index.dtype is not dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.dim() > 1:
        raise IndexError("Index is supposed to be a vector")
    if isinstance(value, dispatch.Tensor):
        if value.dim():
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.dim()} dimension(s)."
            )
        value = value.to(input.dtype) if input.dtype.kind >= dtypes.FLOATING else value.item()
    if isinstance(value, complex) and not input.dtype.is_complex:
        raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
    if not isinstance(value, dispatch.Tensor):
        value = fitting(value, input.dtype)
    return tuple(input.shape), input.dtype, (input, index, value), {"dim": d}
