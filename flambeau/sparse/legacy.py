"""Sparse tensors by the names of types, as before PyTorch 0.4: ``torch.sparse.FloatTensor(indices, values, size)``."""

from __future__ import annotations

from typing import Any

from flambeau.core import dtypes
from flambeau.core.memory_format import sparse_coo
from flambeau.core.size import Size
from flambeau.sparse.creation import sparse_coo_tensor
from flambeau.sparse.rules import RULES
from flambeau.sparse.tensor import SparseTensor
from flambeau.tensor.tensor import Tensor


def _legacy_type(dtype: dtypes.dtype) -> Any:
    """A type whose calls make tensors of coordinates; ``isinstance`` asks for the dtype."""

    class Meta(type):
        def __instancecheck__(cls, x: Any) -> bool:
            return isinstance(x, SparseTensor) and x._kind is sparse_coo and x.dtype is dtype

        def __call__(cls, *args: Any, device: Any = None) -> Tensor:
            if all(isinstance(n, int) for n in args):
                return sparse_coo_tensor(args or (0,), dtype=dtype, device=device)
            if len(args) == 1 and isinstance(args[0], Size):
                return sparse_coo_tensor(args[0], dtype=dtype, device=device)
            if len(args) == 1 and isinstance(args[0], (tuple, list)):
                raise TypeError("torch.sparse.SparseTensor(sequence) only accepts sizes.  Please use torch.sparse_coo_tensor()")
            if len(args) not in (2, 3) or not all(isinstance(x, Tensor) for x in args[:2]):
                words = ", ".join(type(x).__name__ for x in args)
                raise TypeError(f"new() received an invalid combination of arguments - got ({words}); use torch.sparse_coo_tensor")
            if args[0].dtype is not dtypes.int64:
                raise RuntimeError(f"expected scalar type Long but found {dtypes.scalar_name(args[0].dtype)}")
            return sparse_coo_tensor(*args, device=device)

    name = dtypes.scalar_name(dtype) + "Tensor"
    return Meta(name, (), {"dtype": dtype, "__module__": "torch.sparse", "__doc__": f"A sparse tensor of dtype {dtype}."})


FloatTensor, DoubleTensor = _legacy_type(dtypes.float32), _legacy_type(dtypes.float64)
HalfTensor, BFloat16Tensor = _legacy_type(dtypes.float16), _legacy_type(dtypes.bfloat16)
LongTensor, IntTensor, ShortTensor = _legacy_type(dtypes.int64), _legacy_type(dtypes.int32), _legacy_type(dtypes.int16)
CharTensor, ByteTensor = _legacy_type(dtypes.int8), _legacy_type(dtypes.uint8)


def _type(input: SparseTensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the tensor's type, or the tensor converted to ``dtype`` (a dtype, a type, or the name of one)."""
    if dtype is None:
        if input._kind is not sparse_coo:
            raise RuntimeError("Unimplemented backend SparseCsrCPU")
        return f"torch.sparse.{dtypes.scalar_name(input.dtype)}Tensor"
    if isinstance(dtype, str):
        names = {f"torch.sparse.{dtypes.scalar_name(d)}Tensor": d for d in dtypes.ALL}
        if dtype not in names:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = names[dtype]
    return input.to(getattr(dtype, "dtype", dtype))


RULES["Tensor.type"] = _type
