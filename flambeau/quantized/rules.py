"""What ops do with quantized tensors.

Some only move elements: they move the integers. Some keep to the numbers that the same integers stand for, or have results between
fixed
limits: what they give for the numbers is quantized again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.core.results import ReturnType
from flambeau.quantized import arithmetic
from flambeau.quantized.tensor import QuantizedTensor, whole
from flambeau.tensor.tensor import Tensor

__all__ = ["apply"]

_MOVES = frozenset(
    "view Tensor.view reshape Tensor.reshape flatten unflatten t transpose permute squeeze unsqueeze Tensor.expand expand select narrow Tensor.narrow "
    "_slice slice clone contiguous Tensor.contiguous cat stack chunk split split_with_sizes unbind index_select masked_select _index Tensor.repeat repeat "
    "Tensor.unfold movedim swapaxes roll flip detach alias _alias _clone as_strided tensor_split expand_as Tensor.expand_as view_as Tensor.view_as "
    "max_pool1d max_pool2d max_pool3d nn.functional.max_pool1d nn.functional.max_pool2d nn.functional.max_pool3d sort topk max min aten.max aten.min aten.amax "
    "amax amin nn.functional.pixel_shuffle nn.functional.pixel_unshuffle nn.functional.channel_shuffle Tensor.cpu laid_out_as Tensor.laid_out_as".split()
)
"""Give some of the integers that they are given."""
_OF_NUMBERS = frozenset(
    "relu nn.functional.relu clamp clamp_min clamp_max nn.functional.hardtanh nn.functional.relu6 nn.functional.threshold nn.functional.leaky_relu mean "
    "nn.functional.avg_pool1d nn.functional.avg_pool2d nn.functional.avg_pool3d nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d "
    "nn.functional.adaptive_avg_pool3d nn.functional.interpolate nn.functional.upsample nn.functional.dropout "
    "threshold relu6 hardtanh leaky_relu adaptive_avg_pool1d avg_pool1d constant_pad_nd nn.functional.pad nn.functional.max_unpool2d".split()
)
"""Are computed of the numbers, and quantized as those were."""
_MEANS = frozenset(
    name for name in _OF_NUMBERS if name == "mean" or "avg_pool" in name or "interpolate" in name or "upsample" in name
)
"""What stands for a mean is the mean of the integers."""
_BETWEEN: dict[str, tuple[float, int, float, int]] = {
    # by op: the scale and zero point of its results without a sign, and those with one
    "sigmoid": (1 / 256, 0, 1 / 256, -128), "nn.functional.sigmoid": (1 / 256, 0, 1 / 256, -128),
    "nn.functional.hardsigmoid": (1 / 256, 0, 1 / 256, -128), "tanh": (2 / 256, 128, 2 / 256, 0), "nn.functional.tanh": (2 / 256, 128, 2 / 256, 0),
}  # fmt: skip
_COMPARED = frozenset("eq ne lt le gt ge equal allclose isclose".split())


def apply(function: Any, args: tuple, kwargs: dict) -> Any:
    """The result of an op one of whose arguments is quantized."""
    op = function.op
    name = op.name
    first = _first((args, kwargs))
    in_place = function.__name__.endswith("_") and function is not op.function
    if in_place or name in _WRITES:
        return _in_place(function, name, args, kwargs)
    if name in _MOVES:
        if first._axis is not None and name not in _OF_CHANNELS:
            raise NotImplementedError(f"{function.__name__} of a tensor that is quantized by channels: dequantize() it first")
        result = function(*_each(args, lambda q: _alike(q, first)._ints), **_each(kwargs, lambda q: _alike(q, first)._ints))
        return _quantized(result, first)
    if name in _COMPARED:
        return function(*_each(args, QuantizedTensor.dequantize), **_each(kwargs, QuantizedTensor.dequantize))
    if name in _OF_NUMBERS:
        return _of_numbers(function, first, args, kwargs)
    if name in _BETWEEN:
        fixed = _BETWEEN[name]
        scale, zero_point = fixed[:2] if first.dtype.name == "quint8" else fixed[2:]
        return arithmetic.of_numbers(function)(first, *args[1:], scale=scale, zero_point=int(zero_point), **kwargs)
    if name == "empty_like":
        return first.with_integers(flambeau.zeros_like(first._ints))
    if name == "Tensor.type":
        return first.type(*args[1:], **kwargs)
    if name.startswith("Tensor.") and name[7:] in ("to", "float", "double", "half", "type_as"):
        if any(
            a is first.dtype or isinstance(a, str) and a == "cpu" or type(a).__name__ == "device"
            for a in (*args[1:], *kwargs.values())
        ):
            return first
        raise RuntimeError(
            "Creation of quantized tensor requires quantized dtype like torch.quint8: call .dequantize() for the numbers"
        )
    raise NotImplementedError(
        f"Could not run 'aten::{function.__name__}' with arguments from the 'QuantizedCPU' backend: there is no such operation on integers that "
        "stand for numbers; call .dequantize() first, or use torch.ops.quantized or torch.ao.nn.quantized.QFunctional"
    )


def _of_numbers(function: Any, first: QuantizedTensor, args: tuple, kwargs: dict) -> Tensor:
    if function.op.name in _MEANS:
        mean = function(first._offsets(), *args[1:], **kwargs) + float(first.q_zero_point())
        return first.with_integers(mean.round().to(first._ints.dtype))
    given = _each((args, kwargs), arithmetic.numbers)
    return arithmetic.of_numbers(function)(first, *given[0][1:], scale=first.q_scale(), zero_point=first.q_zero_point(), **given[1])


_WRITES = frozenset(["_copy", "fill", "Tensor.copy_"])
_OF_CHANNELS = frozenset(["clone", "_clone", "contiguous", "Tensor.contiguous", "detach", "alias", "_alias", "Tensor.cpu"])


def _first(nest: Any) -> QuantizedTensor:
    found: list[QuantizedTensor] = []
    _each(nest, found.append)
    return found[0]


def _each(nest: Any, function: Callable) -> Any:
    """A nest of arguments with ``function(q)`` in place of each quantized tensor."""
    if isinstance(nest, QuantizedTensor):
        return function(nest)
    if type(nest) in (tuple, list):
        return type(nest)([_each(x, function) for x in nest])
    return {k: _each(x, function) for k, x in nest.items()} if type(nest) is dict else nest


def _alike(q: QuantizedTensor, first: QuantizedTensor) -> QuantizedTensor:
    """The numbers of ``q`` quantized as those of ``first`` are."""
    if q is first or q._axis is not None or (q._scale, q._zero, q.dtype) == (first._scale, first._zero, first.dtype):
        return q
    return first.quantized_alike(q.dequantize())


def _quantized(result: Any, like: QuantizedTensor) -> Any:
    """Integers that an op gave as quantized tensors; indices stay what they are."""
    if isinstance(result, Tensor):
        return like.with_integers(result) if result.dtype is like._ints.dtype else result
    if isinstance(result, ReturnType):
        return type(result)([_quantized(r, like) for r in result])
    return type(result)([_quantized(r, like) for r in result]) if isinstance(result, (tuple, list)) else result


def _in_place(function: Any, name: str, args: tuple, kwargs: dict) -> Any:
    """Writes quantized numbers where they belong."""
    q = args[0]
    if not isinstance(q, QuantizedTensor):
        raise RuntimeError(
            "Copying from quantized Tensor to non-quantized Tensor is not allowed, please use dequantize to get a float Tensor from a quantized Tensor"
        )
    if name in ("_copy", "Tensor.copy_", "copy") or function.__name__ == "copy_":
        source = args[1] if len(args) > 1 else kwargs["src"]
        ints = (
            _alike(source, q)._ints
            if isinstance(source, QuantizedTensor)
            else whole(source.float(), q.q_scale(), q.q_zero_point(), q.dtype)
        )
    else:
        op = function.op
        given = [a.dequantize() if isinstance(a, QuantizedTensor) else a for a in args]
        if name == "fill":
            numbers = flambeau.full(q.shape, float(args[1]))
        elif name in _OF_NUMBERS:
            numbers = op.function(*given, **kwargs)
        else:
            raise NotImplementedError(
                f"Could not run 'aten::{function.__name__}' with arguments from the 'QuantizedCPU' backend: call .dequantize() first"
            )
        ints = whole(numbers, q.q_scale(), q.q_zero_point(), q.dtype)
    q._ints.copy_(ints)
    return q
