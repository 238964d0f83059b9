"""Products of matrices, vectors and batches of them.

The kernels are NumPy's matrix products: floating and complex ones are BLAS calls, which read transposed views in
place, so that a gradient such as ``g @ mat2.t()`` copies nothing.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import BOOLEAN, FLOATING, scalar_name
from flambeau.core.scalars import factor
from flambeau.core.size import broadcast_shapes
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

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
            raise TypeError(
                f"{name}(): argument '{argument}' (position {position}) must be Tensor, not {type(x).__name__}"
            )


def _fix(a, b, first: str, second: str) -> str:
    """How to make the dtypes of two operands agree: the lower category gives way, else data to weights, else ``second``."""
    gives_way = a.dtype.kind < b.dtype.kind or a.dtype.kind == b.dtype.kind and b.requires_grad and not a.requires_grad
    name, target = (first, b.dtype) if gives_way else (second, a.dtype)
    return f"Convert one, for example {name}.to({target})."


def _mm_shape(a, b, name: str = "mm", first: str = "self") -> tuple[int, int]:
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


def _require_expands(input, shape: tuple[int, ...]) -> None:
    if input._shape != shape and input._shape != shape[-1:]:
        input.expand(shape)  # raises where it does not broadcast


def _scaled_sum(product: np.ndarray, input, beta, alpha) -> np.ndarray:
    """``beta * input + alpha * product``; ``input`` is not read where ``beta`` is 0, so its NaNs do not show."""
    number = product.dtype.type  # integers truncate beta and alpha, as PyTorch does
    if alpha != 1:
        product = product * number(alpha)
    beta = number(beta)
    if beta == 0:
        return product
    return np.add(product, input if beta == 1 else input * beta)


def _times(t, number):
    return t if number == 1 else t * number


def _input_gradient(g, beta):
    return _times(g, beta.conjugate())


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


# --- matrix @ matrix -----------------------------------------------------------------------------------------


@op(
    kernel=array_product,
    expand=widened,
    tensors="input mat2",
    out="same",
    grad={
        "input": lambda g, mat2: g.mm(conjugate_transpose(mat2)),
        "mat2": lambda g, input: conjugate_transpose(input).mm(g),
    },
    samples=lambda make: [
        Sample(make(2, 3), make(3, 4)),
        Sample(make(3, 2).t(), make(4, 3).t()),
        Sample(make(2, 0), make(0, 3)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)", make(2, 3), make(4, 5)),
        ErrorSample(RuntimeError, "mat2 must be a matrix", make(2, 3), make(3)),
    ],
)
def mm(input: Tensor, mat2: Tensor):
    r"""The matrix product of an ``(n, m)`` and an ``(m, p)`` matrix: :math:`C_{ik} = \sum_j A_{ij} B_{jk}`.

    >>> import flambeau as torch
    >>> torch.mm(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))
    tensor([[11.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mm.html
    """
    shape = _mm_shape(input, mat2)
    if input._dtype is not mat2._dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_C_NAMES[input.dtype.name]} != "
            f"{_C_NAMES[mat2.dtype.name]} (input is {input.dtype} and mat2 is {mat2.dtype}). "
            + _fix(input, mat2, "input", "mat2")
        )
    return shape, input._dtype, (input, mat2), {}


@op(
    static=True,
    kernel=lambda input, mat1, mat2, beta, alpha: _scaled_sum(array_product(mat1, mat2), input, beta, alpha),
    expand=widened,
    tensors="input mat1 mat2 beta alpha",
    out="same",
    inplace=True,
    grad={
        "input": _input_gradient,
        "mat1": lambda g, mat2, alpha: _times(g.mm(conjugate_transpose(mat2)), alpha.conjugate()),
        "mat2": lambda g, mat1, alpha: _times(conjugate_transpose(mat1).mm(g), alpha.conjugate()),
    },
    samples=lambda make: [
        Sample(make(2, 4), make(2, 3), make(3, 4)),
        Sample(make(4), make(2, 3), make(4, 3).t(), beta=0.5, alpha=2.0),
        Sample(make(), make(2, 3), make(3, 4), beta=0),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "mat1 and mat2 shapes cannot be multiplied", make(5), make(2, 3), make(4, 5)),
        ErrorSample(RuntimeError, "The expanded size of the tensor", make(3), make(2, 3), make(3, 5)),
    ],
)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1):
    r"""A matrix product added to a tensor: :math:`\beta\,\text{input} + \alpha\,(\text{mat1} @ \text{mat2})`.

    ``input`` broadcasts to the product's shape; where ``beta`` is 0 it is ignored, NaN included.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addmm.html
    """
    shape = _mm_shape(mat1, mat2, "addmm", "mat1")
    if not isinstance(input, dispatch.Tensor):
        require_tensors("addmm", input=input)
    for name, x in (("mat1", mat1), ("self", input)):
        if x._dtype is not mat2._dtype:
            raise RuntimeError(
                f"{name} and mat2 must have the same dtype, but got {scalar_name(x.dtype)} and {scalar_name(mat2.dtype)}. "
                + _fix(x, mat2, "input" if name == "self" else name, "mat2")
            )
    _require_expands(input, shape)
    return shape, input._dtype, (input, mat1, mat2, factor(beta, input._dtype), factor(alpha, input._dtype)), {}


# --- batches of matrices -------------------------------------------------------------------------------------


def _require_bmm(a, b, names: tuple[str, str] = ("batch1", "batch2")) -> None:
    for name, x in zip(names, (a, b), strict=True):
        if x.dim() != 3:
            raise RuntimeError(f"{name} must be a 3D tensor, got shapes {list(a.shape)} and {list(b.shape)}")
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise RuntimeError(_wrong_batch(a, b))
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(a.dtype)} but found {scalar_name(b.dtype)}: {names[0]} is {a.dtype} and "
            f"{names[1]} is {b.dtype}. {_fix(a, b, *names)}"
        )
    refuse("bmm", a, kinds=(BOOLEAN,))


def _wrong_batch(a, b) -> str:
    expected, got = [*a.shape[:-2], a.shape[-1]], list(b.shape[:-1])
    return (
        f"Expected size for first two dimensions of batch2 tensor to be: {expected} but got: {got}. "
        f"batch1 has shape {list(a.shape)} and batch2 has shape {list(b.shape)}: batch1's columns ({a.shape[-1]}) must "
        f"equal batch2's rows ({b.shape[-2]})"
    )


@op(
    kernel=array_product,
    expand=widened,
    tensors="input mat2",
    out="same",
    grad={
        "input": lambda g, mat2: g.bmm(conjugate_transpose(mat2)),
        "mat2": lambda g, input: conjugate_transpose(input).bmm(g),
    },
    samples=lambda make: [
        Sample(make(2, 2, 3), make(2, 3, 2)),
        Sample(make(2, 3, 2).mT, make(2, 2, 3).mT),
        Sample(make(0, 2, 3), make(0, 3, 2)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "batch1 must be a 3D tensor", make(2, 3), make(2, 3, 4)),
        ErrorSample(RuntimeError, "Expected size for first two dimensions of batch2", make(2, 3, 4), make(2, 3, 5)),
    ],
)
def bmm(input: Tensor, mat2: Tensor):
    r"""The matrix products of two batches: ``(b, n, m)`` and ``(b, m, p)`` give ``(b, n, p)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bmm.html
    """
    require_tensors("bmm", input=input, mat2=mat2)
    _require_bmm(input, mat2)
    return (*input.shape[:2], mat2.shape[2]), input.dtype, (input, mat2), {}


@op(
    kernel=array_product,
    expand=widened,
    name="aten.matmul",
    backward_name="BmmBackward0",
    tensors="input other",
    grad={
        "input": lambda g, other: g.matmul(conjugate_transpose(other)),
        "other": lambda g, input: conjugate_transpose(input).matmul(g),
    },
)
def _broadcast_matmul(input: Tensor, other: Tensor):
    """The matrix products of tensors of at least two dims, whose leading dims broadcast: a case of ``matmul``."""
    batch = broadcast_shapes(input.shape[:-2], other.shape[:-2])
    if input.shape[-1] != other.shape[-2]:
        raise RuntimeError(_wrong_batch(input, other))
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(input.dtype)} but found {scalar_name(other.dtype)}: "
            + _fix(input, other, "input", "other")
        )
    refuse("bmm", input, kinds=(BOOLEAN,))
    return (*batch, input.shape[-2], other.shape[-1]), input.dtype, (input, other), {}


@composite(
    out="same",
    aliases=("linalg.matmul",),
    samples=lambda make: [
        Sample(make(3), make(3)),
        Sample(make(2, 3), make(3)),
        Sample(make(3), make(3, 2)),
        Sample(make(2, 3), make(3, 2)),
        Sample(make(2, 2, 3), make(3, 2)),
        Sample(make(2, 2, 3), make(3)),
        Sample(make(3), make(2, 3, 2)),
        Sample(make(2, 3), make(2, 3, 2)),
        Sample(make(2, 1, 2, 3), make(3, 3, 2)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "both arguments to matmul need to be at least 1D", make(), make(3)),
        ErrorSample(
            RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(64x100 and 64x10\)", make(64, 100), make(64, 10)
        ),
        ErrorSample(RuntimeError, r"size mismatch, got input \(2\), mat \(2x3\), vec \(4\)", make(2, 3), make(4)),
        ErrorSample(RuntimeError, "Expected size for first two dimensions of batch2", make(2, 2, 3), make(2, 4, 5)),
    ],
)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product ``input @ other``.

    Two vectors give their dot product; a vector before a matrix counts as a row and after it as a column, and that
    dim is dropped again; with more dims, the last two are matrices and the others a batch that broadcasts.

    >>> import flambeau as torch
    >>> (torch.ones(5, 2, 3) @ torch.ones(3, 4)).shape
    torch.Size([5, 2, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.matmul.html
    """
    if not (isinstance(input, dispatch.Tensor) and isinstance(other, dispatch.Tensor)):
        require_tensors("matmul", input=input, other=other)
    m, n = len(input._shape), len(other._shape)
    if m == 2 and n == 2:
        return mm(input, other)
    if m == 0 or n == 0:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {m}D and {n}D. Use * to multiply by a number."
        )
    if n == 1:
        if m == 1:
            return dot(input, other)
        if m == 2:
            return mv(input, other)
        return mv(as_rows(input), other).reshape(input.shape[:-1])
    if m == 1:
        return matmul(input.unsqueeze(0), other).squeeze(-2)
    if n == 2:
        return mm(as_rows(input), other).reshape(input.shape[:-1] + other.shape[1:])
    return _broadcast_matmul(input, other)


def as_rows(x):
    """``x`` as a matrix, whose rows are its last dim."""
    return x.reshape((prod(x.shape[:-1]), x.shape[-1]))


def _batch_samples(make):
    return [
        Sample(make(2, 2, 2), make(2, 2, 3), make(2, 3, 2)),
        Sample(make(2), make(2, 2, 3), make(2, 3, 2), beta=0.5, alpha=2.0),
    ]


@op(
    static=True,
    kernel=lambda input, batch1, batch2, beta, alpha: _scaled_sum(array_product(batch1, batch2), input, beta, alpha),
    tensors="input batch1 batch2 beta alpha",
    out="same",
    inplace=True,
    grad={
        "input": _input_gradient,
        "batch1": lambda g, batch2, alpha: _times(g.bmm(conjugate_transpose(batch2)), alpha.conjugate()),
        "batch2": lambda g, batch1, alpha: _times(conjugate_transpose(batch1).bmm(g), alpha.conjugate()),
    },
    samples=_batch_samples,
    errors=lambda make: [
        ErrorSample(
            RuntimeError, "Expected size for first two dimensions of batch2", make(3), make(2, 3, 4), make(2, 3, 5)
        )
    ],
)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1):
    r"""A batch of matrix products added to a tensor: :math:`\beta\,\text{input}_i + \alpha\,(\text{batch1}_i @ \text{batch2}_i)`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.baddbmm.html
    """
    require_tensors("baddbmm", input=input, batch1=batch1, batch2=batch2)
    _require_bmm(batch1, batch2)
    _require_input_dtype(input, batch1)
    shape = (*batch1.shape[:2], batch2.shape[2])
    _require_expands(input, shape)
    return shape, input.dtype, (input, batch1, batch2, factor(beta, input._dtype), factor(alpha, input._dtype)), {}


def _require_input_dtype(input, other) -> None:
    if input.dtype is not other.dtype:
        raise RuntimeError(
            "Input dtypes must be the same, got: "
            f"input {_C_NAMES[input.dtype.name]}, batch1: {_C_NAMES[other.dtype.name]}, batch2: {_C_NAMES[other.dtype.name]}"
        )


@composite(
    out="same", inplace=True, samples=lambda make: [Sample(make(2, 2), make(2, 2, 3), make(2, 3, 2), beta=0.5, alpha=2.0)]
)
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1
) -> Tensor:
    r"""The sum of a batch of matrix products, added to a matrix.

    .. math:: \beta\,\text{input} + \alpha\sum_i \text{batch1}_i @ \text{batch2}_i

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addbmm.html
    """
    require_tensors("addbmm", input=input, batch1=batch1, batch2=batch2)
    _require_bmm(batch1, batch2)
    b, n, m = batch1.shape
    # One long product: the batch joins the dim that is summed over.
    left, right = batch1.transpose(0, 1).reshape((n, b * m)), batch2.reshape((b * m, batch2.shape[2]))
    return addmm(input, left, right, beta=beta, alpha=alpha)


