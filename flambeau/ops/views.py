"""Views of all of a tensor: in another shape, with dims in another order, repeated.

Each gives the result's geometry: shape, strides, and offset in elements of the storage. Views of parts are in
:mod:`flambeau.ops.parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides, wrap_dim
from flambeau.ops.record import ErrorSample, Sample, composite, view

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Tensor


def as_sizes(sizes: tuple, name: str) -> tuple[int, ...]:
    """``(2, 3)`` from ``f(2, 3)``, ``f((2, 3))`` or ``f([2, 3])``."""
    if len(sizes) == 1 and sizes[0].__class__ is tuple:
        sizes = sizes[0]
    elif len(sizes) == 1 and not isinstance(sizes[0], int) and hasattr(sizes[0], "__iter__") and sizes[0].__class__ is not str:
        if not isinstance(sizes[0], dispatch.Tensor) or sizes[0].dim():
            sizes = tuple(sizes[0])
    try:
        return tuple([n if n.__class__ is int else n.__index__() for n in sizes])
    except (AttributeError, TypeError):
        kinds = ", ".join(type(n).__name__ for n in sizes)
        raise TypeError(f"{name}(): argument 'size' must be tuple of ints, but found element of type {kinds}") from None


def infer_size(sizes: tuple[int, ...], numel: int) -> tuple[int, ...]:
    """``sizes`` with a ``-1`` replaced by what makes the number of elements ``numel``."""
    known, unknown = 1, -1
    for i, n in enumerate(sizes):
        if n >= 0:
            known *= n
        elif n < -1:
            raise RuntimeError(f"invalid shape dimension {n}")
        elif unknown >= 0:
            raise RuntimeError("only one dimension can be inferred")
        else:
            unknown = i
    if unknown < 0:
        if known == numel:
            return sizes
    elif known and numel % known == 0:
        return (*sizes[:unknown], numel // known, *sizes[unknown + 1 :])
    elif known == 0 and numel == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(sizes)} because the unspecified dimension size -1 "
            "can be any value and is ambiguous"
        )
    raise RuntimeError(f"shape '{list(sizes)}' is invalid for input of size {numel}")


def view_strides(shape: Sequence[int], strides: Sequence[int], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides that show a tensor of ``shape`` and ``strides`` as ``new`` without a copy; ``None`` where none do."""
    if 0 in new:
        return contiguous_strides(new)
    out = [1] * len(new)
    # Runs of old dims that are contiguous with one another, from the last to the first.
    i = len(new) - 1
    chunk, base = 1, strides[-1] if strides else 1
    for d in range(len(shape) - 1, -1, -1):
        chunk *= shape[d]
        if d == 0 or (shape[d - 1] != 1 and strides[d - 1] != chunk * base):
            filled = 1
            while i >= 0 and (filled < chunk or new[i] == 1):
                out[i] = filled * base
                filled *= new[i]
                i -= 1
            if filled != chunk:
                return None
            if d:
                chunk, base = 1, strides[d - 1]
    while i >= 0:
        if new[i] != 1:
            return None
        i -= 1
    return tuple(out)


# --- the same elements in another shape ----------------------------------------------------------------------


def _reshape_samples(make):
    return [Sample(make(2, 6), (3, 4)), Sample(make(2, 6), (-1,)), Sample(make(), (1, 1)), Sample(make(0, 3), (3, 0))]


