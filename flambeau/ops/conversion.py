"""Copies, and the same values in another dtype, order of memory or place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import device as devices
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import warn
from flambeau.core.memory_format import channels_last, channels_last_3d, contiguous_format, preserve_format
from flambeau.core.memory_format import memory_format as memory_format_type
from flambeau.core.size import broadcast_shapes, memory_order, strides_in_order
from flambeau.ops import layouts
from flambeau.ops.documentation import docstring
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Device, Tensor


def _cast(x: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    if x.dtype.kind == "c" and not dtype.is_complex:
        x = x.real if dtype is not dtypes.bool else x != 0
    return dtypes.cast(x, dtype)


@op(
    lower=lambda b, x, dtype: b.cast(x, b.result),
    name="_to_dtype",
    method=False,
    kernel=_cast,
    grad={"input": lambda g: g},
    backward_name="ToCopyBackward0",
    samples=lambda make: [Sample(make(2, 3, requires_grad=False), dtypes.float32), Sample(make(2, 3), dtypes.complex128)],
)
def to_dtype(input: Tensor, dtype: dtype | None):
    """``input``'s values converted to ``dtype``: towards zero for integers."""
    return input.shape, dtype, (input,), {"dtype": dtype}


@op(
    lower=lambda b, x: x,
    name="_clone",
    method=False,
    kernel=lambda x: x.copy(),
    grad={"input": lambda g: g},
    backward_name="CloneBackward0",
    samples=lambda make: [Sample(make(2, 3)), Sample(make(3, 2).t()), Sample(make())],
)
def row_major(input: Tensor):
    """A row-major copy."""
    return input.shape, input.dtype, (input,), {}


def _cast_in_order(input, dtype: dtypes.dtype, order: tuple[int, ...] | None):
    """A copy in ``dtype`` whose dims lie in memory in ``order``."""
    if dtype is input.dtype:
        if order is None:
            return row_major(input)
        return dispatch.record_in_order(row_major.op, input, {}, dtype, order)
    if input.dtype.is_complex and dtype.kind in (dtypes.FLOATING, dtypes.INTEGRAL):
        warn("Casting complex values to real discards the imaginary part (Triggered internally at flambeau/ops/conversion.py.)")
    if order is None:
        return to_dtype(input, dtype)
    return dispatch.record_in_order(to_dtype.op, input, {"dtype": dtype}, dtype, order)


def _order(input, format: memory_format_type | None) -> tuple[int, ...] | None:
    """The order in memory of the dims of a copy of ``input``: that of the format, or by default ``input``'s own."""
    if format is not None and format.orders:
        return format.order(input.dim())
    if input._strides is None or format is not None and format.name == "contiguous_format":
        return None
    return memory_order(input.shape, [(input.shape, input.stride())])


def _format_of(input) -> memory_format_type:
    """The format that the strides look like; every other order counts as ``contiguous_format``."""
    if not layouts.is_channels_last(input.shape, input.stride()):
        return contiguous_format
    return channels_last if input.dim() == 4 else channels_last_3d


@composite(samples=lambda make: [Sample(make(2, 3)), Sample(make(3, 2).t())])
def clone(input: Tensor, *, memory_format: memory_format_type | None = None) -> Tensor:
    """A copy with memory of its own; gradients flow through it to ``input``.

    >>> import flambeau as torch
    >>> x = torch.ones(2)
    >>> y = x.clone()
    >>> x[0] = 5
    >>> y
    tensor([1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.clone.html
    """
    return _cast_in_order(input, input.dtype, _order(input, memory_format))


@composite(name="Tensor.contiguous", samples=lambda make: [Sample(make(3, 2).t()), Sample(make(2, 3))])
def contiguous(input: Tensor, memory_format: memory_format_type | None = None) -> Tensor:
    """``input`` itself where it is contiguous, else a contiguous copy.

    Raises ``RuntimeError`` for ``torch.preserve_format``.

    >>> import flambeau as torch
    >>> x = torch.zeros(2, 3).t()
    >>> x.is_contiguous(), x.contiguous().is_contiguous()
    (False, True)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.contiguous.html
    """
    if memory_format is preserve_format and not input.is_contiguous():
        raise RuntimeError(
            "preserve memory format is unsupported by the contiguous operator: ask for contiguous_format, or clone()"
        )
    if memory_format is not None and memory_format.orders:
        if memory_format.matches(input.shape, input.stride()):
            return input
        return _cast_in_order(input, input.dtype, memory_format.order(input.dim()))
    return input if input.is_contiguous() else row_major(input)