# --- with vectors --------------------------------------------------------------------------------------------


def _mismatched_mv(input_size: int, mat, vec) -> str:
    return (
        f"size mismatch, got input ({input_size}), mat ({sizes(mat)}), vec ({vec.shape[0]}): the matrix has "
        f"{mat.shape[1]} columns, so the vector must have {mat.shape[1]} elements"
    )


def _require_mv(name: str, mat, vec, input_dims: int = 1) -> None:
    if mat.dim() != 2 or vec.dim() != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {input_dims}, {mat.dim()}, {vec.dim()}: {name} takes a matrix and a "
            f"vector, got shapes {list(mat.shape)} and {list(vec.shape)}"
        )
    if mat.shape[1] != vec.shape[0]:
        raise RuntimeError(_mismatched_mv(mat.shape[0], mat, vec))
    if mat.dtype is not vec.dtype:
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {scalar_name(vec.dtype)}, {scalar_name(mat.dtype)}, and "
            f"{scalar_name(vec.dtype)}. " + _fix(mat, vec, "mat", "vec")
        )
    refuse("addmv_impl_cpu", mat, kinds=(BOOLEAN,))


@op(
    kernel=array_product,
    expand=widened,
    tensors="input vec",
    out="same",
    grad={
        "input": lambda g, vec: g.outer(_conj(vec)),
        "vec": lambda g, input: conjugate_transpose(input).mv(g),
    },
    samples=lambda make: [Sample(make(2, 3), make(3)), Sample(make(3, 2).t(), make(3)), Sample(make(2, 0), make(0))],
    errors=lambda make: [ErrorSample(RuntimeError, "size mismatch, got input", make(2, 3), make(4))],
)
def mv(input: Tensor, vec: Tensor):
    r"""The product of an ``(n, m)`` matrix and an ``(m,)`` vector.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mv.html
    """
    require_tensors("mv", input=input, vec=vec)
    _require_mv("mv", input, vec)
    return (input.shape[0],), input.dtype, (input, vec), {}