@view(
    name="Tensor.view",
    tensors="input",
    grad={"input": lambda g, input_shape: reshaped(g, input_shape)},
    samples=_reshape_samples,
    errors=lambda make: [
        ErrorSample(RuntimeError, r"shape '\[5\]' is invalid for input of size 12", make(2, 6), (5,)),
        ErrorSample(RuntimeError, "view size is not compatible", make(4, 3).t(), (12,)),
    ],
)
def view_(input: Tensor, *size: int | Sequence[int] | dtype, dtype: dtype | None = None):
    """A view of the memory in another shape; one size may be ``-1``. ``view(dtype)`` reinterprets the bytes.

    ``RuntimeError`` where the strides do not allow it (then use ``reshape``).

    >>> import flambeau as torch
    >>> torch.arange(6).view(2, -1).shape
    torch.Size([2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.view.html
    """
    if dtype is not None:
        return _reinterpreted(input, dtype)
    if len(size) == 1 and isinstance(size[0], dtypes.dtype):
        return _reinterpreted(input, size[0])
    sizes = infer_size(as_sizes(size, "view"), input._shape.numel())
    if input._strides is None:
        return sizes, None, input._offset, {}
    strides = view_strides(input._shape, input._strides, sizes)
    if strides is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            f"contiguous subspaces). Use .reshape(...) instead. The input has shape {list(input.shape)} and strides "
            f"{input.stride()}, the view would have shape {list(sizes)}."
        )
    return sizes, strides, input._offset, {}


@composite(samples=_reshape_samples)
def reshape(input: Tensor, *shape: int | Sequence[int]) -> Tensor:
    """The elements in another shape: a view where the strides allow it, else a copy. One size may be ``-1``.

    >>> import flambeau as torch
    >>> torch.reshape(torch.arange(6), (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.reshape.html
    """
    sizes = infer_size(as_sizes(shape, "reshape"), input._shape.numel())
    if input._strides is not None and view_strides(input._shape, input._strides, sizes) is None:
        input = input.contiguous()
    return view_(input, sizes)


def reshaped(t, shape: Sequence[int]):
    """``t.reshape(shape)``, in fewer steps where a view will do."""
    return view_(t, shape) if t._strides is None else reshape(t, shape)


def summed_to(t, shape: Sequence[int]):
    """``t`` summed over the dims in which a tensor of ``shape`` was expanded to its shape."""
    lead = len(t._shape) - len(shape)
    dims = [*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and t._shape[lead + i] != 1)]
    if dims:
        t = t.sum(dims, keepdim=True)
    return reshaped(t, shape) if lead else t


@composite(name="Tensor.view_as")
def view_as(input: Tensor, other: Tensor):
    """``input.view(other.size())``.

    >>> import flambeau as torch
    >>> torch.arange(4).view_as(torch.zeros(2, 2))
    tensor([[0, 1],
            [2, 3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.view_as.html
    """
    return input.view(other.shape)


@composite(name="Tensor.reshape_as")
def reshape_as(input: Tensor, other: Tensor):
    """``input.reshape(other.size())``.

    >>> import flambeau as torch
    >>> torch.arange(4).reshape_as(torch.zeros(2, 2))
    tensor([[0, 1],
            [2, 3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.reshape_as.html
    """
    return input.reshape(other.shape)


@composite(samples=lambda make: [Sample(make(2, 3, 2)), Sample(make(2, 3, 2), 1), Sample(make(2, 3, 2), 0, 1), Sample(make())])
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Joins the dims from ``start_dim`` to ``end_dim`` into one.

    Raises ``RuntimeError`` where ``start_dim`` comes after ``end_dim``.

    >>> import flambeau as torch
    >>> torch.flatten(torch.zeros(2, 3, 4), start_dim=1).shape
    torch.Size([2, 12])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.flatten.html
    """
    ndim = input.dim()
    start, end = wrap_dim(start_dim, ndim), wrap_dim(end_dim, ndim)
    if ndim == 0:
        return input.reshape(1)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end:
        return input
    shape = input.shape
    return input.reshape(shape[:start] + (prod(shape[start : end + 1]),) + shape[end + 1 :])


@composite
def ravel(input: Tensor):
    """The elements as one row: a view where possible.

    >>> import flambeau as torch
    >>> torch.ravel(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ravel.html
    """
    return input.contiguous().view(-1)


@composite(samples=lambda make: [Sample(make(2, 6), 1, (2, 3)), Sample(make(2, 6), -1, (-1, 2))])
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Splits ``dim`` into dims of ``sizes``; one may be ``-1``.

    Raises ``RuntimeError`` for sizes whose product is not that of the dim, and for a tensor without dims.

    >>> import flambeau as torch
    >>> torch.unflatten(torch.arange(6), 0, (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unflatten.html
    """
    if not input.dim():
        raise RuntimeError(f"unflatten got an unexpected error:\nDimension specified as {dim} but tensor has no dimensions")
    d = wrap_dim(dim, input.dim())
    sizes = tuple(sizes)
    n = input.shape[d]
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if (-1 in sizes and n % max(1, -prod(sizes))) or (-1 not in sizes and prod(sizes) != n):
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({n}) in the input tensor"
        )
    return input.view(input.shape[:d] + infer_size(sizes, n) + input.shape[d + 1 :])


