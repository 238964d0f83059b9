"""Products with vectors: of a matrix and a vector, of two vectors, and sums of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core.dtypes import BOOLEAN, FLOATING, scalar_name
from flambeau.core.scalars import factor
from flambeau.ops.product_helpers import (
    _conj,
    array_product,
    conjugate_transpose,
    fix,
    input_gradient,
    require_expands,
    require_tensors,
    scaled_sum,
    sizes,
    times,
    widened,
)
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

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
            f"{scalar_name(vec.dtype)}. " + fix(mat, vec, "mat", "vec")
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

    >>> import flambeau as torch
    >>> torch.mv(torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 10]))
    tensor([21, 43])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mv.html
    """
    require_tensors("mv", input=input, vec=vec)
    _require_mv("mv", input, vec)
    return (input.shape[0],), input.dtype, (input, vec), {}


@op(
    kernel=lambda input, mat, vec, beta, alpha: scaled_sum(np.matmul(mat, vec), input, beta, alpha),
    tensors="input mat vec beta alpha",
    out="same",
    inplace=True,
    grad={
        "input": input_gradient,
        "mat": lambda g, vec, alpha: times(g.outer(_conj(vec)), alpha.conjugate()),
        "vec": lambda g, mat, alpha: times(conjugate_transpose(mat).mv(g), alpha.conjugate()),
    },
    samples=lambda make: [
        Sample(make(2), make(2, 3), make(3)),
        Sample(make(), make(2, 3), make(3), beta=0.5, alpha=2.0),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "size mismatch, got input", make(2), make(2, 3), make(4))],
)
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1):
    r"""A matrix-vector product added to a vector: :math:`\beta\,\text{input} + \alpha\,(\text{mat} @ \text{vec})`.

    >>> import flambeau as torch
    >>> torch.addmv(torch.tensor([100, 200]), torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 10]))
    tensor([121, 243])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addmv.html
    """
    require_tensors("addmv", input=input, mat=mat, vec=vec)
    _require_mv("addmv", mat, vec, input.dim())
    require_expands(input, (mat.shape[0],))
    return (mat.shape[0],), input.dtype, (input, mat, vec, factor(beta, input._dtype), factor(alpha, input._dtype)), {}


def _require_dot(a, b) -> None:
    if a.dim() != 1 or b.dim() != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.dim()}D and {b.dim()}D tensors. Use matmul (@) for matrices.")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {scalar_name(a.dtype)} and {scalar_name(b.dtype)}. "
            + fix(a, b, "input", "tensor")
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

    >>> import flambeau as torch
    >>> torch.dot(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor(11)

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

    >>> import flambeau as torch
    >>> torch.vdot(torch.tensor([1j, 2 + 0j]), torch.tensor([1j, 1 + 0j]))
    tensor(3.+0.j)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vdot.html
    """
    require_tensors("vdot", input=input, other=other)
    _require_dot(input, other)
    return (), input.dtype, (input, other), {}


@composite(
    out=True,
    aliases=("ger",),
    samples=lambda make: [Sample(make(2), make(3))],
    errors=lambda make: [ErrorSample(RuntimeError, "outer: Expected 1-D argument self, but got 2-D", make(2, 2), make(3))],
)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    r"""The outer product of two vectors: :math:`A_{ij} = x_i y_j`.

    Raises ``RuntimeError`` for arguments of other than one dim.

    >>> import flambeau as torch
    >>> torch.outer(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])

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
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number | complex = 1, alpha: Number | complex = 1) -> Tensor:
    r"""An outer product added to a matrix: :math:`\beta\,\text{input} + \alpha\,(\text{vec1} \otimes \text{vec2})`.

    Raises ``RuntimeError`` for floating-point ``beta`` or ``alpha`` beside integers.

    >>> import flambeau as torch
    >>> torch.addr(torch.zeros(2, 2), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addr.html
    """
    require_tensors("addr", input=input, vec1=vec1, vec2=vec2)
    dtype = dispatch.result_type(input, vec1, vec2)
    for name, value in (("beta", beta), ("alpha", alpha)):
        if dtype.kind < FLOATING and isinstance(value, float):
            raise RuntimeError(f"For integral input tensors, argument {name} must not be a floating point number.")
    require_expands(input, (vec1.numel(), vec2.numel()))
    product = times(outer(vec1, vec2), alpha)
    total = product if beta == 0 else times(input, beta) + product
    return total.to(dtype)