@op(
    kernel=lambda input, mat, vec, beta, alpha: _scaled_sum(np.matmul(mat, vec), input, beta, alpha),
    tensors="input mat vec beta alpha",
    out="same",
    inplace=True,
    grad={
        "input": _input_gradient,
        "mat": lambda g, vec, alpha: _times(g.outer(_conj(vec)), alpha.conjugate()),
        "vec": lambda g, mat, alpha: _times(conjugate_transpose(mat).mv(g), alpha.conjugate()),
    },
    samples=lambda make: [
        Sample(make(2), make(2, 3), make(3)),
        Sample(make(), make(2, 3), make(3), beta=0.5, alpha=2.0),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "size mismatch, got input", make(2), make(2, 3), make(4))],
)
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1):
    r"""A matrix-vector product added to a vector: :math:`\beta\,\text{input} + \alpha\,(\text{mat} @ \text{vec})`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addmv.html
    """
    require_tensors("addmv", input=input, mat=mat, vec=vec)
    _require_mv("addmv", mat, vec, input.dim())
    _require_expands(input, (mat.shape[0],))
    return (mat.shape[0],), input.dtype, (input, mat, vec, factor(beta, input._dtype), factor(alpha, input._dtype)), {}


def _require_dot(a, b) -> None:
    if a.dim() != 1 or b.dim() != 1:
        raise RuntimeError(
            f"1D tensors expected, but got {a.dim()}D and {b.dim()}D tensors. Use matmul (@) for matrices."
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {scalar_name(a.dtype)} and {scalar_name(b.dtype)}. "
            + _fix(a, b, "input", "tensor")
        )
    if a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to have the same number of "
            f"elements, but got {a.shape[0]} and {b.shape[0]} elements respectively"
        )
    refuse("dot", a, kinds=(BOOLEAN,))