def _reinterpreted(input, dtype):
    """The geometry of the same bytes as another dtype: the last dim grows or shrinks with the element size. It has no gradient."""
    for bit, name in ((input.is_conj(), "conjugate"), (input.is_neg(), "negative")):
        if bit and dtype is not input.dtype:
            raise RuntimeError(
                f"torch.Tensor.view is not supported for {name} view tensors when converting to a different dtype: copy it first."
            )
    shape, strides, offset = input.shape, input.stride(), input.storage_offset()
    old, new = input.dtype.itemsize, dtype.np.itemsize
    if old == new:
        return shape, strides, offset, None, dtype
    names = f"{dtypes.scalar_name(input.dtype)} as {dtypes.scalar_name(dtype)}"
    if not shape:
        raise RuntimeError(f"self.dim() cannot be 0 to view {names} (different element sizes)")
    if strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 to view {names} (different element sizes), but got {strides[-1]}")
    if old > new:
        ratio = old // new
        return shape[:-1] + (shape[-1] * ratio,), tuple([s * ratio for s in strides[:-1]]) + (1,), offset * ratio, None, dtype
    ratio = new // old
    divided = [("size(-1)", shape[-1]), ("storage_offset()", offset), *[(f"stride({i})", s) for i, s in enumerate(strides[:-1])]]
    for what, number in divided:
        if number % ratio:
            raise RuntimeError(
                f"self.{what} must be divisible by {ratio} to view {names} (different element sizes), but got {number}"
            )
    return shape[:-1] + (shape[-1] // ratio,), tuple([s // ratio for s in strides[:-1]]) + (1,), offset // ratio, None, dtype


# --- dims in another order -----------------------------------------------------------------------------------


@view(
    grad={"input": lambda g, dims: g.permute(_inverse(dims))},
    samples=lambda make: [Sample(make(2, 3, 4), (2, 0, 1)), Sample(make(2, 3), (-1, 0)), Sample(make(), ())],
    errors=lambda make: [
        ErrorSample(RuntimeError, "number of dimensions in the tensor input does not match", make(2, 3), (0,)),
        ErrorSample(RuntimeError, "duplicate dims are not allowed", make(2, 3), (0, 0)),
    ],
)
def permute(input: Tensor, *dims: int | Sequence[int]):
    """A view with the dims in another order.

    Raises ``RuntimeError`` unless each dim is given once.

    >>> import flambeau as torch
    >>> torch.permute(torch.zeros(2, 3, 5), (2, 0, 1)).shape
    torch.Size([5, 2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.permute.html
    """
    dims = as_sizes(dims, "permute")
    ndim = input.dim()
    if len(dims) != ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(dims)}"
        )
    order = tuple([wrap_dim(d, ndim) for d in dims])
    if len(set(order)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    shape, strides = input.shape, input.stride()
    return (
        tuple([shape[d] for d in order]), tuple([strides[d] for d in order]), input.storage_offset(), {"dims": order},
    )  # fmt: skip


def _inverse(dims: tuple[int, ...]) -> tuple[int, ...]:
    out = [0] * len(dims)
    for i, d in enumerate(dims):
        out[d] = i
    return tuple(out)


@view(
    grad={"input": lambda g, dim0, dim1: g.transpose(dim0, dim1)},
    aliases=("swapaxes", "swapdims"),
    samples=lambda make: [Sample(make(2, 3, 4), 0, 2), Sample(make(2, 3), -1, 0), Sample(make(), 0, 0)],
)
def transpose(input: Tensor, dim0: int, dim1: int):
    """A view with two dims exchanged.

    >>> import flambeau as torch
    >>> torch.transpose(torch.tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([[1, 3],
            [2, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.transpose.html
    """
    ndim = input.dim()
    a, b = wrap_dim(dim0, ndim), wrap_dim(dim1, ndim)
    shape, strides = list(input.shape), list(input.stride())
    if ndim:
        shape[a], shape[b] = shape[b], shape[a]
        strides[a], strides[b] = strides[b], strides[a]
    return tuple(shape), tuple(strides), input.storage_offset(), {"dim0": a, "dim1": b}


@view(
    grad={"input": lambda g: g.t()},
    backward_name="TBackward0",
    samples=lambda make: [Sample(make(2, 3)), Sample(make(3)), Sample(make())],
    errors=lambda make: [ErrorSample(RuntimeError, r"t\(\) expects a tensor with <= 2 dimensions", make(2, 3, 4))],
)
def t(input: Tensor):
    """The transpose of a matrix, as a view; tensors of fewer dims stay as they are.

    Raises ``RuntimeError`` for more than 2 dims.

    >>> import flambeau as torch
    >>> torch.t(torch.tensor([[1, 2, 3]]))
    tensor([[1],
            [2],
            [3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.t.html
    """
    if input.dim() > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.dim()}D")
    return input.shape[::-1], input.stride()[::-1], input.storage_offset(), {}