@composite(name="Tensor.laid_out_as", method=True)
def laid_out_as(input: Tensor, like: Any):
    """A copy of ``input`` with the order of dims in memory that ``like`` of the same shape has; PyTorch has no such method.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3).laid_out_as(torch.zeros(3, 2).t()).stride()
    (1, 2)

    Source: what PyTorch calls a memory format, https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch.memory_format
    """
    return _cast_in_order(input, input.dtype, memory_order(like.shape, [(like.shape, like.stride())]))


@composite(
    name="Tensor.to",
    samples=lambda make: [
        Sample(make(2, requires_grad=False), dtypes.float32),
        Sample(make(2), "cpu"),
        Sample(make(2, requires_grad=False), make(1, dtype=dtypes.float32)),
    ],
    errors=lambda make: [ErrorSample(AssertionError, "not compiled with CUDA", make(2), "cuda")],
)
def to(
    input: Tensor,
    *args: Any,
    dtype: dtype | None = None,
    device: Device = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: memory_format_type | None = None,
) -> Tensor:
    """``input`` with the given dtype and device: itself where it has them already (unless ``copy``).

    Called as ``to(dtype)``, ``to(device, dtype)`` or ``to(other)``.

    Raises ``TypeError`` for other arguments than these.

    >>> import flambeau as torch
    >>> torch.tensor([1.7, -1.7]).to(torch.int64)
    tensor([ 1, -1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.to.html
    """
    rest = []
    for a in args:
        if isinstance(a, (dtypes.dtype, type)):
            dtype = dtypes.as_dtype(a, "to")
        elif isinstance(a, dispatch.Tensor):
            device, dtype = a.device, a.dtype
        elif isinstance(a, (str, devices.device)):
            device = a
        elif isinstance(a, bool) or a is None:
            rest.append(bool(a))
        elif isinstance(a, int):
            device = a
        elif isinstance(a, memory_format_type):
            memory_format = a
        else:
            raise TypeError(
                "to() received an invalid combination of arguments - got "
                f"({type(a).__name__}), but expected a dtype, a device or a tensor"
            )
    if len(rest) > 1:
        copy = rest[1]
    if device is not None and devices.check(device) is not input.device:
        return _elsewhere(input, dtype or input.dtype, memory_format)
    if copy or dtype not in (None, input.dtype):
        return _cast_in_order(input, dtype or input.dtype, _order(input, memory_format))
    if memory_format in (None, preserve_format, _format_of(input)):
        return input
    return _cast_in_order(input, input.dtype, _order(input, memory_format))


def _elsewhere(input, dtype: dtypes.dtype, memory_format):
    """``input`` on the device ``meta``; no values come back from there."""
    like = None
    if input._storage.is_meta and not input.is_meta:  # one that stands for another tensor
        like = dispatch.valueless((), dtype)._storage
    elif input.is_meta:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    order = _order(input, memory_format)
    strides = None if order is None else strides_in_order(input.shape, order)
    result = dispatch.valueless(input.shape, dtype, strides, like)
    if dispatch.grad_mode.enabled:
        dispatch.attach(to_dtype.op, result, (input,), {"dtype": dtype})
    return result


def _conversion(name: str, dtype: dtypes.dtype) -> None:
    def convert(input: Tensor, memory_format: memory_format_type | None = None):
        return input.to(dtype, memory_format=memory_format)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = docstring(f"``input.to({dtype})``.", f"Tensor.{name}", f">>> torch.ones(2).{name}().dtype", str(dtype))
    composite(convert, name=f"Tensor.{name}")


for _name, _dtype in (
    dtypes.ALIASES | {"bool": dtypes.bool, "bfloat16": dtypes.bfloat16, "byte": dtypes.uint8, "char": dtypes.int8}
).items():
    _conversion(_name, _dtype)