def _dot_errors(make):
    return [
        ErrorSample(RuntimeError, "1D tensors expected, but got 2D and 1D tensors", make(2, 3), make(3)),
        ErrorSample(RuntimeError, "inconsistent tensor size", make(2), make(3)),
    ]


@op(
    kernel=np.dot,
    tensors="input tensor",
    out="same",
    grad={"input": lambda g, tensor: g * _conj(tensor), "tensor": lambda g, input: g * _conj(input)},
    samples=lambda make: [Sample(make(3), make(3)), Sample(make(0), make(0))],
    errors=_dot_errors,
)
def dot(input: Tensor, tensor: Tensor):
    r"""The dot product of two vectors: :math:`\sum_i x_i y_i`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.dot.html
    """
    require_tensors("dot", input=input, tensor=tensor)
    _require_dot(input, tensor)
    return (), input.dtype, (input, tensor), {}


@op(
    kernel=np.vdot,
    tensors="input other",
    out="same",
    grad={"input": lambda g, other: _conj(g) * other, "other": lambda g, input: g * input},
    samples=lambda make: [Sample(make(3), make(3))],
    errors=_dot_errors,
)
def vdot(input: Tensor, other: Tensor):
    r"""The dot product of two vectors, the first conjugated: :math:`\sum_i \bar x_i y_i`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vdot.html
    """
    require_tensors("vdot", input=input, other=other)
    _require_dot(input, other)
    return (), input.dtype, (input, other), {}


