"""Copies of views, and other names of ops under which PyTorch's own layers call them."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.memory_format import contiguous_format
from flambeau.core.size import wrap_dim
from flambeau.ops.documentation import docstring
from flambeau.ops.record import ErrorSample, Op, Sample, composite, registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.core.memory_format import layout, memory_format
    from flambeau.tensor.types import Device, Number, Tensor


def _other(name: str):
    """The function of another op."""
    return registry[name].function


# --- <view>_copy: the view's elements in memory of their own -----------------------------------------------------

_VIEWS = {
    "alias": "Tensor.view_as", "detach": "Tensor.view_as", "as_strided": "as_strided", "diagonal": "diagonal", "expand": "Tensor.expand",
    "narrow": "narrow", "permute": "permute", "select": "select", "split": "split",
    "split_with_sizes": "split_with_sizes", "squeeze": "squeeze", "t": "t", "transpose": "transpose", "unbind": "unbind",
    "unfold": "Tensor.unfold", "unsqueeze": "unsqueeze", "view": "Tensor.view", "view_as_complex": "view_as_complex",
    "view_as_real": "view_as_real",
}  # fmt: skip
_SAMPLES = {
    "as_strided": ((2, 2), (2, 1), 1), "expand": ((2, 3, 2),), "narrow": (0, 1, 2), "permute": ((1, 0),), "select": (0, 2),
    "split": (1,), "split_with_sizes": ((1, 2),), "transpose": (0, 1), "unfold": (0, 2, 1), "unsqueeze": (0,),
    "view": ((2, 3),), "diagonal": (), "squeeze": (), "t": (), "unbind": (),
}  # fmt: skip


_SEVERAL = ("split", "split_with_sizes", "unbind")


def _own(value):
    if isinstance(value, (tuple, list)):
        return tuple(v.clone(memory_format=contiguous_format) for v in value)
    return value.clone(memory_format=contiguous_format)


def _description(name: str, arguments: tuple, several: bool) -> str:
    text = f"As ``{name}``, with memory of its own instead of the input's."
    example = {"view_as_real": "torch.ones(2, dtype=torch.complex64)"}.get(name, "torch.ones(3, 2)")
    call = f"torch.{name}_copy({', '.join(['x', *map(repr, arguments)])})"
    asks = f"any(part._is_view() for part in {call})" if several else f"{call}._is_view()"
    return docstring(text, f"{name}_copy", f">>> x = {example}", f">>> {asks}", "False")


def _copy_of(name: str, view) -> None:
    def copied(input: Tensor, *args: Any, **kwargs: Any):
        return _own(view(input, *args, **kwargs))

    def copies(input: Tensor, *args: Any, out: Any = None, **kwargs: Any):
        parts = view(input, *args, **kwargs)
        if out is None:
            return _own(parts)
        record = registry[f"{name}_copy"]
        for part, target in zip(parts, out, strict=True):
            dispatch.write_out(record, part, target)
        return None  # as PyTorch does where there are several results, and no fixed number of them

    several = name in _SEVERAL
    made = copies if several else copied
    made.__name__ = made.__qualname__ = f"{name}_copy"
    arguments = _SAMPLES.get(name)
    made.__doc__ = _description(name, arguments or (), several)
    samples = None if arguments is None else lambda make: [Sample(make(3, 2), *arguments)]
    Op(made, "composite", out=False if several else "same", method=name == "narrow", samples=samples)


for _name, _full in _VIEWS.items():
    if _name in ("alias", "detach"):
        _copy_of(_name, lambda input: input)
    else:
        _copy_of(_name, _other(_full))


@composite(out="same", method=False, samples=lambda make: [Sample(make(4, 3), 1, 0, 2), Sample(make(5), step=2)])
def slice_copy(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """The elements ``start:end:step`` of a dim, with memory of their own.

    >>> import flambeau as torch
    >>> torch.slice_copy(torch.arange(6), 0, 1, 4)
    tensor([1, 2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.slice_copy.html
    """
    return _own(_other("_slice")(input, wrap_dim(dim, input.dim()), start, end, step))


# --- pieces without a view's bookkeeping -------------------------------------------------------------------------


def _one_by_one(input, sizes, dim):
    """Views of consecutive pieces, each of which may be written to: they are not several results of one function."""
    starts = itertools.accumulate(sizes, initial=0)
    return tuple([input.narrow(dim, start, n) for start, n in zip(starts, sizes, strict=False)])


def _sizes(pieces, dim):
    return [piece.shape[dim] for piece in pieces]


@composite(samples=lambda make: [Sample(make(5, 2), 2), Sample(make(2, 4), 3, 1)])
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0):
    """As :func:`chunk`, of pieces that may be written to.

    >>> import flambeau as torch
    >>> torch.unsafe_chunk(torch.arange(4), 2)
    (tensor([0, 1]), tensor([2, 3]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unsafe_chunk.html
    """
    return _one_by_one(input, _sizes(_other("chunk")(input.detach(), chunks, dim), dim), dim)


@composite(samples=lambda make: [Sample(make(5, 2), 2), Sample(make(2, 4), 3, 1)])
def unsafe_split(tensor: Tensor, split_size: int, dim: int = 0):
    """As :func:`split`, of pieces that may be written to.

    >>> import flambeau as torch
    >>> torch.unsafe_split(torch.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unsafe_split.html
    """
    return _one_by_one(tensor, _sizes(_other("split")(tensor.detach(), split_size, dim), dim), dim)


@composite(samples=lambda make: [Sample(make(5, 2), (2, 3))])
def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0):
    """As :func:`split_with_sizes`, of pieces that may be written to.

    >>> import flambeau as torch
    >>> torch.unsafe_split_with_sizes(torch.arange(5), [1, 4])
    (tensor([0]), tensor([1, 2, 3, 4]))

    Source: PyTorch's operator ``aten::unsafe_split_with_sizes``.
    """
    return _one_by_one(input, _sizes(_other("split_with_sizes")(input.detach(), split_sizes, dim), dim), dim)


# --- made from nothing -------------------------------------------------------------------------------------------


@composite(method=False, tensors="", samples=lambda make: [Sample(2.5), Sample(True, dtype=dtypes.int64)])
def scalar_tensor(
    s: Number | complex,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """A tensor of no dimensions with the value ``s``, of the default dtype unless another is given.

    >>> import flambeau as torch
    >>> torch.scalar_tensor(3)
    tensor(3.)

    Source: PyTorch's operator ``aten::scalar_tensor``.
    """
    dtype = dtype or dtypes.get_default_dtype()
    return _other("full")((), s, dtype=dtype, device=device, requires_grad=requires_grad)


@composite(method=False, tensors="")
def empty_permuted(
    size: Sequence[int],
    physical_layout: Sequence[int],
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
):
    """A tensor whose dimensions lie in memory in the order ``physical_layout``, the outermost first; values are any.

    Raises ``RuntimeError`` unless ``physical_layout`` is a permutation of the dims.

    >>> import flambeau as torch
    >>> torch.empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty_permuted.html
    """
    order, n = tuple(physical_layout), len(size)
    if sorted(order) != list(range(n)):
        raise RuntimeError(
            f"Number of dimensions in size does not match the length of the physical_layout, or it is no permutation: "
            f"size={list(size)}, physical_layout={list(order)}"
        )
    strides, step = [0] * n, 1
    for d in reversed(order):
        strides[d] = step
        step *= max(size[d], 1)
    return _other("empty_strided")(tuple(size), tuple(strides), dtype=dtype, device=device, requires_grad=requires_grad)


@composite(name="resize_as_", method=False)
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: memory_format | None = None):
    """Gives ``input`` the shape of another tensor (see :meth:`Tensor.resize_`).

    >>> import flambeau as torch
    >>> torch.resize_as_(torch.ones(4), torch.zeros(2, 2)).shape
    torch.Size([2, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.resize_as_.html
    """
    return input.resize_as_(the_template, memory_format=memory_format)


# --- indices -----------------------------------------------------------------------------------------------------


def _indices_and_shape(make):
    return [Sample(make.index(6, 4), (2, 3)), Sample(make.index(24, 2, 2), (2, 3, 4))]


@composite(
    tensors="indices",
    method=False,
    samples=_indices_and_shape,
    errors=lambda make: [ErrorSample(TypeError, "expected 'indices' to be integer dtype", make(2), (2, 3))],
)
def unravel_index(indices: Tensor, shape: int | Sequence[int]):
    """The coordinates, one tensor for each dimension, of flat ``indices`` into an array of the given shape.

    Raises ``TypeError`` for indices that are no integers, ``ValueError`` for a negative size.

    >>> import flambeau as torch
    >>> torch.unravel_index(torch.tensor([1, 5]), (2, 3))
    (tensor([0, 1]), tensor([1, 2]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unravel_index.html
    """
    if indices.dtype.is_floating_point or indices.dtype.is_complex or indices.dtype is dtypes.bool:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"'shape' cannot have negative values, but got {shape}")
    if not shape:
        return ()
    steps = [prod(shape[d + 1 :]) for d in range(len(shape))]
    sizes, steps = [dispatch.wrap(np.array(numbers), indices.dtype) for numbers in (shape, steps)]
    return (indices.unsqueeze(-1).div(steps, rounding_mode="floor") % sizes).unbind(-1)


@composite(out="same", samples=lambda make: [Sample(make(2, 3), size=4), Sample(make(2, 3), size=8, fill_value=7)])
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first ``size`` rows of :func:`nonzero`, filled up with rows of ``fill_value``.

    Raises ``RuntimeError`` for a negative ``size``.

    >>> import flambeau as torch
    >>> torch.nonzero_static(torch.tensor([0, 3, 0, 5]), size=3)
    tensor([[ 1],
            [ 3],
            [-1]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nonzero_static.html
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, but got {size}")
    if input._storage.is_meta:
        return dispatch.valueless((size, input.dim()), dtypes.int64, None, input._storage)
    found = _other("nonzero")(input)[:size]
    missing = _other("full")((size - found.shape[0], input.dim()), fill_value, dtype=found.dtype)
    return _other("cat")([found, missing])


@composite(
    tensors="input index source",
    inplace=True,
    out="same",
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 4), make(4, 2), reduce, include_self=include)
        for reduce in ("prod", "mean", "amax", "amin")
        for include in (True, False)
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "Expected reduce to be one of", make(3), 0, make.index(3, 2), make(2), "sum")],
)
def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """``input`` with ``source``'s slices for each entry of ``index`` reduced by prod, mean, amax or amin.

    Raises ``RuntimeError`` for another ``reduce``.

    >>> import flambeau as torch
    >>> torch.index_reduce(torch.ones(2), 0, torch.tensor([0, 0]), torch.tensor([2.0, 3.0]), "prod")
    tensor([6., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_reduce_.html
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    if not input.dim():
        reduced = index_reduce(input.unsqueeze(0), 0, index.reshape(-1), source.reshape(-1), reduce, include_self=include_self)
        return reduced.squeeze(0)
    d = dim % input.dim() if -input.dim() <= dim < input.dim() else dim
    sized = [1] * input.dim()
    sized[d] = -1
    places = index.to(dtypes.int64).reshape(sized).expand(source.shape)
    return _other("scatter_reduce")(input, d, places, source, reduce, include_self=include_self)


# --- sampling at places ------------------------------------------------------------------------------------------

_MODES, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def _sampler(name: str, dims: int | None) -> None:
    def sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool):
        if dims is not None and input.dim() != dims:
            raise RuntimeError(f"{name}(): expected an input of {dims} dimensions, but got {list(input.shape)}")
        return _other("nn.functional.grid_sample")(input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)

    sampler.__name__ = sampler.__qualname__ = name
    text = "As :func:`torch.nn.functional.grid_sample`, with numbers for the modes."
    text += f"\n\nRaises ``RuntimeError`` for an ``input`` that has not {dims or '4 or 5'} dims."
    image, centre = [1, 1] + [2] * ((dims or 4) - 2), [1] * ((dims or 4) - 1) + [(dims or 4) - 2]
    example = f">>> torch.{name}(torch.ones({image}), torch.zeros({centre}), 0, 0, False).flatten()"
    sampler.__doc__ = docstring(text, "nn.functional.grid_sample", example, "tensor([1.])")
    Op(sampler, "composite", tensors="input grid", method=False)


for _name, _dims in {"grid_sampler": None, "grid_sampler_2d": 4, "grid_sampler_3d": 5}.items():
    _sampler(_name, _dims)
