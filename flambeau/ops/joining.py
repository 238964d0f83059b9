"""Tensors put together, repeated and rearranged."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import promote_types
from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.views import summed_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor


def _cat_gradient(g, dim, sizes, needs):
    grads, start = [], 0
    for n, needed in zip(sizes, needs, strict=True):
        grads.append(g.narrow(dim, start, n) if needed and n is not None else None)
        start += n or 0
    return tuple(grads)


def _list_of_tensors(tensors, name: str) -> list:
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}"
        )
    tensors = list(tensors)
    if {t.__class__ for t in tensors} != {dispatch.Tensor}:
        _refuse_others(tensors, name)
    return tensors


def _refuse_others(tensors: list, name: str) -> None:
    for i, t in enumerate(tensors):
        if not isinstance(t, dispatch.Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
    if not tensors:
        if name == "cat":
            raise ValueError("torch.cat(): expected a non-empty list of Tensors")
        raise RuntimeError(f"{name} expects a non-empty TensorList")


@op(
    layout=layouts.joined,
    tensors="*tensors",
    method=False,
    out=True,
    kernel=lambda *tensors, dim, sizes: np.concatenate([t for t, n in zip(tensors, sizes, strict=True) if n is not None], dim),
    grad={"*": _cat_gradient},
    aliases=("concat", "concatenate"),
    samples=lambda make: [
        Sample([make(2, 3), make(1, 3)]), Sample([make(2, 3), make(2, 2)], 1), Sample([make(2), make(0)], -1),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "Sizes of tensors must match except in dimension 0", [make(2, 3), make(2, 2)]),
        ErrorSample(ValueError, "expected a non-empty list", []),
        ErrorSample(RuntimeError, "zero-dimensional tensor", [make(), make()]),
    ],
)  # fmt: skip
def cat(tensors: Sequence[Tensor], dim: int = 0):
    """The tensors one after the other along ``dim``; all other sizes must be equal.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cat.html
    """
    tensors, dtype = _promoted(_list_of_tensors(tensors, "cat"))
    first = tensors[0]
    if first._shape and all([t._shape == first._shape for t in tensors]):  # nothing else to check
        shape, d = list(first._shape), wrap_dim(dim, len(first._shape))
        sizes = (shape[d],) * len(tensors)
        shape[d] *= len(tensors)
        return tuple(shape), dtype, tensors, {"dim": d, "sizes": sizes}
    return _joined(tensors, dim, dtype)


def _promoted(tensors: list) -> tuple[tuple, dtypes.dtype]:
    """The tensors in the dtype that they have in common, and that dtype."""
    dtype = tensors[0]._dtype
    others = {t._dtype for t in tensors}
    if len(others) == 1:
        return tuple(tensors), dtype
    for other in others:
        dtype = promote_types(dtype, other)
    return tuple([t if t._dtype is dtype else t.to(dtype) for t in tensors]), dtype


def _joined(tensors: tuple, dim: int, dtype) -> tuple:
    """:func:`cat` of tensors whose shapes differ."""
    for i, t in enumerate(tensors):
        if not t.dim():
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    # A 1-d tensor without elements joins anything: a rule from PyTorch's early days.
    real = [t for t in tensors if t.shape != (0,)] or tensors
    first = real[0]
    d = wrap_dim(dim, first.dim())
    sizes: list[int | None] = []
    for i, t in enumerate(tensors):
        if t.shape == (0,) and first.shape != (0,) and first.dim() != 1:
            sizes.append(None)
            continue
        if t.dim() != first.dim():
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {first.dim()} and {t.dim()} "
                f"(shapes {list(first.shape)} and, for tensor number {i}, {list(t.shape)})"
            )
        for k, (a, b) in enumerate(zip(first._shape, t._shape, strict=True)):
            if k != d and a != b:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {a} but got size {b} for tensor "
                    f"number {i} in the list. (shapes {list(first.shape)} and {list(t.shape)})"
                )
        sizes.append(t.shape[d])
    shape = first.shape[:d] + (sum(n for n in sizes if n),) + first.shape[d + 1 :]
    return shape, dtype, tensors, {"dim": d, "sizes": tuple(sizes)}


def _stacked(*tensors, dim):
    shape = tensors[0].shape
    if dim == len(shape):
        return np.stack(tensors, dim)
    # As they are joined along the dim before which they are stacked; that takes half as long.
    out = np.empty((*shape[:dim], len(tensors), *shape[dim:]), tensors[0].dtype)
    np.concatenate(tensors, dim, out=out.reshape((*shape[:dim], len(tensors) * shape[dim], *shape[dim + 1 :])))
    return out


def _stack_gradient(g, needs, dim):
    if all(needs):
        return g.unbind(dim)
    return tuple([g.select(dim, i) if needed else None for i, needed in enumerate(needs)])


@op(
    layout=layouts.stacked,
    tensors="*tensors",
    method=False,
    out=True,
    kernel=_stacked,
    grad={"*": _stack_gradient},
    samples=lambda make: [Sample([make(2, 3), make(2, 3)]), Sample([make(2), make(2)], -1)],
    errors=lambda make: [ErrorSample(RuntimeError, "stack expects each tensor to be equal size", [make(2), make(3)])],
)
def stack(tensors: Sequence[Tensor], dim: int = 0):
    """The tensors, all of one shape, along a new dim."""
    tensors, dtype = _promoted(_list_of_tensors(tensors, "stack"))
    shape = tensors[0]._shape
    d = wrap_dim(dim, len(shape) + 1)
    if {t._shape for t in tensors} != {shape}:
        i, t = next((i, t) for i, t in enumerate(tensors) if t._shape != shape)
        raise RuntimeError(
            f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
            f"{list(t._shape)} at entry {i}"
        )
    return (*shape[:d], len(tensors), *shape[d:]), dtype, tensors, {"dim": d}


# --- sequences of unequal length -----------------------------------------------------------------------------


def _padded_rows(*sequences, batch_first, value, left, sizes):
    longest = max(sizes)
    rows = np.full((len(sequences), longest, *sequences[0].shape[1:]), value, sequences[0].dtype)
    for row, s in zip(rows, sequences, strict=True):
        row[longest - len(s) if left else 0 :][: len(s)] = s
    return rows if batch_first else rows.swapaxes(0, 1)


def _padded_gradient(g, needs, batch_first, left, sizes):
    rows, longest = g.unbind(0 if batch_first else 1), max(sizes)
    return tuple([
        row.narrow(0, longest - n if left else 0, n) if needed else None for row, n, needed in zip(rows, sizes, needs, strict=True)
    ])  # fmt: skip


@op(name="_pad_sequence", tensors="*tensors", method=False, kernel=_padded_rows, grad={"*": _padded_gradient}, backward_name="TransposeBackward0")
def pad_sequence(tensors: Sequence[Tensor], batch_first, value, left):
    """Sequences (length, ...), alike but for their lengths, as one tensor in which all have the longest's: what
    ``nn.utils.rnn.pad_sequence`` records."""
    sizes = tuple([t._shape[0] for t in tensors])
    lead = (len(sizes), max(sizes)) if batch_first else (max(sizes), len(sizes))
    attrs = {"batch_first": batch_first, "value": value, "left": left, "sizes": sizes}
    return (*lead, *tensors[0]._shape[1:]), tensors[0]._dtype, tuple(tensors), attrs


def _at_least(t, n: int):
    if n == 1:
        return t.reshape(1) if t.dim() == 0 else t
    if n == 2:
        return t.reshape(1, -1) if t.dim() < 2 else t
    if t.dim() == 2:
        return t.unsqueeze(-1)
    return t.reshape(1, -1, 1) if t.dim() < 2 else t


def _at_least_all(tensors: tuple, n: int):
    if len(tensors) == 1:
        if isinstance(tensors[0], dispatch.Tensor):
            return _at_least(tensors[0], n)
        tensors = tuple(tensors[0])
    return tuple([_at_least(t, n) for t in tensors])


@composite(method=False, samples=lambda make: [Sample(make()), Sample(make(2), make())])
def atleast_1d(*tensors: Tensor | Sequence[Tensor]):
    """Tensors with at least one dim."""
    return _at_least_all(tensors, 1)


@composite(method=False, samples=lambda make: [Sample(make()), Sample(make(2), make())])
def atleast_2d(*tensors: Tensor | Sequence[Tensor]):
    """Tensors with at least two dims."""
    return _at_least_all(tensors, 2)


@composite(method=False, samples=lambda make: [Sample(make()), Sample(make(2), make(2, 2))])
def atleast_3d(*tensors: Tensor | Sequence[Tensor]):
    """Tensors with at least three dims."""
    return _at_least_all(tensors, 3)


@composite(method=False, out=True, samples=lambda make: [Sample([make(2), make(3)]), Sample([make(2, 1), make(2, 2)])])
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side: along dim 1, or dim 0 where they are 1-d."""
    tensors = _at_least_all((_list_of_tensors(tensors, "hstack"),), 1)
    return cat(tensors, 0 if tensors[0].dim() == 1 else 1)


