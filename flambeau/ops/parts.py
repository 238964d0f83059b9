"""Views of parts: slices, diagonals, windows, pieces; and copies with a part written.

The gradient of a view that shows part of its input is :func:`strided_scatter`: zeros, with the gradient added where
the view looked.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides, wrap_dim
from flambeau.engine.graph import strided
from flambeau.ops.joining import cat
from flambeau.ops.record import ErrorSample, Sample, composite, op, view

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- one part ------------------------------------------------------------------------------------------------


@op(
    name="_strided_scatter",
    kernel=lambda g, shape, strides, offset, size, overlaps: _scatter(g, shape, strides, offset, size, overlaps),
    grad={"g_in": lambda g, shape, strides, offset: _seen(g.contiguous(), shape, strides, offset)},
    tensors="g_in",
    method=False,
)
def strided_scatter(g_in: Tensor, size: Sequence[int], strides, offset):
    """Zeros of shape ``size`` with ``g_in`` added at ``offset + sum(i * stride)`` of the flat result."""
    shape = tuple(g_in.shape)
    attrs = {"shape": shape, "strides": strides, "offset": offset, "size": tuple(size), "overlaps": _overlaps(shape, strides)}
    return tuple(size), g_in.dtype, (g_in,), attrs


def _scatter(g, shape, strides, offset, size, overlaps):
    out = np.zeros(size, g.dtype)
    if overlaps:
        index = np.full((), offset)
        for n, s in zip(shape, strides, strict=True):
            index = index[..., None] + np.arange(n) * s
        np.add.at(out.reshape(-1), index.reshape(-1), g.reshape(-1))
    elif g.size:
        strided(out, shape, strides, offset, dtypes.from_numpy(g.dtype))[...] = g
    return out


def _seen(g, shape, strides, offset):
    return g.as_strided(shape, strides, g.storage_offset() + offset)


def _overlaps(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether two indices may show the same element."""
    reach = 0
    for s, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if s <= reach:
            return True
        reach += (n - 1) * s
    return False


def _part_gradient(g, input_shape, shape, strides, offset):
    return strided_scatter(g.expand(shape), input_shape, strides, offset)


def _within(input, dim: int, start: int, length: int | None, step: int) -> dict:
    """The geometry of a slice (``length=None``: one index) relative to a row-major tensor of ``input``'s shape."""
    shape, rows = input.shape, contiguous_strides(input.shape)
    attrs: dict[str, Any] = {"offset": start * rows[dim]}
    if length is None:
        attrs["shape"], attrs["strides"] = shape[:dim] + shape[dim + 1 :], rows[:dim] + rows[dim + 1 :]
    else:
        attrs["shape"] = shape[:dim] + (length,) + shape[dim + 1 :]
        attrs["strides"] = rows[:dim] + (rows[dim] * step,) + rows[dim + 1 :]
    return attrs


def _index(value) -> int:
    return value if value.__class__ is int else operator.index(value)


@view(
    grad={"input": _part_gradient},
    samples=lambda make: [Sample(make(2, 3), 0, 1), Sample(make(2, 3, 2), -1, -1), Sample(make(4, 3).t(), 1, 2)],
    errors=lambda make: [ErrorSample(IndexError, r"select\(\): index 5 out of range", make(2, 3), 0, 5)],
)
def select(input: Tensor, dim: int, index: int):
    """The slice at ``index`` of ``dim``, without that dim.

    Raises ``IndexError`` for an ``index`` out of range and for a tensor without dims.

    >>> import flambeau as torch
    >>> torch.select(torch.tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([1, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.select.html
    """
    if not input.dim():
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d, i = wrap_dim(dim, input.dim()), _index(index)
    n, strides = input.shape[d], input.stride()
    if not -n <= i < n:
        raise IndexError(f"select(): index {i} out of range for tensor of size {list(input.shape)} at dimension {d}")
    i += n if i < 0 else 0
    shape = input.shape[:d] + input.shape[d + 1 :]
    return shape, strides[:d] + strides[d + 1 :], input.storage_offset() + i * strides[d], _within(input, d, i, None, 1)


