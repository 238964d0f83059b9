"""Tensors made from nothing: filled, counted, spaced; and their ``*_like`` and ``new_*`` forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import device as devices
from flambeau.core import dtypes
from flambeau.core.scalars import fitting
from flambeau.core.size import broadcast
from flambeau.ops.record import ErrorSample, Sample, by_tensor, composite, op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.core.memory_format import layout, memory_format
    from flambeau.tensor.types import Device, Number, Tensor

_INT = frozenset([int])
_TOO_MANY = 1 << 60  # elements: their addresses do not fit into 64 bits


def sizes_of(size: tuple, name: str) -> tuple[int, ...]:
    """The sizes given as ``f(2, 3)`` or ``f((2, 3))``, checked."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    try:
        shape = size if _INT.issuperset(map(type, size)) else tuple([n.__index__() for n in size])
    except (AttributeError, TypeError):
        if len(size) == 1 and isinstance(size[0], dispatch.Tensor):
            raise TypeError(f"{name}(): argument 'size' (position 1) must be tuple of ints, not Tensor") from None
        found = next((n for n in size if not hasattr(n, "__index__")), size[0])
        raise TypeError(
            f"{name}(): argument 'size' must be tuple of ints, but found element of type {type(found).__name__}"
        ) from None
    if shape and min(shape) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    refuse_too_many(shape)
    return shape


def refuse_too_many(shape: tuple[int, ...]) -> None:
    """Raises for a shape that no memory could hold, as numbers that programs give can make it."""
    if math.prod(shape) >= _TOO_MANY:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")


def finish(array: np.ndarray, dtype: dtypes.dtype, device, requires_grad: bool):
    """A new tensor over ``array``, on ``device``, perhaps a leaf of the tape."""
    return made(array.shape, lambda: array, dtype, device, requires_grad)


def place_of(input, device):
    """Where a tensor like ``input`` is made: on ``device``, or where that is. What has no values has what stands for memory."""
    if device is not None:
        return device
    return input._storage if input._storage.is_meta else input.device


def made(shape: tuple[int, ...], make: Callable[[], np.ndarray], dtype: dtypes.dtype, device, requires_grad: bool):
    """A tensor of what ``make()`` gives: an array of this shape, which is not made where nobody could see its values."""
    if getattr(device, "is_meta", False):
        result = dispatch.valueless(shape, dtype, None, device)
    elif device is not None and devices.check(device) is devices.META:
        result = dispatch.valueless(shape, dtype)
    else:
        result = dispatch.wrap(make(), dtype)
    return result.requires_grad_() if requires_grad else result


def _filled(name, size, value, dtype, device, requires_grad):
    d = dtype or dtypes.get_default_dtype()
    shape = sizes_of(size, name)
    return made(shape, lambda: _full(shape, value, d), d, device, requires_grad)


def _constant(result):
    """Says of a new tensor that its values are the same whenever it is made."""
    result._storage.node.is_constant = True
    return result


def _full(shape: tuple[int, ...], value, dtype: dtypes.dtype) -> np.ndarray:
    if value.__class__ is not int or not 0 <= value < 128:  # these fit everywhere
        value = fitting(value, dtype)
    if value == 0 and not (isinstance(value, float) and math.copysign(1.0, value) < 0):
        return np.zeros(shape, dtype.np)
    array = np.empty(shape, dtype.np)
    array[...] = dtypes.cast(np.asarray(value), dtype) if dtype.is_stored or dtype is dtypes.float16 else value
    return array


_FILL_SAMPLES: dict[str, Any] = {
    "samples": lambda make: [Sample(2, 3), Sample((2, 3)), Sample(()), Sample(0, 2)],
    "errors": lambda make: [ErrorSample(RuntimeError, "negative dimension", -1)],
    "tensors": "",
    "method": False,
    "out": "dtype",
}


@composite(**_FILL_SAMPLES)
def zeros(
    *size: int | Sequence[int],
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
    names: Any = None,
) -> Tensor:
    """A tensor of zeros. ``dtype`` defaults to the default dtype.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.zeros.html
    """
    d = dtype or dtypes.get_default_dtype()
    shape = sizes_of(size, "zeros")
    return _constant(made(shape, lambda: np.zeros(shape, d.np), d, device, requires_grad))


