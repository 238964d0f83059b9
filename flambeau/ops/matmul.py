"""Products of matrices and batches of them; the ``@`` of all shapes.

The kernels are NumPy's matrix products: floating and complex ones are BLAS calls, which read transposed views in
place, so that a gradient such as ``g @ mat2.t()`` copies nothing.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau import dispatch
from flambeau.core.dtypes import BOOLEAN, scalar_name
from flambeau.core.scalars import factor
from flambeau.core.size import broadcast_shapes
from flambeau.ops.product_helpers import (
    _C_NAMES,
    array_product,
    conjugate_transpose,
    fix,
    input_gradient,
    mm_shape,
    require_expands,
    require_tensors,
    scaled_sum,
    times,
    widened,
)
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import refuse
from flambeau.ops.vector_products import dot, mv

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

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

    Raises ``RuntimeError`` for shapes that do not fit and for different dtypes.

    >>> import flambeau as torch
    >>> torch.mm(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))
    tensor([[11.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mm.html
    """
    shape = mm_shape(input, mat2)
    if input._dtype is not mat2._dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_C_NAMES[input.dtype.name]} != "
            f"{_C_NAMES[mat2.dtype.name]} (input is {input.dtype} and mat2 is {mat2.dtype}). " + fix(input, mat2, "input", "mat2")
        )
    return shape, input._dtype, (input, mat2), {}


@op(
    static=True,
    kernel=lambda input, mat1, mat2, beta, alpha: scaled_sum(array_product(mat1, mat2), input, beta, alpha),
    expand=widened,
    tensors="input mat1 mat2 beta alpha",
    out="same",
    inplace=True,
    grad={
        "input": input_gradient,
        "mat1": lambda g, mat2, alpha: times(g.mm(conjugate_transpose(mat2)), alpha.conjugate()),
        "mat2": lambda g, mat1, alpha: times(conjugate_transpose(mat1).mm(g), alpha.conjugate()),
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

    Raises ``RuntimeError`` for shapes that do not fit and for different dtypes.

    >>> import flambeau as torch
    >>> torch.addmm(torch.ones(1, 1), torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]), beta=10)
    tensor([[21.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addmm.html
    """
    shape = mm_shape(mat1, mat2, "addmm", "mat1")
    if not isinstance(input, dispatch.Tensor):
        require_tensors("addmm", input=input)
    for name, x in (("mat1", mat1), ("self", input)):
        if x._dtype is not mat2._dtype:
            raise RuntimeError(
                f"{name} and mat2 must have the same dtype, but got {scalar_name(x.dtype)} and {scalar_name(mat2.dtype)}. "
                + fix(x, mat2, "input" if name == "self" else name, "mat2")
            )
    require_expands(input, shape)
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
            f"{names[1]} is {b.dtype}. {fix(a, b, *names)}"
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

    >>> import flambeau as torch
    >>> torch.bmm(torch.ones(2, 1, 3), torch.ones(2, 3, 1)).flatten()
    tensor([3., 3.])

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
            + fix(input, other, "input", "other")
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
        ErrorSample(RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(64x100 and 64x10\)", make(64, 100), make(64, 10)),
        ErrorSample(RuntimeError, r"size mismatch, got input \(2\), mat \(2x3\), vec \(4\)", make(2, 3), make(4)),
        ErrorSample(RuntimeError, "Expected size for first two dimensions of batch2", make(2, 2, 3), make(2, 4, 5)),
    ],
)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product ``input @ other``.

    Two vectors give their dot product; a vector before a matrix counts as a row and after it as a column, and that
    dim is dropped again; with more dims, the last two are matrices and the others a batch that broadcasts.

    Raises ``RuntimeError`` for a tensor without dims and for shapes that do not fit.

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
    kernel=lambda input, batch1, batch2, beta, alpha: scaled_sum(array_product(batch1, batch2), input, beta, alpha),
    tensors="input batch1 batch2 beta alpha",
    out="same",
    inplace=True,
    grad={
        "input": input_gradient,
        "batch1": lambda g, batch2, alpha: times(g.bmm(conjugate_transpose(batch2)), alpha.conjugate()),
        "batch2": lambda g, batch1, alpha: times(conjugate_transpose(batch1).bmm(g), alpha.conjugate()),
    },
    samples=_batch_samples,
    errors=lambda make: [
        ErrorSample(RuntimeError, "Expected size for first two dimensions of batch2", make(3), make(2, 3, 4), make(2, 3, 5))
    ],
)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1):
    r"""A batch of matrix products added to a tensor: :math:`\beta\,\text{input}_i + \alpha\,(\text{batch1}_i @ \text{batch2}_i)`.

    >>> import flambeau as torch
    >>> torch.baddbmm(torch.zeros(1), torch.ones(2, 1, 3), torch.ones(2, 3, 1), alpha=2).flatten()
    tensor([6., 6.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.baddbmm.html
    """
    require_tensors("baddbmm", input=input, batch1=batch1, batch2=batch2)
    _require_bmm(batch1, batch2)
    _require_input_dtype(input, batch1)
    shape = (*batch1.shape[:2], batch2.shape[2])
    require_expands(input, shape)
    return shape, input.dtype, (input, batch1, batch2, factor(beta, input._dtype), factor(alpha, input._dtype)), {}


def _require_input_dtype(input, other) -> None:
    if input.dtype is not other.dtype:
        raise RuntimeError(
            "Input dtypes must be the same, got: "
            f"input {_C_NAMES[input.dtype.name]}, batch1: {_C_NAMES[other.dtype.name]}, batch2: {_C_NAMES[other.dtype.name]}"
        )


@composite(out="same", inplace=True, samples=lambda make: [Sample(make(2, 2), make(2, 2, 3), make(2, 3, 2), beta=0.5, alpha=2.0)])
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1) -> Tensor:
    r"""The sum of a batch of matrix products, added to a matrix.

    .. math:: \beta\,\text{input} + \alpha\sum_i \text{batch1}_i @ \text{batch2}_i

    >>> import flambeau as torch
    >>> torch.addbmm(torch.zeros(1), torch.ones(2, 1, 3), torch.ones(2, 3, 1))
    tensor([[6.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addbmm.html
    """
    require_tensors("addbmm", input=input, batch1=batch1, batch2=batch2)
    _require_bmm(batch1, batch2)
    b, n, m = batch1.shape
    # One long product: the batch joins the dim that is summed over.
    left, right = batch1.transpose(0, 1).reshape((n, b * m)), batch2.reshape((b * m, batch2.shape[2]))
    return addmm(input, left, right, beta=beta, alpha=alpha)