@view(name="_slice", method=False, tensors="input", grad={"input": _part_gradient}, backward_name="SliceBackward0")
def slice_(input: Tensor, dim: int, start, stop, step):
    """``input[start:stop:step]`` along ``dim``, with Python's rules for what is out of range."""
    n, strides = input.shape[dim], input.stride()
    start, stop, step = slice(start, stop, step).indices(n)
    length = max(0, -(-(stop - start) // step))
    if not length:
        start = min(start, n)
    shape = input.shape[:dim] + (length,) + input.shape[dim + 1 :]
    new = strides[:dim] + (strides[dim] * step,) + strides[dim + 1 :]
    return shape, new, input.storage_offset() + start * strides[dim], _within(input, dim, start, length, step)


@view(name="_alias", method=False, tensors="input", grad={"input": lambda g: g}, backward_name="AliasBackward0")
def alias(input: Tensor):
    """All of ``input``, as a view: ``x[...]``."""
    return input.shape, input.stride(), input.storage_offset(), {}


@composite(
    samples=lambda make: [Sample(make(4, 3), 0, 1, 2), Sample(make(4, 3), -1, -2, 1)],
    errors=lambda make: [ErrorSample(RuntimeError, "exceeds dimension size", make(4, 3), 0, 3, 2)],
)
def narrow(input: Tensor, dim: int, start: Tensor | int, length: int) -> Tensor:
    """``length`` slices of ``dim``, from ``start`` on.

    Raises ``RuntimeError`` where the slices do not lie inside of the dim.

    >>> import flambeau as torch
    >>> torch.narrow(torch.arange(6), 0, 2, 3)
    tensor([2, 3, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.narrow.html
    """
    if not input.dim():
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, dispatch.Tensor) and (start.dim() or start.dtype.kind != dtypes.INTEGRAL):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    d, start, length = wrap_dim(dim, input.dim()), _index(start), _index(length)
    n = input.shape[d]
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start += n if start < 0 else 0
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return slice_(input, d, start, start + length, 1)


@view(
    grad={"input": _part_gradient},
    samples=lambda make: [Sample(make(3, 4)), Sample(make(3, 4), 1), Sample(make(2, 3, 4), -1, 0, 2)],
    errors=lambda make: [ErrorSample(RuntimeError, "cannot be identical", make(3, 4), 0, 0, 0)],
)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """A view of the diagonals of the planes of ``dim1`` and ``dim2``, as the last dim.

    Raises ``RuntimeError`` where ``dim1`` and ``dim2`` are the same.

    >>> import flambeau as torch
    >>> torch.diagonal(torch.tensor([[1, 2, 3], [4, 5, 6]]), 1)
    tensor([2, 6])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diagonal.html
    """
    a, b = wrap_dim(dim1, input.dim()), wrap_dim(dim2, input.dim())
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n, m = input.shape[a], input.shape[b]
    length = max(0, min(n, m - offset) if offset >= 0 else min(n + offset, m))
    rest = [d for d in range(input.dim()) if d not in (a, b)]

    def geometry(strides, start):
        skip = (offset * strides[b] if offset >= 0 else -offset * strides[a]) if length else 0
        return tuple([strides[d] for d in rest]) + (strides[a] + strides[b],), start + skip

    shape = tuple([input.shape[d] for d in rest]) + (length,)
    strides, start = geometry(input.stride(), input.storage_offset())
    rows, within = geometry(contiguous_strides(input.shape), 0)
    return shape, strides, start, {"shape": shape, "strides": rows, "offset": within}


@view(
    name="Tensor.unfold",
    grad={"input": _part_gradient},
    samples=lambda make: [Sample(make(5), 0, 3, 1), Sample(make(2, 6), 1, 2, 2), Sample(make(), 0, 1, 1)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "maximum size for tensor at dimension 0 is 5 but size is 6", make(5), 0, 6, 1),
        ErrorSample(RuntimeError, "maximum size for tensor at dimension 0 is 1 but size is 2", make(), 0, 2, 1),
        ErrorSample(RuntimeError, "size is -1 but must be >= 0", make(5), 0, -1, 1),
        ErrorSample(RuntimeError, "step is 0 but must be > 0", make(5), 0, 1, 0),
        ErrorSample(IndexError, "Dimension out of range", make(), 1, 1, 1),
    ],
)
def unfold(input: Tensor, dimension: int, size: int, step: int):
    """All windows of ``size`` along ``dimension``, ``step`` apart, as a last dim; a view.

    Raises ``RuntimeError`` for a ``size`` greater than the dim and for a ``step`` below 1.

    >>> import flambeau as torch
    >>> torch.arange(5).unfold(0, 3, 1)
    tensor([[0, 1, 2],
            [1, 2, 3],
            [2, 3, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.unfold.html
    """
    d = wrap_dim(dimension, input.dim())
    n = input.shape[d] if input.dim() else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not input.dim():
        return (size,), (1,), input.storage_offset(), {"shape": (size,), "strides": (1,), "offset": 0}
    shape = input.shape[:d] + ((n - size) // step + 1,) + input.shape[d + 1 :] + (size,)

    def windows(strides):
        return strides[:d] + (strides[d] * step,) + strides[d + 1 :] + (strides[d],)

    rows = windows(contiguous_strides(input.shape))
    return shape, windows(input.stride()), input.storage_offset(), {"shape": shape, "strides": rows, "offset": 0}


def _as_strided_gradient(g, input_shape, input_geometry, shape, strides, offset):
    if input_geometry is None:
        return strided_scatter(g.expand(shape), input_shape, strides, offset)
    size, own_strides, own_offset = input_geometry
    row = strided_scatter(g.expand(shape), (size,), strides, offset)
    if _overlaps(input_shape, own_strides):  # elements that are the same memory share its gradient
        counts = _scatter(np.ones(input_shape, g.dtype.np), input_shape, own_strides, own_offset, (size,), True)
        row = row / dispatch.wrap(np.maximum(counts, 1), g.dtype)
    return row.as_strided(input_shape, own_strides, own_offset)


@view(
    grad={"input": _as_strided_gradient},
    samples=lambda make: [Sample(make(3, 3), (2, 2), (1, 2)), Sample(make(6), (2, 2), (1, 1), 1)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "out of bounds for storage", make(3), (2, 2), (2, 2)),
        ErrorSample(RuntimeError, "Storage size calculation overflowed", make(3), (-1,), (1,)),
        ErrorSample(RuntimeError, "invalid storage offset -1", make(3), (1,), (1,), -1),
    ],
)
def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None):
    """A view of the input's storage with any shape, strides and offset (in elements).

    Raises ``RuntimeError`` for what does not lie inside of the storage and for negative strides.

    >>> import flambeau as torch
    >>> torch.as_strided(torch.arange(6), (2, 2), (1, 2))
    tensor([[0, 2],
            [1, 3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.as_strided.html
    """
    size, stride = tuple(size), tuple(stride)
    offset = input.storage_offset() if storage_offset is None else storage_offset
    if len(size) != len(stride):
        raise RuntimeError(f"mismatch in length of strides and shape: got {list(size)} and {list(stride)}")
    if min(stride, default=0) < 0:
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if min(size, default=0) < 0:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(size)} and strides={list(stride)}")
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    have = input._storage.size * input._storage.dtype.itemsize // input.element_size()
    if 0 not in size and last >= have:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize "
            f"{input.element_size()} requiring a storage size of {(last + 1) * input.element_size()} are out of bounds for "
            f"storage of size {have * input.element_size()}"
        )
    plain = input.is_contiguous() and not input.storage_offset() and input.numel() == have
    own = None if plain else (have, input.stride(), input.storage_offset())
    return size, stride, offset, {"shape": size, "strides": stride, "offset": offset, "input_geometry": own}