@composite(**_FILL_SAMPLES)
def ones(
    *size: int | Sequence[int],
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
    names: Any = None,
) -> Tensor:
    """A tensor of ones, of the default dtype unless ``dtype`` is given.

    >>> import flambeau as torch
    >>> torch.ones(2, 3)
    tensor([[1., 1., 1.],
            [1., 1., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ones.html
    """
    return _constant(_filled("ones", size, 1, dtype, device, requires_grad))


@composite(**_FILL_SAMPLES)
def empty(
    *size: int | Sequence[int], dtype: dtype | None = None, layout: layout | None = None, device: Device = None, requires_grad: bool = False, pin_memory: bool | None = False, memory_format: memory_format | None = None, names: Any = None
) -> Tensor:  # fmt: skip
    """A tensor whose content is not promised (zeros here, so that programs are deterministic).

    >>> import flambeau as torch
    >>> torch.empty(2, 3).shape
    torch.Size([2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty.html
    """
    result = _filled("empty", size, 0, dtype, device, requires_grad)
    return result.contiguous(memory_format=memory_format) if memory_format is not None else result


@composite(tensors="", method=False, out="dtype", samples=lambda make: [Sample((2, 3), 1.5), Sample((), 2), Sample((2,), True)])
def full(
    size: Sequence[int],
    fill_value: Number | complex,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
    names: Any = None,
) -> Tensor:
    """A tensor filled with ``fill_value``; its dtype follows the value where not given.

    Raises ``TypeError`` for a ``size`` that is no sequence of ints.

    >>> import flambeau as torch
    >>> torch.full((2, 2), 7)
    tensor([[7, 7],
            [7, 7]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.full.html
    """
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}")
    if isinstance(fill_value, dispatch.Tensor):
        dtype, fill_value = dtype or fill_value.dtype, fill_value.item()
    d = dtype or dispatch.result_type(fill_value)
    if dtype is None and d is dtypes.uint64:  # an integer is one of int64's unless said otherwise
        fitting(fill_value, dtypes.int64)
    shape = sizes_of((size,), "full")
    return made(shape, lambda: _full(shape, fill_value, d), d, device, requires_grad)


def _like(input, value, dtype, device, requires_grad, memory_format=None):
    d = dtype or input.dtype
    out = made(input._shape, lambda: _full(input._shape, value, d), d, place_of(input, device), False)
    if memory_format is not None and memory_format.name not in ("preserve_format", "contiguous_format"):
        out = out.contiguous(memory_format=memory_format)
    elif input._strides is not None and (memory_format is None or memory_format.name == "preserve_format"):
        out = out.laid_out_as(input)
    return out.requires_grad_() if requires_grad else out


_LIKE: dict[str, Any] = {"method": False, "samples": lambda make: [Sample(make(2, 3)), Sample(make(2, 3), dtype=dtypes.int64)]}


@composite(**_LIKE)
def zeros_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
    pin_memory: bool | None = False,
) -> Tensor:
    """Zeros of ``input``'s shape and dtype.

    >>> import flambeau as torch
    >>> torch.zeros_like(torch.tensor([[1, 2]]))
    tensor([[0, 0]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.zeros_like.html
    """
    return _constant(_like(input, 0, dtype, device, requires_grad, memory_format))


@composite(**_LIKE)
def ones_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
    pin_memory: bool | None = False,
) -> Tensor:
    """Ones of ``input``'s shape and dtype.

    >>> import flambeau as torch
    >>> torch.ones_like(torch.tensor([[1, 2]]), dtype=torch.float64)
    tensor([[1., 1.]], dtype=torch.float64)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ones_like.html
    """
    return _constant(_like(input, 1, dtype, device, requires_grad, memory_format))


@composite(**_LIKE)
def empty_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
    pin_memory: bool | None = False,
) -> Tensor:
    """A tensor of ``input``'s shape and dtype whose content is not promised.

    >>> import flambeau as torch
    >>> torch.empty_like(torch.ones(2, 3)).shape
    torch.Size([2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty_like.html
    """
    return _constant(_like(input, 0, dtype, device, requires_grad, memory_format))