@composite(method=False, out=True, aliases=("row_stack",), samples=lambda make: [Sample([make(2), make(2)])])
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors on top of each other, as rows."""
    return cat(_at_least_all((_list_of_tensors(tensors, "vstack"),), 2), 0)


@composite(method=False, out=True, samples=lambda make: [Sample([make(2), make(2)])])
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors one behind the other, along the third dim."""
    return cat(_at_least_all((_list_of_tensors(tensors, "dstack"),), 3), 2)


@composite(method=False, out=True, samples=lambda make: [Sample([make(2), make(2, 3)])])
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side; 1-d tensors are columns."""
    return cat([t.reshape(t.numel(), 1) if t.dim() <= 1 else t for t in _list_of_tensors(tensors, "column_stack")], 1)


@composite(method=False, samples=lambda make: [Sample(make(2, 2), make(1, 3), make(2))])
def block_diag(*tensors: Tensor | Sequence[Tensor]) -> Tensor:
    """A matrix with the given matrices along its diagonal."""
    if not tensors:
        return dispatch.wrap(np.empty((1, 0), dtypes.get_default_dtype().np))
    blocks = [_at_least(t, 2) for t in tensors]
    dtype = blocks[0].dtype
    for b in blocks:
        dtype = promote_types(dtype, b.dtype)
    width = sum(b.shape[1] for b in blocks)
    rows, left = [], 0
    for b in blocks:
        before, after = left, width - left - b.shape[1]
        rows.append(cat([b.new_zeros((b.shape[0], before)), b.to(dtype), b.new_zeros((b.shape[0], after))], 1))
        left += b.shape[1]
    return cat(rows, 0)


# --- repeated ------------------------------------------------------------------------------------------------


@composite(
    name="Tensor.repeat",
    samples=lambda make: [Sample(make(2, 3), (2, 1)), Sample(make(3), 2, 2), Sample(make(), 3)],
    errors=lambda make: [ErrorSample(RuntimeError, "can not be smaller than number of dimensions", make(2, 3), 2)],
)
def repeat(input: Tensor, *repeats: int | Sequence[int]) -> Tensor:
    """``input`` laid out again and again along each dim."""
    counts = tuple(repeats[0]) if len(repeats) == 1 and not isinstance(repeats[0], int) else tuple(repeats)
    if len(counts) < input.dim():
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if min(counts, default=0) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(counts)}: repeats={list(counts)}")
    lead = len(counts) - input.dim()
    shape = (1,) * lead + input.shape
    interleaved = [v for n in shape for v in (1, n)]
    expanded = [v for c, n in zip(counts, shape, strict=True) for v in (c, n)]
    return input.reshape(interleaved).expand(expanded).reshape([c * n for c, n in zip(counts, shape, strict=True)]).clone()


@composite(samples=lambda make: [Sample(make(2, 3), (2,)), Sample(make(3), (2, 2))])
def tile(input: Tensor, *dims: int | Sequence[int]) -> Tensor:
    """As ``repeat``, with missing leading counts taken as 1."""
    counts = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else tuple(dims)
    return input.repeat((1,) * (input.dim() - len(counts)) + counts)


@composite(
    samples=lambda make: [Sample(make(2, 3), 2), Sample(make(2, 3), 2, 1)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "repeats can not be negative", make(2), make(2).long() * 0 - 1),
        ErrorSample(RuntimeError, "Storage size calculation overflowed", make(4), make(4).long() * 0 + 2**62),
    ],
)
def repeat_interleave(
    input: Tensor | None = None,
    repeats: Tensor | int | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each slice repeated in place: ``repeats`` times, or as often as its entry in a tensor says."""
    if input is None or repeats is None:
        input = repeats if input is None else input
        return dispatch.wrap(_numbers_repeated(input._array().reshape(-1)), dtypes.int64)
    if dim is None:
        input, dim = input.reshape(-1), 0
    d = wrap_dim(dim, input.dim())
    if input.dim() == 0:
        input = input.reshape(1)
    if isinstance(repeats, dispatch.Tensor) and repeats.numel() == 1:
        repeats = int(repeats.item())
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        shape = input.shape
        expanded = input.unsqueeze(d + 1).expand(shape[: d + 1] + (repeats,) + shape[d + 1 :])
        return expanded.reshape(shape[:d] + (shape[d] * repeats,) + shape[d + 1 :]).clone()
    if repeats.shape != (input.shape[d],):
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {repeats.shape[0]} and "
            f"input.size({d}) = {input.shape[d]}"
        )
    if repeats._storage.is_meta and output_size is not None:
        return input.index_select(d, repeats.new_empty(output_size, dtype=dtypes.int64))
    return input.index_select(d, dispatch.wrap(_numbers_repeated(repeats._array()), dtypes.int64))


