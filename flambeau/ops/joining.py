"""Tensors put together: concatenated, stacked, padded to one length, placed in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import promote_types
from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.record import ErrorSample, Sample, composite, op

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
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}")
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

    >>> import flambeau as torch
    >>> torch.cat([torch.zeros(1, 2), torch.ones(2, 2)])
    tensor([[0., 0.],
            [1., 1.],
            [1., 1.]])

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
    if not shape:
        return np.array(tensors)
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
    """The tensors, all of one shape, along a new dim.

    Raises ``RuntimeError`` for tensors of different shapes.

    >>> import flambeau as torch
    >>> torch.stack([torch.tensor([1, 2]), torch.tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.stack.html
    """
    tensors, dtype = _promoted(_list_of_tensors(tensors, "stack"))
    shape = tensors[0]._shape
    d = wrap_dim(dim, len(shape) + 1)
    if {t._shape for t in tensors} != {shape}:
        i, t = next((i, t) for i, t in enumerate(tensors) if t._shape != shape)
        raise RuntimeError(
            f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(t._shape)} at entry {i}"
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


@op(
    name="_pad_sequence",
    tensors="*tensors",
    method=False,
    kernel=_padded_rows,
    grad={"*": _padded_gradient},
    backward_name="TransposeBackward0",
)
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
    """Tensors with at least one dim.

    >>> import flambeau as torch
    >>> torch.atleast_1d(torch.tensor(5))
    tensor([5])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.atleast_1d.html
    """
    return _at_least_all(tensors, 1)


@composite(method=False, samples=lambda make: [Sample(make()), Sample(make(2), make())])
def atleast_2d(*tensors: Tensor | Sequence[Tensor]):
    """Tensors with at least two dims.

    >>> import flambeau as torch
    >>> torch.atleast_2d(torch.tensor([1, 2]))
    tensor([[1, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.atleast_2d.html
    """
    return _at_least_all(tensors, 2)


@composite(method=False, samples=lambda make: [Sample(make()), Sample(make(2), make(2, 2))])
def atleast_3d(*tensors: Tensor | Sequence[Tensor]):
    """Tensors with at least three dims.

    >>> import flambeau as torch
    >>> torch.atleast_3d(torch.tensor([1, 2])).shape
    torch.Size([1, 2, 1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.atleast_3d.html
    """
    return _at_least_all(tensors, 3)


@composite(method=False, out=True, samples=lambda make: [Sample([make(2), make(3)]), Sample([make(2, 1), make(2, 2)])])
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side: along dim 1, or dim 0 where they are 1-d.

    >>> import flambeau as torch
    >>> torch.hstack([torch.tensor([1, 2]), torch.tensor([3])])
    tensor([1, 2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hstack.html
    """
    tensors = _at_least_all((_list_of_tensors(tensors, "hstack"),), 1)
    return cat(tensors, 0 if tensors[0].dim() == 1 else 1)


@composite(method=False, out=True, aliases=("row_stack",), samples=lambda make: [Sample([make(2), make(2)])])
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors on top of each other, as rows.

    >>> import flambeau as torch
    >>> torch.vstack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vstack.html
    """
    return cat(_at_least_all((_list_of_tensors(tensors, "vstack"),), 2), 0)


@composite(method=False, out=True, samples=lambda make: [Sample([make(2), make(2)])])
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors one behind the other, along the third dim.

    >>> import flambeau as torch
    >>> torch.dstack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[[1, 3],
             [2, 4]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.dstack.html
    """
    return cat(_at_least_all((_list_of_tensors(tensors, "dstack"),), 3), 2)


@composite(method=False, out=True, samples=lambda make: [Sample([make(2), make(2, 3)])])
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side; 1-d tensors are columns.

    >>> import flambeau as torch
    >>> torch.column_stack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.column_stack.html
    """
    return cat([t.reshape(t.numel(), 1) if t.dim() <= 1 else t for t in _list_of_tensors(tensors, "column_stack")], 1)


@composite(method=False, samples=lambda make: [Sample(make(2, 2), make(1, 3), make(2))])
def block_diag(*tensors: Tensor | Sequence[Tensor]) -> Tensor:
    """A matrix with the given matrices along its diagonal.

    >>> import flambeau as torch
    >>> torch.block_diag(torch.ones(1, 2), torch.tensor(7.0))
    tensor([[1., 1., 0.],
            [0., 0., 7.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.block_diag.html
    """
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