@composite(method=False, samples=lambda make: [Sample(make(2, 3), 2.5)])
def full_like(
    input: Tensor,
    fill_value: Number | complex,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    memory_format: memory_format | None = None,
    pin_memory: bool | None = False,
) -> Tensor:
    """A tensor of ``input``'s shape and dtype filled with ``fill_value``.

    >>> import flambeau as torch
    >>> torch.full_like(torch.ones(3), 0.5)
    tensor([0.5000, 0.5000, 0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.full_like.html
    """
    value = fill_value.item() if isinstance(fill_value, dispatch.Tensor) else fill_value
    return _like(input, value, dtype, device, requires_grad, memory_format)


@composite(method=False, tensors="")
def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
):
    """A tensor of given shape and strides whose content is not promised.

    >>> import flambeau as torch
    >>> torch.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty_strided.html
    """
    size, stride = tuple(size), tuple(stride)
    extent = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    out = zeros(extent, dtype=dtype, device=device)
    out = dispatch.Tensor._from_storage(out._storage, out.dtype, size, stride, 0)
    return out.requires_grad_() if requires_grad else out


# --- methods: like this tensor, of another size --------------------------------------------------------------


@composite(name="Tensor.new_zeros", samples=lambda make: [Sample(make(1), (2, 3)), Sample(make(1), 2, 3)])
def new_zeros(
    input: Tensor,
    *size: int | Sequence[int],
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    layout: layout | None = None,
    pin_memory: bool | None = False,
) -> Tensor:
    """Zeros of ``input``'s dtype.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2]).new_zeros(3)
    tensor([0, 0, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.new_zeros.html
    """
    return _constant(_filled("new_zeros", size, 0, dtype or input.dtype, place_of(input, device), requires_grad))


@composite(name="Tensor.new_ones", samples=lambda make: [Sample(make(1), (2, 3))])
def new_ones(
    input: Tensor,
    *size: int | Sequence[int],
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    layout: layout | None = None,
    pin_memory: bool | None = False,
) -> Tensor:
    """Ones of ``input``'s dtype.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2]).new_ones(2, 2)
    tensor([[1, 1],
            [1, 1]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.new_ones.html
    """
    return _constant(_filled("new_ones", size, 1, dtype or input.dtype, place_of(input, device), requires_grad))


@composite(name="Tensor.new_empty")
def new_empty(
    input: Tensor,
    *size: int | Sequence[int],
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    layout: layout | None = None,
    pin_memory: bool | None = False,
):
    """A tensor of ``input``'s dtype whose content is not promised.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2]).new_empty(3).dtype
    torch.int64

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.new_empty.html
    """
    return _filled("new_empty", size, 0, dtype or input.dtype, place_of(input, device), requires_grad)


@composite(name="Tensor.new_full", samples=lambda make: [Sample(make(1), (2, 3), 7)])
def new_full(
    input: Tensor,
    size: Sequence[int],
    fill_value: Number | complex,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    layout: layout | None = None,
    pin_memory: bool | None = False,
) -> Tensor:
    """A tensor of ``input``'s dtype filled with ``fill_value``.

    >>> import flambeau as torch
    >>> torch.tensor([1.0, 2.0]).new_full((3,), 7)
    tensor([7., 7., 7.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.new_full.html
    """
    value = fill_value.item() if isinstance(fill_value, dispatch.Tensor) else fill_value
    return _filled("new_full", (size,), value, dtype or input.dtype, place_of(input, device), requires_grad)