@composite(samples=lambda make: [Sample(make(2, 3, 4), 0, 2), Sample(make(2, 3, 4), (0, 1), (1, 2))], aliases=("moveaxis",))
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """A view with dims ``source`` at the positions ``destination``, the others in their order.

    Raises ``RuntimeError`` for repeated dims, or as many sources as destinations.

    >>> import flambeau as torch
    >>> torch.movedim(torch.zeros(2, 3, 5), 0, -1).shape
    torch.Size([3, 5, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.movedim.html
    """
    ndim = input.dim()
    source = (source,) if isinstance(source, int) else tuple(source)
    destination = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should contain the same number of "
            f"dims as destination ({list(destination)} dims)"
        )
    src, dst = [wrap_dim(d, ndim) for d in source], [wrap_dim(d, ndim) for d in destination]
    for dims, name in ((src, "source"), (dst, "destination")):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({dims})")
    order = [d for d in range(ndim) if d not in src]
    for to, d in sorted(zip(dst, src, strict=True)):
        order.insert(to, d)
    return input.permute(order)


@composite(samples=lambda make: [Sample(make(2, 3, 4))])
def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims.

    >>> import flambeau as torch
    >>> torch.adjoint(torch.tensor([[1 + 2j, 3 + 0j]]))
    tensor([[1.-2.j],
            [3.-0.j]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.adjoint.html
    """
    return input.mH


# --- dims of size 1 ------------------------------------------------------------------------------------------


@view(
    grad={"input": lambda g, input_shape: reshaped(g, input_shape)},
    overload=lambda inputs, attrs: attrs["given"],
    samples=lambda make: [Sample(make(1, 3, 1)), Sample(make(1, 3, 1), 0), Sample(make(1, 3, 1), (0, -1)), Sample(make(2), 0)],
)
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None):
    """A view without the dims of size 1 (only those among ``dim``, where given).

    >>> import flambeau as torch
    >>> x = torch.zeros(1, 2, 1)
    >>> torch.squeeze(x).shape, torch.squeeze(x, 0).shape
    (torch.Size([2]), torch.Size([2, 1]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.squeeze.html
    """
    ndim = input.dim()
    if dim is None:
        chosen = set(range(ndim))
    else:
        chosen = {wrap_dim(d, ndim) for d in ((dim,) if not isinstance(dim, (tuple, list)) else dim)}
    keep = [d for d in range(ndim) if d not in chosen or input.shape[d] != 1]
    strides = input.stride()
    given = 0 if dim is None else 2 if isinstance(dim, (tuple, list)) else 1
    return tuple([input.shape[d] for d in keep]), tuple([strides[d] for d in keep]), input.storage_offset(), {"given": given}


@view(
    grad={"input": lambda g, dim: g.squeeze(dim)},
    samples=lambda make: [Sample(make(2, 3), 0), Sample(make(2, 3), -1), Sample(make(), 0)],
)
def unsqueeze(input: Tensor, dim: int):
    """A view with a dim of size 1 inserted at ``dim``.

    >>> import flambeau as torch
    >>> torch.unsqueeze(torch.tensor([1, 2]), 1)
    tensor([[1],
            [2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unsqueeze.html
    """
    ndim = input.dim()
    d = wrap_dim(dim, ndim + 1)
    shape, strides = input.shape, input.stride()
    step = shape[d] * strides[d] if d < ndim else 1
    return shape[:d] + (1,) + shape[d:], strides[:d] + (step,) + strides[d:], input.storage_offset(), {"dim": d}


@view(
    name="Tensor.expand",
    grad={"input": lambda g, input_shape: summed_to(g, input_shape)},
    samples=lambda make: [Sample(make(1, 3), (2, 3)), Sample(make(3), (2, -1)), Sample(make(), (2, 2))],
    errors=lambda make: [
        ErrorSample(RuntimeError, r"The expanded size of the tensor \(4\) must match", make(2, 3), (2, 4)),
        ErrorSample(RuntimeError, "must be greater or equal", make(2, 3), (3,)),
        ErrorSample(RuntimeError, "numel: integer multiplication overflow", make(1), (-6,)),
        ErrorSample(RuntimeError, "numel: integer multiplication overflow", make(1), (-2, 1)),
    ],
)
def expand(input: Tensor, *size: int | Sequence[int], implicit: bool = False):
    """A view in which dims of size 1 are repeated (stride 0); ``-1`` keeps a size.

    Raises ``RuntimeError`` for a size that is neither the dim's nor one that a dim of size 1 can have.

    >>> import flambeau as torch
    >>> torch.tensor([[1], [2]]).expand(-1, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.expand.html
    """
    sizes = as_sizes(size, "expand")
    shape, old = input.shape, input.stride()
    lead = len(sizes) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand({input.type()}{{{list(shape)}}}, size={list(sizes)}): the number of sizes provided ({len(sizes)}) "
            f"must be greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    out, strides = list(sizes), [0] * len(sizes)
    for i in range(len(sizes) - 1, -1, -1):
        n = sizes[i]
        if n == -1 and i < lead:
            raise RuntimeError(f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}")
        if n < -1:
            raise RuntimeError(f"numel: integer multiplication overflow: sizes are not negative, but got {list(sizes)}")
        have = shape[i - lead] if i >= lead else 1
        if n in (-1, have):
            out[i] = have
            if i >= lead:
                strides[i] = old[i - lead]
            elif shape:
                strides[i] = out[i + 1] * strides[i + 1]
        elif have != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton dimension "
                f"{i}.  Target sizes: {list(sizes)}.  Tensor sizes: {list(shape)}"
            )
    return tuple(out), tuple(strides), input.storage_offset(), {}


@composite(name="Tensor.expand_as")
def expand_as(input: Tensor, other: Tensor):
    """``input.expand(other.size())``.

    >>> import flambeau as torch
    >>> torch.tensor([[1], [2]]).expand_as(torch.zeros(2, 2))
    tensor([[1, 1],
            [2, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.expand_as.html
    """
    return input.expand(other.shape)


@composite(samples=lambda make: [Sample(make(1, 3), (2, 3)), Sample(make(3), 2, 3)])
def broadcast_to(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """``input.expand(size)``.

    >>> import flambeau as torch
    >>> torch.broadcast_to(torch.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.broadcast_to.html
    """
    return input.expand(*size)
