"""Products of numbers with weights of integers of 8 or 4 bits, whose scales are applied to the sums or to the weight.

Source: the kernels that torchao and its like call, ``torch.ops.aten._weight_int8pack_mm`` and ``_weight_int4pack_mm_for_cpu``.
"""

from __future__ import annotations

import flambeau
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.ops.quantization import FLOAT32_EXACT
from flambeau.tensor.tensor import Tensor

__all__ = ["_convert_weight_to_int4pack_for_cpu", "_int_mm", "_weight_int4pack_mm_for_cpu", "_weight_int8pack_mm"]

_BLOCK = 64  # rows of a weight that are packed together


def _int_mm(self: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of two int8 matrices, in int32.

    >>> import flambeau as torch
    >>> torch._int_mm(torch.full((2, 3), 100, dtype=torch.int8), torch.full((3, 1), 100, dtype=torch.int8))
    tensor([[30000],
            [30000]], dtype=torch.int32)
    """
    for name, t in (("self", self), ("mat2", mat2)):
        if t.dim() != 2:
            raise RuntimeError(f"int_mm_out_cpu: Expected {name} to be of dimension 2 but got {t.dim()}")
        if t.dtype is not dtypes.int8:
            raise RuntimeError(f"int_mm_out_cpu: Expected {name} dtype to be of type int8 but got {t.dtype.name}")
    if self.shape[1] != mat2.shape[0]:
        raise RuntimeError(f"int_mm_out_cpu: self.size(1) needs to match mat2.size(0) but got {self.shape[1]} and {mat2.shape[0]}")
    exact = dtypes.float32 if self.shape[1] * 128 * 128 < FLOAT32_EXACT else dtypes.float64
    product = (self.to(exact) @ mat2.to(exact)).to(dtypes.int32)
    return product if out is None else out.copy_(product)  # type: ignore[no-any-return]


def _check_numbers(x: Tensor, name: str) -> None:
    if x.dtype not in (dtypes.float32, dtypes.float16, dtypes.bfloat16):
        raise RuntimeError(f"{name} : expect A to be either 32-bit or 16-bit float tensor.")


def _weight_int8pack_mm(self: Tensor, mat2: Tensor, scales: Tensor) -> Tensor:
    """``(self @ mat2.T) * scales`` with an int8 weight (outputs, inputs), one scale for each output; computed in float32."""
    name = "_weight_int8pack_mm_cpu"
    _check_numbers(self, name)
    if mat2.dtype is not dtypes.int8:
        raise RuntimeError(f"{name} : expect B to be int8 tensor.")
    if mat2.shape[1] != self.shape[1]:
        raise RuntimeError(f"{name} : expect B.size(1) == {self.shape[1]}")
    if scales.dim() != 1 or scales.shape[0] != mat2.shape[0]:
        raise RuntimeError(f"{name} : expect scales to be 1d tensor with size {mat2.shape[0]}")
    return ((self.float() @ mat2.float().t()) * scales.float()).to(self.dtype)  # type: ignore[no-any-return]


def _convert_weight_to_int4pack_for_cpu(self: Tensor, innerKTiles: int) -> Tensor:
    """An int32 weight (outputs, inputs) of numbers from 0 to 15 as bytes with two each, as PyTorch packs it on CPUs with AVX-512.

    In a block of 64 outputs a byte has an output and the one 32 further on, in a smaller one two that are next to each other.
    """
    name = "_convert_weight_to_int4pack_cpu"
    if self.dim() != 2:
        raise RuntimeError(f"{name} : expect weight to be 2D tensor.")
    if self.dtype is not dtypes.int32:
        raise RuntimeError(f"{name} : expect weight to be kInt.")
    outputs, inputs = self.shape
    if outputs % 16 or inputs % 2:
        raise RuntimeError(f"{name} : expect N to be dividable by 16 and K to be dividable by 2, got {outputs} and {inputs}")
    parts = []
    for block in self.split(_BLOCK):
        low, high = (block[:32], block[32:]) if len(block) == _BLOCK else (block[0::2], block[1::2])
        parts.append((low | (high << 4)).t().reshape(-1))
    return flambeau.cat(parts).to(dtypes.uint8).reshape(outputs, inputs // 2)  # type: ignore[no-any-return]


def _unpacked(packed: Tensor) -> Tensor:
    """The numbers from 0 to 15, as float32 (outputs, inputs)."""
    outputs, inputs = packed.shape[0], packed.shape[1] * 2
    rows = []
    for block in packed.split(_BLOCK):
        n = len(block)
        flat = block.reshape(inputs, n // 2)
        low, high = (flat & 15).t(), (flat >> 4).t()
        rows.append(flambeau.cat([low, high]) if n == _BLOCK else flambeau.stack([low, high], 1).reshape(n, inputs))
    return flambeau.cat(rows).float().reshape(outputs, inputs)  # type: ignore[no-any-return]


def _weight_int4pack_mm_for_cpu(self: Tensor, mat2: Tensor, qGroupSize: int, qScaleAndZeros: Tensor) -> Tensor:
    """``self @ w.T`` with a packed weight; ``w = (q - 8) * scale + zero``, where groups of ``qGroupSize`` inputs have their own.

    ``qScaleAndZeros`` is of shape (groups, outputs, 2).
    """
    name = "_weight_int4pack_mm_cpu"
    _check_numbers(self, name)
    outputs, inputs = mat2.shape[0], mat2.shape[1] * 2
    if mat2.dtype is not dtypes.uint8 or self.shape[1] != inputs:
        raise RuntimeError(
            f"{name} : expect B to be packed uint8 for {self.shape[1]} inputs, got {scalar_name(mat2.dtype)} for {inputs}"
        )
    if qGroupSize not in (32, 64, 128, 256):
        raise RuntimeError(f"{name}: expect qGroupSize to be 32, 64, 128 or 256, got {qGroupSize}")
    if tuple(qScaleAndZeros.shape) != (inputs // qGroupSize, outputs, 2):
        raise RuntimeError(f"{name}: expect qScaleAndZeros to be 3d tensor with sizes [{inputs // qGroupSize}, {outputs}, 2]")
    scale, zero = qScaleAndZeros.float().permute(2, 1, 0).unsqueeze(3)  # each (outputs, groups, 1)
    groups = (_unpacked(mat2) - 8).reshape(outputs, -1, qGroupSize)
    weight = (groups * scale + zero).reshape(outputs, inputs)
    return (self.float() @ weight.t()).to(self.dtype)  # type: ignore[no-any-return]