@composite(name="Tensor.new_empty_strided")
def new_empty_strided(
    input: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    layout: layout | None = None,
    pin_memory: bool | None = False,
):
    """A tensor of ``input``'s dtype with given shape and strides.

    >>> import flambeau as torch
    >>> torch.ones(2).new_empty_strided((2, 3), (1, 2)).stride()
    (1, 2)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.new_empty_strided.html
    """
    if device is None and input._storage.is_meta:
        out = dispatch.valueless(tuple(size), dtype or input.dtype, tuple(stride), input._storage)
        return out.requires_grad_() if requires_grad else out
    return empty_strided(size, stride, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def _broadcast(*tensors):
    shape = broadcast(*[t._shape for t in tensors])
    return [t if t._shape == shape else t.expand(shape) for t in tensors]


@composite(method=False, samples=lambda make: [Sample(make(1, 3), make(2, 1))])
def broadcast_tensors(*tensors: Tensor | Sequence[Tensor]):
    """The tensors expanded to their common shape.

    >>> import flambeau as torch
    >>> a, b = torch.broadcast_tensors(torch.zeros(2, 1), torch.zeros(3))
    >>> a.shape, b.shape
    (torch.Size([2, 3]), torch.Size([2, 3]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.broadcast_tensors.html
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    return tuple(_broadcast(*tensors))


# --- fills ---------------------------------------------------------------------------------------------------


@op(
    overload=by_tensor(1),
    lower=lambda b, x, value, shape: b.cast(value, b.result),
    tensors="input value", inplace=True, method=False, fits=True,
    kernel=lambda x, value, shape: np.broadcast_to(np.asarray(value), shape),
    grad={"input": lambda g: g * 0, "value": lambda g: g.sum()},
    samples=lambda make: [Sample(make(2, 3), 1.5), Sample(make(2, 3), make())],
    errors=lambda make: [ErrorSample(RuntimeError, "fill_ only supports 0-dimension value tensor", make(2), make(2))],
)  # fmt: skip
def fill(input: Tensor, value: Tensor | Number | complex):
    """A tensor of ``input``'s shape and dtype filled with ``value``.

    Raises ``RuntimeError`` for a ``value`` with dims, ``TypeError`` for what is no number or tensor.

    >>> import flambeau as torch
    >>> torch.fill(torch.zeros(2), 3)
    tensor([3., 3.])

    Source: PyTorch's operator ``aten::fill``.
    """
    if isinstance(value, dispatch.Tensor) and value.dim():
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.dim()} dimensions.")
    if not isinstance(value, (dispatch.Tensor, int, float, complex, np.number, np.bool_)):
        raise TypeError(f"fill_(): argument 'value' must be Tensor or Number, not {type(value).__name__}")
    if not isinstance(value, dispatch.Tensor):
        value = fitting(value, input.dtype)
    taped = input if dispatch.grad_mode.enabled and input.requires_grad else None
    return input.shape, input.dtype, (taped, value), {"shape": tuple(input.shape)}


@composite(name="zero", inplace=True, method=False)
def zero(input: Tensor):
    """Zeros of ``input``'s shape.

    >>> import flambeau as torch
    >>> torch.ones(2).zero_()
    tensor([0., 0.])

    Source: PyTorch's operator ``aten::zero``.
    """
    return fill(input, 0)


@composite(name="Tensor.fill_diagonal_")
def fill_diagonal_(input: Tensor, fill_value: Number | complex, wrap: bool = False):
    """Writes ``fill_value`` on the main diagonal.

    Raises ``RuntimeError`` for fewer than 2 dims, and for more than 2 of unequal sizes.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3).fill_diagonal_(5)
    tensor([[5., 0., 0.],
            [0., 5., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.fill_diagonal_.html
    """
    if input.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if input.dim() > 2 and len(set(input.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    n = min(input.shape)
    steps = sum(input.stride())
    input.as_strided((n,), (steps,)).fill_(fill_value)
    if wrap and input.dim() == 2 and input.shape[0] > input.shape[1] + 1:
        step = input.shape[1] + 1
        left = -(-input.numel() // step) - n
        input.as_strided((left,), (steps,), input.storage_offset() + input.stride(0) * step).fill_(fill_value)
    return input


@composite(method=False, tensors="", samples=lambda make: [Sample(5), Sample(4, periodic=False)])
def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """The Hann window :math:`\\frac12 (1 - \\cos(2 \\pi n / N))`.

    >>> import flambeau as torch
    >>> torch.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hann_window.html
    """
    return _cosine_window(window_length, periodic, 0.5, 0.5, dtype, device, requires_grad)


@composite(method=False, tensors="", samples=lambda make: [Sample(5), Sample(4, periodic=False)])
def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """The Hamming window :math:`\\alpha - \\beta \\cos(2 \\pi n / N)`.

    >>> import flambeau as torch
    >>> torch.hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hamming_window.html
    """
    return _cosine_window(window_length, periodic, alpha, beta, dtype, device, requires_grad)


def _cosine_window(n, periodic, alpha, beta, dtype, device, requires_grad):
    d = dtype or dtypes.get_default_dtype()
    if n == 1:
        return finish(np.ones(1, d.np), d, device, requires_grad)
    period = n if periodic else n - 1
    values = alpha - beta * np.cos(2 * np.pi * np.arange(n) / period) if n else np.zeros(0)
    return finish(values.astype(d.np), d, device, requires_grad)
