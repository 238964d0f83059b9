"""The class of quantized tensors: integers, and what they stand for.

A quantized tensor is made of a plain one that holds the integers; its geometry, its memory and its views are that one's. What is
computed of it is computed of the integers or of the numbers that they stand for (:mod:`flambeau.quantized.rules`).
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

import flambeau
from flambeau.core import config, dtypes, qscheme
from flambeau.ops.quantization import along, inverse_of, whole_numbers
from flambeau.tensor.interception import Presence
from flambeau.tensor.printing import append, format_values
from flambeau.tensor.tensor import Tensor, disabled_torch_function

__all__ = ["INTEGERS", "QuantizedTensor", "limits", "per_channel", "per_tensor", "whole"]

INTEGERS: dict[dtypes.dtype, dtypes.dtype] = {dtypes.qint8: dtypes.int8, dtypes.quint8: dtypes.uint8, dtypes.qint32: dtypes.int32}
"""The dtypes of quantized tensors, and those of their integers."""
_NAMES = {"qint8": "QInt8", "quint8": "QUInt8", "qint32": "QInt32"}


def limits(dtype: Any) -> tuple[int, int]:
    """The least and the greatest integer of a quantized dtype."""
    if dtype not in INTEGERS:
        raise RuntimeError(f"Creation of quantized tensor requires quantized dtype like torch.quint8, but got {dtype}")
    info = np.iinfo(INTEGERS[dtype].np)
    return int(info.min), int(info.max)


class QuantizedTensor(Tensor):
    """A tensor of dtype ``torch.qint8``, ``torch.quint8`` or ``torch.qint32``."""

    __torch_function__ = disabled_torch_function  # calls come by _intercept
    _ints: Tensor
    _presence: Presence
    _scale: Any  # a number, or for each channel one, in a tensor
    _zero: Any
    _axis: int | None  # the dim of the channels
    is_quantized = property(lambda self: True)  # type: ignore[assignment]

    @classmethod
    def _intercept(cls, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        from flambeau.quantized.rules import apply

        return apply(function, args, kwargs)

    # --- what it is made of -----------------------------------------------------------------------------------

    def int_repr(self) -> Tensor:
        """The integers, as a copy."""
        return self._ints.clone()

    def qscheme(self) -> Any:
        """Whether scale and zero point are those of all elements or of each channel."""
        if self._axis is None:
            return qscheme.per_tensor_affine
        return qscheme.per_channel_affine_float_qparams if self._zero.is_floating_point() else qscheme.per_channel_affine

    def _need(self, channels: bool, name: str) -> None:
        if (self._axis is not None) != channels:
            wanted, got = ("PerChannelAffine", "PerTensorAffine") if channels else ("PerTensorAffine", "PerChannelAffine")
            raise RuntimeError(
                f"Expected quantizer->qscheme() == k{wanted} to be true, but got false: {name} of a tensor of k{got}"
            )

    def q_scale(self) -> float:
        self._need(False, "q_scale")
        return self._scale  # type: ignore[no-any-return]

    def q_zero_point(self) -> int:
        self._need(False, "q_zero_point")
        return self._zero  # type: ignore[no-any-return]

    def q_per_channel_scales(self) -> Tensor:
        self._need(True, "q_per_channel_scales")
        return self._scale  # type: ignore[no-any-return]

    def q_per_channel_zero_points(self) -> Tensor:
        self._need(True, "q_per_channel_zero_points")
        return self._zero  # type: ignore[no-any-return]

    def q_per_channel_axis(self) -> int:
        self._need(True, "q_per_channel_axis")
        return self._axis  # type: ignore[return-value]

    def dequantize(self) -> Tensor:
        """The numbers that the integers stand for, in float32."""
        return self._offsets() * (self._scale if self._axis is None else along(self._scale.float(), self._ints, self._axis))  # type: ignore[no-any-return]

    def _offsets(self) -> Tensor:
        """How far the integers are from the zero point, as float32."""
        ints = self._ints
        if self._axis is None:
            return ints.to(dtypes.int32).sub(self._zero).float()  # of 32 bits, it wraps around in PyTorch too
        zero = along(self._zero, ints, self._axis)
        if zero.is_floating_point():
            return ints.float() - zero
        return ints.long().sub(zero.long()).float()

    def with_integers(self, ints: Tensor) -> QuantizedTensor:
        """Other integers that stand for numbers in the same way."""
        return _make(ints, self._dtype, self._scale, self._zero, self._axis)

    def quantized_alike(self, x: Tensor) -> QuantizedTensor:
        """``x`` quantized in the same way."""
        return per_tensor(x, self.q_scale(), self.q_zero_point(), self._dtype)

    # --- as a tensor ------------------------------------------------------------------------------------------

    @property  # type: ignore[misc]
    def requires_grad(self) -> bool:  # type: ignore[override]
        return False

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if requires_grad:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        return self

    @property  # type: ignore[misc]
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    def detach(self) -> Tensor:
        return self.with_integers(self._ints.detach())

    def _alias(self, cls: type | None = None) -> Tensor:
        return self.with_integers(self._ints)

    def _array(self) -> NoReturn:
        raise TypeError(f"Got unsupported ScalarType {_NAMES[self._dtype.name]}: call .dequantize() or .int_repr() first")

    numpy = _array  # type: ignore[assignment]

    def tolist(self) -> NoReturn:
        raise RuntimeError("load_scalar: invalid type: call .dequantize() or .int_repr() first")

    def item(self) -> float:
        return self.dequantize().item()  # type: ignore[no-any-return]

    def __getitem__(self, key: Any) -> Tensor:
        if self._axis is None:
            return self.with_integers(self._ints[key])
        if isinstance(key, int) and self._axis == 0:
            return _make(self._ints[key], self._dtype, self._scale[key].item(), self._zero[key].item(), None)
        raise NotImplementedError(
            "Setting strides is possible only on uniformly quantized tensor: index a tensor of channels by one number"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        part = self[key]
        part.copy_(value if isinstance(value, Tensor) else flambeau.full(part.shape, float(value)))

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) not in memo:
            memo[id(self)] = self.with_integers(self._ints.clone())
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        array = self.dequantize()._array()
        suffixes = [f"size={tuple(self.shape)}", f"dtype={self._dtype}", f"quantization_scheme={self.qscheme()}"]
        if self._axis is None:
            suffixes += [f"scale={self._scale}", f"zero_point={self._zero}"]
        else:
            suffixes += [f"scale={self._scale!r}", f"zero_point={self._zero!r}", f"axis={self._axis}"]
        indent = len("tensor(")
        contents = tensor_contents or (format_values(array, indent) if array.size else "[]")
        return append(f"tensor({contents}", suffixes, indent) + ")"

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if config.pickled is not None:
            return config.pickled(self)
        return _make, (self._ints, self._dtype, self._scale, self._zero, self._axis)

    def type(self, dtype: Any = None, non_blocking: bool = False) -> str:  # type: ignore[override]
        if dtype is not None:
            raise RuntimeError("Creation of quantized tensor requires quantized dtype like torch.quint8")
        return f"torch.quantized.{_NAMES[self._dtype.name]}Tensor"


QuantizedTensor.__module__, QuantizedTensor.__name__, QuantizedTensor.__qualname__ = "torch", "Tensor", "Tensor"


def _make(ints: Tensor, dtype: Any, scale: Any, zero: Any, axis: int | None) -> QuantizedTensor:
    self = object.__new__(QuantizedTensor)
    self._ints, self._dtype, self._scale, self._zero = ints, dtype, scale, zero
    self._storage, self._shape, self._strides, self._offset = ints._storage, ints._shape, ints._strides, ints._offset
    self._presence = Presence()
    self._axis = axis
    return self


def whole(x: Tensor, scale: float, zero_point: int, dtype: Any) -> Tensor:
    """The integers of a float32 tensor, in their own dtype."""
    low, high = limits(dtype)
    if INTEGERS[dtype] is not dtypes.int32:
        return whole_numbers(x, inverse_of(scale), float(zero_point), low, high).to(INTEGERS[dtype])
    values = x.detach()._array() * np.float32(inverse_of(scale)) + np.float32(zero_point)
    return flambeau.from_numpy(_to_int32(values))


def _to_int32(values: np.ndarray) -> np.ndarray:
    """Rounded; what does not fit is cut off, and NaN becomes the least, as a conversion in C gives it."""
    wide = np.rint(values).astype(np.float64)
    return np.clip(np.where(np.isnan(wide), -(2.0**31), wide), -(2.0**31), 2.0**31 - 1).astype(np.int32)


def _check_zero_point(zero_point: int, low: int, high: int) -> None:
    name = "quantize_tensor_per_tensor_affine"
    if zero_point > high:
        raise RuntimeError(f"{name} zero_point {zero_point} is above upper bound.")
    if zero_point < low:
        raise RuntimeError(f"{name} zero_point {zero_point} is below lower bound.")


def per_tensor(x: Tensor, scale: float, zero_point: int, dtype: Any, integers: bool = False) -> QuantizedTensor:
    """``x`` quantized with one scale; ``integers``: it has the integers already."""
    if integers:
        return _make(x, dtype, float(scale), int(zero_point), None)
    _check_zero_point(zero_point, *limits(dtype))
    return _make(whole(x.detach(), scale, zero_point, dtype), dtype, float(scale), int(zero_point), None)


def per_channel(x: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: Any, integers: bool = False) -> QuantizedTensor:
    """``x`` quantized with a scale for each index along a dim; ``integers``: it has the integers already."""
    floating = zero_points.is_floating_point()
    kept, zeros = (scales.float(), zero_points.float()) if floating else (scales.double(), zero_points.long())
    if integers:
        return _make(x, dtype, kept, zeros, axis)
    low, high = limits(dtype)
    shape = [1] * x.dim()
    shape[axis] = -1
    inverse = np.float32(1) / scales.detach().float().numpy().reshape(shape)
    values = x.detach()._array() * inverse + zeros.float().numpy().reshape(shape)
    if INTEGERS[dtype] is dtypes.int32:
        ints = _to_int32(values)
    else:
        whole = np.rint(values)
        ints = np.clip(np.where(np.isnan(whole), np.float32(0), whole), low, high).astype(INTEGERS[dtype].np)
    return _make(flambeau.from_numpy(ints), dtype, kept, zeros, axis)