# --- several views -------------------------------------------------------------------------------------------


def _pieces(input, d: int, sizes: Sequence[int]):
    strides, offset, parts = input.stride(), input.storage_offset(), []
    for n in sizes:
        parts.append((input.shape[:d] + (n,) + input.shape[d + 1 :], strides, offset))
        offset += n * strides[d]
    return parts


def _join(gs, input_dtype, dim, shapes):
    like = next(g for g in gs if g is not None)
    return cat([like.new_zeros(s) if g is None else g for g, s in zip(gs, shapes, strict=True)], dim)


@view(
    name="split_with_sizes",
    outputs=("*",),
    grad={"input": _join},
    samples=lambda make: [Sample(make(5, 2), (2, 3)), Sample(make(2, 4), (1, 0, 3), 1)],
    errors=lambda make: [ErrorSample(RuntimeError, "split_with_sizes expects split_sizes to sum exactly to 5", make(5), (2, 2))],
)
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0):
    """Views of consecutive pieces of ``dim``, of the given sizes.

    Raises ``RuntimeError`` unless the sizes add up to the dim's.

    >>> import flambeau as torch
    >>> torch.split_with_sizes(torch.arange(5), [1, 4])
    (tensor([0]), tensor([1, 2, 3, 4]))

    Source: PyTorch's operator ``aten::split_with_sizes``.
    """
    d = wrap_dim(dim, input.dim())
    sizes = tuple([_index(n) for n in split_sizes])
    n = input.shape[d] if input.dim() else 1
    if min(sizes, default=0) < 0:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={list(sizes)}"
        )
    if sum(sizes) != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {dim}), but got "
            f"split_sizes={list(sizes)}"
        )
    parts = _pieces(input, d, sizes)
    return parts, {"dim": d, "shapes": tuple([p[0] for p in parts])}