def _numbers_repeated(counts: np.ndarray) -> np.ndarray:
    """0, 1, ..., each as often as ``counts`` says."""
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeats can not be negative")
    total = sum(counts.tolist())
    if total > np.iinfo(np.int64).max // 8:  # NumPy's own sum goes round, and its result is too small for what it writes
        raise RuntimeError(f"Storage size calculation overflowed with sizes=[{total}]")
    return np.repeat(np.arange(counts.size), counts)


# --- rearranged ----------------------------------------------------------------------------------------------


@op(
    layout=layouts.as_first,
    kernel=lambda x, dims: np.flip(x, dims),
    grad={"input": lambda g, dims: flip(g, dims)},
    samples=lambda make: [Sample(make(2, 3), (0,)), Sample(make(2, 3), (0, -1)), Sample(make(2, 3), 1)],
    errors=lambda make: [ErrorSample(RuntimeError, "appears multiple times", make(2, 3), (0, 0))],
)
def flip(input: Tensor, *dims: int | Sequence[int]):
    """``input`` in reverse order along ``dims``."""
    if not dims:
        raise TypeError('flip() missing 1 required positional arguments: "dims"')
    dims = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    wrapped = tuple([wrap_dim(d, input.dim()) for d in dims])
    for d in wrapped:
        if wrapped.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return input.shape, input.dtype, (input,), {"dims": wrapped if input.dim() else ()}


