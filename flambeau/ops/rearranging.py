"""Tensors repeated and rearranged: tiled, turned over, rolled, cut to triangles, laid on diagonals."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.documentation import docstring
from flambeau.ops.joining import stack
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.views import summed_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- repeated ------------------------------------------------------------------------------------------------


@composite(
    name="Tensor.repeat",
    samples=lambda make: [Sample(make(2, 3), (2, 1)), Sample(make(3), 2, 2), Sample(make(), 3)],
    errors=lambda make: [ErrorSample(RuntimeError, "can not be smaller than number of dimensions", make(2, 3), 2)],
)
def repeat(input: Tensor, *repeats: int | Sequence[int]) -> Tensor:
    """``input`` laid out again and again along each dim.

    Raises ``RuntimeError`` for fewer counts than dims and for negative counts.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.repeat.html
    """
    counts: tuple[Any, ...] = tuple(repeats[0]) if len(repeats) == 1 and not isinstance(repeats[0], int) else tuple(repeats)
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
    """As ``repeat``, with missing leading counts taken as 1.

    >>> import flambeau as torch
    >>> torch.tile(torch.tensor([[1, 2], [3, 4]]), (2,))
    tensor([[1, 2, 1, 2],
            [3, 4, 3, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tile.html
    """
    counts: tuple[Any, ...] = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else tuple(dims)
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
    """Each slice repeated in place: ``repeats`` times, or as often as its entry in a tensor says.

    Raises ``RuntimeError`` for negative counts, and for another number of them than slices.

    >>> import flambeau as torch
    >>> torch.repeat_interleave(torch.tensor([1, 2, 3]), 2)
    tensor([1, 1, 2, 2, 3, 3])
    >>> torch.repeat_interleave(torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2]))
    tensor([2, 3, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.repeat_interleave.html
    """
    if input is None or repeats is None:
        counts: Any = repeats if input is None else input
        return dispatch.wrap(_numbers_repeated(counts._array().reshape(-1)), dtypes.int64)
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
    """``input`` in reverse order along ``dims``.

    Raises ``RuntimeError`` for a dim that is given twice.

    >>> import flambeau as torch
    >>> torch.flip(torch.tensor([[1, 2], [3, 4]]), [0])
    tensor([[3, 4],
            [1, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.flip.html
    """
    if not dims:
        raise TypeError('flip() missing 1 required positional arguments: "dims"')
    listed: tuple[Any, ...] = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    wrapped = tuple([wrap_dim(d, input.dim()) for d in listed])
    for d in wrapped:
        if wrapped.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return input.shape, input.dtype, (input,), {"dims": wrapped if input.dim() else ()}


@composite(samples=lambda make: [Sample(make(2, 3))])
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order.

    Raises ``RuntimeError`` for fewer than 2 dims.

    >>> import flambeau as torch
    >>> torch.fliplr(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 1],
            [4, 3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fliplr.html
    """
    if input.dim() < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


@composite(samples=lambda make: [Sample(make(2, 3))])
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order.

    Raises ``RuntimeError`` for a tensor without dims.

    >>> import flambeau as torch
    >>> torch.flipud(torch.tensor([[1, 2], [3, 4]]))
    tensor([[3, 4],
            [1, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.flipud.html
    """
    if input.dim() < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


@composite(samples=lambda make: [Sample(make(2, 3)), Sample(make(2, 3), 2), Sample(make(2, 3, 2), -1, (1, 2))])
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Rotates the plane of two dims by ``k`` quarter turns, from the first towards the second.

    Raises ``RuntimeError`` unless ``dims`` are two different dims.

    >>> import flambeau as torch
    >>> torch.rot90(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.rot90.html
    """
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
    """``input`` shifted along ``dims``, what leaves at one end coming in at the other; without dims: as one row.

    Raises ``RuntimeError`` for another number of ``shifts`` than ``dims``.

    >>> import flambeau as torch
    >>> torch.roll(torch.tensor([1, 2, 3, 4]), 1)
    tensor([4, 1, 2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.roll.html
    """
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


def _triangle(name: str, kernel, compare: str, text: str, *shown: str):
    def check(input: Tensor, diagonal: int = 0):
        if input.dim() < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        rows, columns = input.shape[-2:]  # beyond which there is nothing
        return input.shape, input.dtype, (input,), {"diagonal": max(-rows, min(columns, diagonal))}

    check.__name__ = check.__qualname__ = name
    text += "\n\nRaises ``RuntimeError`` for fewer than 2 dims."
    check.__doc__ = docstring(text, name, f">>> torch.{name}(torch.ones(2, 2))", *shown)
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


tril = _triangle(
    "tril", np.tril, "le", "The lower triangle of the last two dims, up to ``diagonal``; zeros elsewhere.",
    "tensor([[1., 0.],", "        [1., 1.]])",
)  # fmt: skip
triu = _triangle(
    "triu", np.triu, "ge", "The upper triangle of the last two dims, from ``diagonal`` on; zeros elsewhere.",
    "tensor([[1., 1.],", "        [0., 1.]])",
)  # fmt: skip


@composite(out="same", samples=lambda make: [Sample(make(3)), Sample(make(2, 3)), Sample(make(3), 1), Sample(make(3, 3), -1)])
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector.

    Raises ``RuntimeError`` for tensors of other than 1 or 2 dims.

    >>> import flambeau as torch
    >>> torch.diag(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    >>> torch.diag(torch.tensor([[1, 2], [3, 4]]), 1)
    tensor([2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diag.html
    """
    if input.dim() == 1:
        return diag_embed(input, diagonal)
    if input.dim() == 2:
        return input.diagonal(diagonal).clone()
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")


@composite(samples=lambda make: [Sample(make(2, 3)), Sample(make(2, 3), 1, 0, 2)])
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dim as diagonals of planes ``dim1``, ``dim2`` of a tensor with one dim more.

    Raises ``RuntimeError`` where ``dim1`` and ``dim2`` are the same.

    >>> import flambeau as torch
    >>> torch.diag_embed(torch.tensor([1, 2]), offset=1)
    tensor([[0, 1, 0],
            [0, 0, 2],
            [0, 0, 0]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diag_embed.html
    """
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
    """All elements as the diagonal of a matrix.

    >>> import flambeau as torch
    >>> torch.diagflat(torch.tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diagflat.html
    """
    return diag_embed(input.reshape(-1), offset)


def _require_vectors(tensors) -> None:
    for t in tensors:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")


@composite(method=False, samples=lambda make: [Sample(make(2), make(3))])
def cartesian_prod(*tensors: Tensor | Sequence[Tensor]) -> Tensor:
    """All combinations of one element from each 1-d tensor, as rows.

    Raises ``RuntimeError`` for tensors with another number of dims.

    >>> import flambeau as torch
    >>> torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cartesian_prod.html
    """
    listed: tuple[Any, ...] = tensors
    _require_vectors(listed)
    if len(listed) == 1:
        return listed[0]
    sizes = tuple(t.shape[0] for t in listed)
    columns = [t.view((1,) * i + (-1,) + (1,) * (len(tensors) - 1 - i)).expand(sizes).reshape(-1) for i, t in enumerate(listed)]
    return stack(columns, 1)


@composite(method=False, samples=lambda make: [Sample(make(4)), Sample(make(3), 2, True)])
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All ``r``-element combinations of a 1-d tensor, as rows, in the order of ``itertools``.

    Raises ``RuntimeError`` for a tensor with another number of dims.

    >>> import flambeau as torch
    >>> torch.combinations(torch.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.combinations.html
    """
    _require_vectors((input,))
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
    """``input`` summed over the dims in which ``size`` was broadcast to it.

    Raises ``RuntimeError`` for a ``size`` that does not broadcast to the input's.

    >>> import flambeau as torch
    >>> torch.ones(3, 2).sum_to_size(1, 2)
    tensor([[3., 3.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.sum_to_size.html
    """
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
    if not size:
        return input.sum()
    shape = input.shape
    if shape == size:
        return input
    lead = len(shape) - len(size)
    if lead < 0 or any(a not in (1, b) for a, b in zip(size, shape[lead:], strict=True)):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(shape)}}}.")
    wanted: Any = size
    return summed_to(input, wanted)