@composite(
    out=True,
    aliases=("ger",),
    samples=lambda make: [Sample(make(2), make(3))],
    errors=lambda make: [
        ErrorSample(RuntimeError, "outer: Expected 1-D argument self, but got 2-D", make(2, 2), make(3))
    ],
)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    r"""The outer product of two vectors: :math:`A_{ij} = x_i y_j`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.outer.html
    """
    require_tensors("outer", input=input, vec2=vec2)
    for name, x in (("self", input), ("vec2", vec2)):
        if x.dim() != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {x.dim()}-D")
    return input.unsqueeze(1) * vec2


@composite(
    out=True,
    inplace=True,
    samples=lambda make: [Sample(make(2, 3), make(2), make(3)), Sample(make(3), make(2), make(3), beta=0.5, alpha=2.0)],
)
def addr(
    input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1
) -> Tensor:
    r"""An outer product added to a matrix: :math:`\beta\,\text{input} + \alpha\,(\text{vec1} \otimes \text{vec2})`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addr.html
    """
    require_tensors("addr", input=input, vec1=vec1, vec2=vec2)
    dtype = dispatch.result_type(input, vec1, vec2)
    for name, value in (("beta", beta), ("alpha", alpha)):
        if dtype.kind < FLOATING and isinstance(value, float):
            raise RuntimeError(f"For integral input tensors, argument {name} must not be a floating point number.")
    _require_expands(input, (vec1.numel(), vec2.numel()))
    product = _times(outer(vec1, vec2), alpha)
    total = product if beta == 0 else _times(input, beta) + product
    return total.to(dtype)
