"""What products of matrices and vectors share: checks of shapes and dtypes, integers, scaled sums."""

from __future__ import annotations

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import BOOLEAN
from flambeau.ops.refusals import refuse

# --- what products share -------------------------------------------------------------------------------------

_C_NAMES = {
    "bool": "bool", "uint8": "unsigned char", "int8": "signed char", "int16": "short int", "int32": "int",
    "int64": "long int", "uint16": "short unsigned int", "uint32": "unsigned int", "uint64": "long unsigned int",
    "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip


def conjugate_transpose(x):
    """``x`` with its last two dims swapped, conjugated where it is complex: what gradients multiply with."""
    x = x.t() if len(x._shape) == 2 else x.transpose(-2, -1)
    return x.conj_physical() if x._dtype.is_complex else x


def _conj(x):
    return x.conj_physical() if x.dtype.is_complex else x


def sizes(x) -> str:
    return "x".join(map(str, x.shape))


def require_tensors(name: str, **operands) -> None:
    for position, (argument, x) in enumerate(operands.items(), 1):
        if not isinstance(x, dispatch.Tensor):
            raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be Tensor, not {type(x).__name__}")


def fix(a, b, first: str, second: str) -> str:
    """How to make the dtypes of two operands agree: the lower category gives way, else data to weights, else ``second``."""
    gives_way = a.dtype.kind < b.dtype.kind or a.dtype.kind == b.dtype.kind and b.requires_grad and not a.requires_grad
    name, target = (first, b.dtype) if gives_way else (second, a.dtype)
    return f"Convert one, for example {name}.to({target})."


def mm_shape(a, b, name: str = "mm", first: str = "self") -> tuple[int, int]:
    """The shape of the product of two matrices, which may be multiplied."""
    if not (isinstance(a, dispatch.Tensor) and isinstance(b, dispatch.Tensor)):
        require_tensors(name, **{first: a, "mat2": b})
    m, n = a._shape, b._shape
    if len(m) != 2 or len(n) != 2:
        raise RuntimeError(
            f"{'mat2' if len(m) == 2 else first} must be a matrix: {name} takes two 2-D tensors, got shapes {list(m)} and "
            f"{list(n)}. Use matmul (@) for vectors and batches."
        )
    if m[1] != n[0]:
        raise RuntimeError(_cannot_multiply(a, b))
    if a._dtype is dtypes.bool:
        refuse("addmm_impl_cpu_", a, kinds=(BOOLEAN,))
    return m[0], n[1]


def _cannot_multiply(a, b) -> str:
    text = (
        f"mat1 and mat2 shapes cannot be multiplied ({sizes(a)} and {sizes(b)}): mat1 has {a.shape[1]} columns, "
        f"so mat2 must have {a.shape[1]} rows, but it has {b.shape[0]}"
    )
    if a.shape[1] == b.shape[1]:
        text += "; perhaps mat2 should be transposed (mat2.t())"
    return text


def require_expands(input, shape: tuple[int, ...]) -> None:
    if input._shape != shape and input._shape != shape[-1:]:
        input.expand(shape)  # raises where it does not broadcast


def scaled_sum(product: np.ndarray, input, beta, alpha) -> np.ndarray:
    """``beta * input + alpha * product``; ``input`` is not read where ``beta`` is 0, so its NaNs do not show."""
    number = product.dtype.type  # integers truncate beta and alpha, as PyTorch does
    if alpha != 1:
        product = product * number(alpha)
    beta = number(beta)
    if beta == 0:
        return product
    return np.add(product, input if beta == 1 else input * beta)


def times(t, number):
    return t if number == 1 else t * number


def input_gradient(g, beta):
    return times(g, beta.conjugate())


def widened(e, *inputs, **attrs):
    """A product in half precision is computed in float32, and rounded once; one of short integers wraps around when it is done."""
    return e.widened(*inputs, **attrs)


_WORTH = 1 << 14
"""Multiplications of integers from which on it pays to look how large they are."""


def array_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``. NumPy multiplies integers one by one; if no sum of theirs can be inexact in float64, that is 50 times as fast."""
    if a.dtype.kind not in "iu" or b.ndim < 2 or a.size * b.shape[-1] < _WORTH:
        return np.matmul(a, b)
    largest = [max(abs(int(x.min())), abs(int(x.max()))) for x in (a, b)]
    if largest[0] * largest[1] * a.shape[-1] >= 1 << 53:
        return np.matmul(a, b)
    # Through int64, so that what is too large for the dtype wraps around.
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64).astype(a.dtype)