@composite(samples=lambda make: [Sample(make(2, 3))])
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order."""
    if input.dim() < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


@composite(samples=lambda make: [Sample(make(2, 3))])
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order."""
    if input.dim() < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


@composite(samples=lambda make: [Sample(make(2, 3)), Sample(make(2, 3), 2), Sample(make(2, 3, 2), -1, (1, 2))])
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Rotates the plane of two dims by ``k`` quarter turns, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.dim() < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.dim()}")
    a, b = dims
    if wrap_dim(a, input.dim()) == wrap_dim(b, input.dim()):
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}")
    k %= 4
    if k == 2:
        return flip(input, (a, b))
    if k == 1:
        return flip(input, (b,)).transpose(a, b)
    if k == 3:
        return flip(input, (a,)).transpose(a, b)
    return input.clone()


@op(
    layout=layouts.rolled,
    kernel=lambda x, shifts, dims: np.roll(x, shifts, dims),
    grad={"input": lambda g, shifts, dims: roll(g, tuple([-s for s in shifts]), dims)},
    samples=lambda make: [Sample(make(2, 3), 1), Sample(make(2, 3), (1, -1), (0, 1)), Sample(make(2, 3), 4, 1)],
    errors=lambda make: [ErrorSample(RuntimeError, "shifts and dimensions must align", make(2, 3), (1, 2), (0,))],
)
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None):
    """``input`` shifted along ``dims``, what leaves at one end coming in at the other; without dims: as one row."""
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or dims == ():
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return input.shape, input.dtype, (input,), {"shifts": shifts, "dims": None}
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not input.dim():
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    wrapped = tuple([wrap_dim(d, input.dim()) for d in dims])
    return input.shape, input.dtype, (input,), {"shifts": shifts, "dims": wrapped}