@view(name="_split_evenly", outputs=("*",), method=False, tensors="input", grad={"input": _join}, backward_name="SplitBackward0")
def _split_evenly(input: Tensor, split_sizes, dim: int):
    """:func:`split_with_sizes`, of sizes that follow from one."""
    return split_with_sizes.op.check(input, split_sizes, dim)


@composite(samples=lambda make: [Sample(make(5, 2), 2), Sample(make(2, 4), 3, 1), Sample(make(4), (1, 3))])
def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0):
    """Views of consecutive pieces of ``dim``: all of one size (the last may be smaller), or of a list of sizes.

    Raises ``RuntimeError`` for a negative size, or sizes that do not add up to the dim's.

    >>> import flambeau as torch
    >>> torch.split(torch.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.split.html
    """
    if not isinstance(split_size_or_sections, int):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    if not tensor.dim():
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    size, n = split_size_or_sections, tensor.shape[wrap_dim(dim, tensor.dim())]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and n:
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
    whole, rest = divmod(n, size) if size else (1, 0)
    sizes = [size] * whole + ([rest] if rest else [])
    return _split_evenly(tensor, sizes or [0], dim)


@composite(samples=lambda make: [Sample(make(5, 2), 2), Sample(make(2, 4), 3, 1)])
def chunk(input: Tensor, chunks: int, dim: int = 0):
    """At most ``chunks`` views of consecutive pieces of ``dim``, each of ``ceil(n / chunks)``.

    Raises ``RuntimeError`` for less than one chunk and for a tensor without dims.

    >>> import flambeau as torch
    >>> torch.chunk(torch.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.chunk.html
    """
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not input.dim():
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    n = input.shape[wrap_dim(dim, input.dim())]
    size = -(-n // chunks)
    if not size:
        return split_with_sizes(input, [0] * chunks, dim)
    return split(input, size, dim)


@composite(samples=lambda make: [Sample(make(5, 2), 2), Sample(make(2, 4), (1, 3), 1), Sample(make(2, 4), indices=(1, 3), dim=1)])
def tensor_split(
    input: Tensor,
    indices_or_sections: Tensor | int | Sequence[int] | None = None,
    dim: int = 0,
    *,
    indices: Sequence[int] | None = None,
    sections: int | None = None,
    tensor_indices_or_sections: Tensor | None = None,
):
    """Views of pieces of ``dim``: so many, or cut at the given indices. By name either may be given as what it is.

    Raises ``RuntimeError`` for less than one piece and for a tensor without dims.

    >>> import flambeau as torch
    >>> torch.tensor_split(torch.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    >>> torch.tensor_split(torch.arange(5), (1, 3))
    (tensor([0]), tensor([1, 2]), tensor([3, 4]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tensor_split.html
    """
    given = [v for v in (indices_or_sections, indices, sections, tensor_indices_or_sections) if v is not None]
    if len(given) != 1:
        raise TypeError("tensor_split() takes either indices or sections: where to cut, or into how many pieces")
    (indices_or_sections,) = given
    if isinstance(indices_or_sections, dispatch.Tensor):
        if indices_or_sections.dtype is not dtypes.int64:
            kind = dtypes.scalar_name(indices_or_sections.dtype)
            raise RuntimeError(f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {kind}")
        indices_or_sections = indices_or_sections.tolist()
    if not input.dim():
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = wrap_dim(dim, input.dim())
    n = input.shape[d]
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        if k <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {k}")
        bounds = [i * (n // k) + min(i, n % k) for i in range(k + 1)]
    else:
        bounds = [0, *indices_or_sections, n]
    return tuple(slice_(input, d, a, b, 1) for a, b in zip(bounds[:-1], bounds[1:], strict=True))


def _unbind_gradient(gs, dim, shapes):
    return _join([None if g is None else g.unsqueeze(dim) for g in gs], None, dim, shapes)


@view(
    outputs=("*",),
    grad={"input": _unbind_gradient},
    samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 3), 1)],
)
def unbind(input: Tensor, dim: int = 0):
    """Views of all slices of ``dim``, without that dim.

    Raises ``IndexError`` for a tensor without dims.

    >>> import flambeau as torch
    >>> torch.unbind(torch.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unbind.html
    """
    d = wrap_dim(dim, input.dim())
    if not input.dim():
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    shape, strides, offset = input.shape, input.stride(), input.storage_offset()
    rest, steps = shape[:d] + shape[d + 1 :], strides[:d] + strides[d + 1 :]
    parts = [(rest, steps, offset + i * strides[d]) for i in range(shape[d])]
    return parts, {"dim": d, "shapes": (shape[:d] + (1,) + shape[d + 1 :],) * shape[d]}


def _only(name: str, *given):
    """The one argument among several spellings of it that has been given."""
    found = [value for value in given if value is not None]
    if len(found) != 1:
        raise TypeError(
            f"{name}() takes one of its arguments that say where to cut, or into how many pieces; {len(found)} were given"
        )
    return found[0]


def _even_pieces(name: str, input, indices_or_sections, dim: int, least: int):
    """:func:`tensor_split` along ``dim`` of a tensor of at least so many dims, which a number of pieces must divide."""
    if input.dim() < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {input.dim()} dimensions!"
        )
    k, n = indices_or_sections, input.shape[dim]
    if isinstance(k, int) and (k == 0 or n % k):
        raise RuntimeError(
            f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension {n} is not divisible by the "
            f"split_size {k}!"
        )
    return tensor_split(input, indices_or_sections, dim)