@composite(name="Tensor.type")
def type_(input: Tensor, dtype: dtype | None = None, non_blocking: bool = False):
    """The name of the tensor's type, or the tensor converted to ``dtype`` (a dtype or a legacy name).

    Raises ``ValueError`` for a name that is no tensor type.

    >>> import flambeau as torch
    >>> torch.ones(2).type()
    'torch.FloatTensor'
    >>> torch.ones(2).type(torch.int32)
    tensor([1, 1], dtype=torch.int32)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.type.html
    """
    if dtype is None:
        return f"torch.{'meta.' if input.is_meta else ''}{scalar_name(input.dtype)}Tensor"
    if isinstance(dtype, str):
        names = {f"torch.{scalar_name(d)}Tensor": d for d in (*dtypes.ALL, *dtypes.STORED)}
        if dtype not in names:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = names[dtype]
    return input.to(getattr(dtype, "dtype", dtype))  # of a legacy type, such as torch.FloatTensor


@composite(name="Tensor.type_as")
def type_as(input: Tensor, other: Tensor):
    """``input.to(other.dtype)``.

    >>> import flambeau as torch
    >>> torch.ones(2).type_as(torch.tensor([1]))
    tensor([1, 1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.type_as.html
    """
    return input.to(other.dtype)


@composite(name="Tensor.to_dense")
def to_dense(input: Tensor, dtype: dtype | None = None, *, masked_grad: bool | None = None):
    """``input`` itself, or converted to ``dtype``: every tensor is dense.

    >>> import flambeau as torch
    >>> torch.ones(2).to_dense()
    tensor([1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.to_dense.html
    """
    return input if dtype is None else input.to(dtype)


@composite(name="Tensor.cpu")
def cpu(input: Tensor, memory_format: memory_format_type | None = None):
    """``input`` itself where it is on the CPU, and in that memory format.

    >>> import flambeau as torch
    >>> torch.ones(2).cpu().device
    device(type='cpu')

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cpu.html
    """
    return input.to(devices.CPU, memory_format=memory_format)


@composite(name="Tensor.cuda")
def cuda(input: Tensor, device: Device = None, non_blocking: bool = False, memory_format: memory_format_type | None = None):
    """Raises the error that PyTorch raises on a machine without CUDA.

    >>> import flambeau as torch
    >>> torch.ones(2).cuda()
    Traceback (most recent call last):
        ...
    AssertionError: Torch not compiled with CUDA enabled...

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cuda.html
    """
    device = devices.check("cuda" if device is None else device)
    raise RuntimeError(f"Invalid device, must be cuda device, got {device}")


@op(
    lower=lambda b, x, src, shape, dtype: b.cast(src, b.result),
    name="_copy",
    method=False,
    tensors="input src",
    kernel=lambda x, src, shape, dtype: np.broadcast_to(_cast(src, dtype), shape).copy(),
    grad={"src": lambda g: g},
    backward_name="CopyBackwards",
)
def _copy(input: Tensor, src: Tensor):
    """``src`` broadcast to ``input``'s shape and converted to its dtype."""
    return input.shape, input.dtype, (None, src), {"shape": tuple(input.shape), "dtype": input.dtype}


@composite(
    name="Tensor.copy_",
    errors=lambda make: [ErrorSample(RuntimeError, "doesn't match|must match", make(2), make(3))],
)
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False):
    """Writes ``src``'s values into ``input``, broadcast and converted.

    >>> import flambeau as torch
    >>> torch.zeros(2, 2).copy_(torch.tensor([1, 2]))
    tensor([[1., 2.],
            [1., 2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.copy_.html
    """
    if not isinstance(src, dispatch.Tensor):
        src = dispatch.wrap(np.asarray(src), None).to(input)
    if broadcast_shapes(input.shape, src.shape) != input.shape:
        src.expand(input.shape)  # raises
    if src._storage is input._storage:
        dispatch.refuse_overlap(copy_.op, input, (src,))
    if dispatch.put(input, src):
        return input
    return dispatch.assign(input, _copy(input, src))