def _triangle(name: str, kernel, compare: str, doc: str):
    def check(input: Tensor, diagonal: int = 0):
        if input.dim() < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        rows, columns = input.shape[-2:]  # beyond which there is nothing
        return input.shape, input.dtype, (input,), {"diagonal": max(-rows, min(columns, diagonal))}

    check.__name__ = check.__qualname__ = name
    check.__doc__ = doc
    function = op(
        check,
        inplace=True,
        out="same",
        kernel=lambda x, diagonal: kernel(x, diagonal),
        grad={"input": lambda g, diagonal: function(g, diagonal)},
        lower=lambda b, x, diagonal: b.select(getattr(b, compare)(b.sub(b.index(-1), b.index(-2)), diagonal), x, 0),
        samples=lambda make: [Sample(make(3, 3)), Sample(make(2, 3, 4), 1), Sample(make(3, 3), -1)],
        errors=lambda make: [ErrorSample(RuntimeError, "must have at least 2 dimensions", make(3))],
    )
    return function


tril = _triangle("tril", np.tril, "le", "The lower triangle of the last two dims, up to ``diagonal``; zeros elsewhere.")
triu = _triangle("triu", np.triu, "ge", "The upper triangle of the last two dims, from ``diagonal`` on; zeros elsewhere.")


@composite(out="same", samples=lambda make: [Sample(make(3)), Sample(make(2, 3)), Sample(make(3), 1), Sample(make(3, 3), -1)])
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector."""
    if input.dim() == 1:
        return diag_embed(input, diagonal)
    if input.dim() == 2:
        return input.diagonal(diagonal).clone()
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")


@composite(samples=lambda make: [Sample(make(2, 3)), Sample(make(2, 3), 1, 0, 2)])
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dim as diagonals of planes ``dim1``, ``dim2`` of a tensor with one dim more."""
    ndim = input.dim() + 1
    a, b = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input.shape[-1] + abs(offset)
    batch = list(input.shape[:-1])
    shape = list(batch)
    for d in sorted((a, b)):
        shape.insert(d, n)
    out = input.new_zeros(shape)
    out.diagonal(offset, a, b).copy_(input)
    return out


@composite(samples=lambda make: [Sample(make(2), 1), Sample(make(4), -1)])
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """All elements as the diagonal of a matrix."""
    return diag_embed(input.reshape(-1), offset)


@composite(method=False, samples=lambda make: [Sample(make(2), make(3))])
def cartesian_prod(*tensors: Tensor | Sequence[Tensor]) -> Tensor:
    """All combinations of one element from each 1-d tensor, as rows."""
    if len(tensors) == 1:
        return tensors[0]
    sizes = tuple(t.shape[0] for t in tensors)
    columns = [
        t.view((1,) * i + (-1,) + (1,) * (len(tensors) - 1 - i)).expand(sizes).reshape(-1) for i, t in enumerate(tensors)
    ]
    return stack(columns, 1)


@composite(method=False, samples=lambda make: [Sample(make(4)), Sample(make(3), 2, True)])
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ``r``-element combinations of a 1-d tensor, as rows, in the order of ``itertools``."""
    if not r:
        return input.new_empty(0)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    picked = np.array(list(choose(range(input.shape[0]), r)), np.int64).reshape(-1, r)
    return input[dispatch.wrap(picked)]


@composite(
    name="Tensor.sum_to_size",
    samples=lambda make: [Sample(make(2, 3), (1, 3)), Sample(make(2, 3), (3,)), Sample(make(2, 3), ())],
    errors=lambda make: [ErrorSample(RuntimeError, "is not expandable to size", make(2, 3), (2, 2))],
)
def sum_to_size(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """``input`` summed over the dims in which ``size`` was broadcast to it."""
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
    if not size:
        return input.sum()
    shape = input.shape
    if shape == size:
        return input
    lead = len(shape) - len(size)
    if lead < 0 or any(a not in (1, b) for a, b in zip(size, shape[lead:], strict=True)):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(shape)}}}.")
    return summed_to(input, size)