@composite(samples=lambda make: [Sample(make(4, 2), 2)])
def vsplit(
    input: Tensor,
    indices_or_sections: Tensor | int | Sequence[int] | None = None,
    *,
    indices: Sequence[int] | None = None,
    sections: int | None = None,
):
    """:func:`tensor_split` along the rows, in pieces of the same size where their number is given.

    >>> import flambeau as torch
    >>> torch.vsplit(torch.tensor([[1, 2], [3, 4]]), 2)
    (tensor([[1, 2]]), tensor([[3, 4]]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vsplit.html
    """
    return _even_pieces("vsplit", input, _only("vsplit", indices_or_sections, indices, sections), 0, 2)


@composite(samples=lambda make: [Sample(make(2, 4), 2)])
def hsplit(
    input: Tensor,
    indices_or_sections: Tensor | int | Sequence[int] | None = None,
    *,
    indices: Sequence[int] | None = None,
    sections: int | None = None,
):
    """:func:`vsplit` along the columns (of a 1-d tensor: along its only dim).

    >>> import flambeau as torch
    >>> torch.hsplit(torch.tensor([[1, 2], [3, 4]]), 2)
    (tensor([[1],
            [3]]), tensor([[2],
            [4]]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hsplit.html
    """
    return _even_pieces("hsplit", input, _only("hsplit", indices_or_sections, indices, sections), 0 if input.dim() <= 1 else 1, 1)


@composite(samples=lambda make: [Sample(make(2, 2, 4), 2)])
def dsplit(
    input: Tensor,
    indices_or_sections: Tensor | int | Sequence[int] | None = None,
    *,
    indices: Sequence[int] | None = None,
    sections: int | None = None,
):
    """:func:`vsplit` along the third dim.

    >>> import flambeau as torch
    >>> [part.shape for part in torch.dsplit(torch.zeros(1, 2, 4), 2)]
    [torch.Size([1, 2, 2]), torch.Size([1, 2, 2])]

    Source: https://docs.pytorch.org/docs/stable/generated/torch.dsplit.html
    """
    return _even_pieces("dsplit", input, _only("dsplit", indices_or_sections, indices, sections), 2, 3)


# --- copies with a part written ------------------------------------------------------------------------------


def with_part(input, src, part):
    out = input.clone()
    view = part(out)
    if view.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = {list(view.shape)}"
        )
    view.copy_(src)
    return out
