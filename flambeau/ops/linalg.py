"""Linear algebra: solving, inverses and determinants of matrices.

All take batches: the last two dims are the matrix. Powers and exponentials stand in ``matrix_powers``, factorizations in
``factorizations``, eigenvalues and singular values in ``spectra``, norms in ``norms``. Gradients: Giles, An extended collection of
matrix derivative results for forward and reverse mode algorithmic differentiation (2008), in the conjugate convention.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.results import return_type
from flambeau.core.size import broadcast_shapes
from flambeau.ops import decompositions, layouts
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.record import ErrorSample, Sample, composite, op, registry

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- what linear algebra shares ------------------------------------------------------------------------------


class LinAlgError(RuntimeError):
    """A matrix that has no such inverse or factorization (``torch.linalg.LinAlgError``)."""


LinAlgError.__module__, LinAlgError.__name__, LinAlgError.__qualname__ = "torch._C", "_LinAlgError", "_LinAlgError"


def require_matrix(name: str, A) -> None:
    if not isinstance(A, dispatch.Tensor):
        raise TypeError(f"{name}(): argument 'A' (position 1) must be Tensor, not {type(A).__name__}")
    if A.dim() < 2:
        raise RuntimeError(
            f"{name}: The input tensor A must have at least 2 dimensions, the rows and columns of a matrix; its shape is "
            f"{list(A.shape)}"
        )
    if A.dtype.kind < dtypes.FLOATING:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {scalar_name(A.dtype)}. "
            "Convert it first, for example with .float()."
        )


def require_square(name: str, A) -> None:
    require_matrix(name, A)
    require_square_shape(name, A)


def require_square_shape(name: str, A) -> None:
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"{name}: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices")


def eye(n: int, like) -> dispatch.Tensor:
    """The identity matrix, of the dtype of ``like``."""
    return dispatch.wrap(np.eye(n, dtype=like.dtype.np))


def first_failures(function, array: np.ndarray) -> np.ndarray:
    """For each matrix of a batch, ``function(matrix)``, as int32: LAPACK's ``info``."""
    batch = array.shape[:-2]
    return np.array([function(array[i]) for i in np.ndindex(batch)], np.int32).reshape(batch)


def where_failed(info: np.ndarray) -> tuple[str, int]:
    """How a message names the first matrix whose ``info`` is not 0, and that ``info``."""
    at = int(np.flatnonzero(info)[0])
    return (f"(Batch element {at}): " if info.ndim else ""), int(info.ravel()[at])


def square_samples(make):
    return [Sample(make(3, 3)), Sample(make(2, 2, 2)), Sample(make(3, 3).mT)]


def square_errors(make):
    return [
        ErrorSample(RuntimeError, "must be batches of square matrices, but they are 2 by 3 matrices", make(2, 3)),
        ErrorSample(RuntimeError, "must have at least 2 dimensions", make(3)),
    ]


# --- inverses ------------------------------------------------------------------------------------------------


def _zero_pivot(matrix: np.ndarray) -> int:
    """LAPACK's ``info`` of an inversion: which pivot, counted from 1, is the first that is zero; 0 where none is."""
    try:
        decompositions.inv(matrix)
        return 0
    except np.linalg.LinAlgError:
        a = matrix.copy()
    for k in range(len(a)):
        pivot = k + int(np.abs(a[k:, k]).argmax())
        if a[pivot, k] == 0:
            return k + 1
        a[[k, pivot]] = a[[pivot, k]]
        a[k + 1 :, k:] -= np.outer(a[k + 1 :, k] / a[k, k], a[k, k:])
    return len(a)


def _inv_ex_kernel(a):
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return decompositions.inv(a), info
    except np.linalg.LinAlgError:
        info = first_failures(_zero_pivot, a)
        usable = np.where(info[..., None, None] == 0, a, np.eye(a.shape[-1], dtype=a.dtype))
        return np.where(info[..., None, None] == 0, decompositions.inv(usable), a), info


def _inv_kernel(a):
    inverse, info = _inv_ex_kernel(a)
    if info.any():
        where, k = where_failed(info)
        raise LinAlgError(
            f"linalg.inv: {where}The diagonal element {k} is zero, the inversion could not be completed because the input "
            "matrix is singular."
        )
    return inverse


def _inv_gradient(g, out):
    transposed = conjugate_transpose(out)
    return -(transposed @ g @ transposed)


@op(
    layout=layouts.columns,
    kernel=_inv_kernel,
    name="linalg.inv",
    checked=True,
    out="same",
    backward_name="LinalgInvExBackward0",
    grad={"A": _inv_gradient},
    samples=square_samples,
    errors=square_errors,
)
def inv(A: Tensor):
    r"""The inverse of a square matrix: :math:`A A^{-1} = I`. Raises ``LinAlgError`` where there is none.

    >>> import flambeau as torch
    >>> torch.linalg.inv(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.inv.html
    """
    require_square("linalg.inv", A)
    return A.shape, A.dtype, (A,), {}


@composite(out="same", samples=square_samples)
def inverse(input: Tensor) -> Tensor:
    """The inverse of a square matrix: :func:`linalg.inv`.

    >>> import flambeau as torch
    >>> torch.inverse(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.inverse.html
    """
    return inv(input)


@op(
    layout=(layouts.columns, None),
    kernel=_inv_ex_kernel,
    name="linalg.inv_ex",
    tensors="A",
    outputs=("inverse", "info"),
    nondifferentiable=("info",),
    out=True,
    grad={"A": lambda g, inverse: _inv_gradient(g, inverse)},
    samples=square_samples,
    errors=square_errors,
)
def inv_ex(A: Tensor, *, check_errors: bool = False):
    """The inverse, and ``info``: 0, or the number of the pivot that is zero. Raises only where ``check_errors``.

    >>> import flambeau as torch
    >>> torch.linalg.inv_ex(torch.tensor([[0.0]])).info
    tensor(1, dtype=torch.int32)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.inv_ex.html
    """
    require_square("linalg.inv_ex", A)
    if check_errors:
        inv(A).tolist()
    return (A.shape, A.shape[:-2]), (A.dtype, dtypes.int32), (A,), {}


# --- solving -------------------------------------------------------------------------------------------------


def _solve_kernel(a, b):
    b = b.reshape((1,) * (a.ndim - b.ndim) + b.shape)  # NumPy would take one dim less for a batch of vectors
    try:
        return decompositions.solve(a, b)
    except np.linalg.LinAlgError:
        raise LinAlgError("torch.linalg.solve: The solver failed because the input matrix is singular.") from None


def _solve_gradients(g, needs, A, out):
    """On its way back through ``A^-1 @ B``, at ``B`` and at ``A``."""
    right = _solve_again(conjugate_transpose(A), g)
    return -(right @ conjugate_transpose(out)) if needs[0] else None, right


@op(
    layout=layouts.columns,
    kernel=_solve_kernel,
    name="aten.linalg_solve",
    backward_name="LinalgSolveExBackward0",
    tensors="A B",
    checked=True,
    grad={"*": _solve_gradients},
)
def _solve(A: Tensor, B: Tensor):
    """``A^-1 @ B`` for matrices ``B``: what ``linalg.solve`` records."""
    return _solution(A, B)


def _solve_again_kernel(a, b):
    try:
        return _solve_kernel(a, b)
    except LinAlgError:  # where rounding has it so, the gradient is not a number
        return np.full((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), np.nan, b.dtype)


@op(
    layout=layouts.columns,
    kernel=_solve_again_kernel,
    name="aten.linalg_solve_again",
    backward_name="LinalgSolveExBackward0",
    tensors="A B",
    grad={"*": _solve_gradients},
)
def _solve_again(A: Tensor, B: Tensor):
    """The solution for the transpose of an ``A`` that has been found to have an inverse: nothing is to be refused."""
    return _solution(A, B)


def _solution(A, B) -> tuple:
    batch = broadcast_shapes(A.shape[:-2], B.shape[:-2])
    return (*batch, *B.shape[-2:]), A.dtype, (A, B), {}


def _is_vector(A, B) -> bool:
    return B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1])


@composite(
    name="linalg.solve",
    out="same",
    samples=lambda make: [
        Sample(make(3, 3), make(3, 2)),
        Sample(make(2, 2, 2), make(2, 2)),
        Sample(make(2, 2, 2), make(2, 3)),
        Sample(make(3, 3), make(2, 3), left=False),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "must be batches of square matrices", make(2, 3), make(2)),
        ErrorSample(RuntimeError, "Incompatible shapes of A and B", make(3, 3), make(2, 2)),
    ],
)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    r"""The solution of :math:`A X = B`, or of :math:`X A = B` where not ``left``.

    ``B`` is a matrix, or a vector: ``(n,)``, or ``(*, n)`` for a batch ``(*, n, n)``. Raises ``LinAlgError`` where ``A``
    is singular.

    >>> import flambeau as torch
    >>> torch.linalg.solve(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([1.0, 1.0]))
    tensor([0.5000, 0.2500])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve.html
    """
    require_square("linalg.solve", A)
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type {A.dtype} and B of type {B.dtype} instead"
        )
    if not B.dim():
        raise RuntimeError("linalg.solve: The input tensor B must have at least 2 dimensions.")
    vector = _is_vector(A, B)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not supported for left=False.")
    b = B.unsqueeze(-1) if vector else B
    rows = b.shape[-2] if left else b.shape[-1]
    if rows != A.shape[-1]:
        raise RuntimeError(
            "linalg.solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({A.shape[-2]}x{A.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
        )
    if not left:
        return _solve(A.mT, b.mT).mT
    return _solve(A, b).squeeze(-1) if vector else _solve(A, b)


_SolveEx = return_type("linalg_solve_ex", "result", "info")


@composite(name="linalg.solve_ex", out=True, samples=lambda make: [Sample(make(3, 3), make(3, 2))])
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False):
    """The solution of a linear system, and ``info``: 0, or the number of the pivot that is zero. See :func:`linalg.solve`.

    >>> import flambeau as torch
    >>> torch.linalg.solve_ex(torch.tensor([[2.0]]), torch.tensor([[1.0]]))
    torch.return_types.linalg_solve_ex(
    result=tensor([[0.5000]]),
    info=tensor(0, dtype=torch.int32))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve_ex.html
    """
    info = inv_ex(A.detach(), check_errors=check_errors).info
    singular = (info != 0)[..., None, None]
    X = solve(A.where(~singular, dispatch.wrap(np.eye(A.shape[-1]), A.dtype)), B, left=left)
    return _SolveEx((X.masked_fill((info != 0).reshape((*info.shape, *(1,) * (X.dim() - info.dim()))), float("nan")), info))


_SMALL, _MEDIUM = 32, 256
"""Up to so many rows a system is solved row by row, or by BLAS; larger ones are halved, so that most work is products."""


def substitute(a, b, upper: bool, unit: bool = False):
    """``a^-1 @ b`` for a triangular ``a``, whose other triangle is not read."""
    from flambeau.engine.cpu import blas  # ctypes, which most programs do without

    n, batch = a.shape[-1], np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    by_blas = blas.solves_triangular(b.dtype) and a.dtype == b.dtype
    if n > (_MEDIUM if by_blas else _SMALL):
        return _by_halves(a, b, upper, unit)
    if by_blas and prod(batch) <= 2 * n and b.size:  # of many small ones each step is done for all at once
        x = np.array(np.broadcast_to(b, (*batch, *b.shape[-2:])), order="C")
        each = np.broadcast_to(a, (*batch, n, n)).reshape(-1, n, n) if batch else a[None]
        with blas.one_thread():
            for matrix, made in zip(each, x.reshape(-1, *x.shape[-2:]), strict=True):
                blas.solve_triangular(matrix, made, upper, unit)
        return x
    if upper:  # read backwards, it is lower triangular
        return _by_rows(a[..., ::-1, ::-1], b[..., ::-1, :], unit)[..., ::-1, :]
    return _by_rows(a, b, unit)


def _by_halves(a, b, upper: bool, unit: bool):
    h = a.shape[-1] // 2
    first, last = slice(h), slice(h, None)
    if upper:
        first, last = last, first
    x = np.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), b.dtype)
    x[..., first, :] = substitute(a[..., first, first], b[..., first, :], upper, unit)
    rest = b[..., last, :] - a[..., last, first] @ x[..., first, :]
    x[..., last, :] = substitute(a[..., last, last], rest, upper, unit)
    return x


def _by_rows(a, b, unit: bool):
    x = np.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), b.dtype)
    for i in range(a.shape[-1]):
        row = b[..., i, :] - (a[..., i : i + 1, :i] @ x[..., :i, :])[..., 0, :]
        x[..., i, :] = row if unit else row / a[..., i, i, None]
    return x


def _triangular_right(g, A, upper, unit):
    return _solve_triangular(conjugate_transpose(A), g, not upper, unit)


def _triangular_left(g, A, out, upper, unit):
    full = -(_triangular_right(g, A, upper, unit) @ conjugate_transpose(out))
    return full.triu(int(unit)) if upper else full.tril(-int(unit))


@op(
    layout=layouts.columns,
    kernel=substitute,
    name="aten.linalg_solve_triangular",
    backward_name="LinalgSolveTriangularBackward0",
    tensors="A B",
    grad={"A": _triangular_left, "B": _triangular_right},
)
def _solve_triangular(A: Tensor, B: Tensor, upper: bool, unit):
    """``A^-1 @ B`` for a triangular ``A``: what ``linalg.solve_triangular`` records."""
    batch = broadcast_shapes(A.shape[:-2], B.shape[:-2])
    return (*batch, *B.shape[-2:]), A.dtype, (A, B), {"upper": bool(upper), "unit": bool(unit)}


@composite(
    name="linalg.solve_triangular",
    out="same",
    samples=lambda make: [
        Sample(make(3, 3), make(3, 2), upper=True),
        Sample(make(2, 3, 3), make(3, 2), upper=False, unitriangular=True),
        Sample(make(3, 3), make(2, 3), upper=True, left=False),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "must be batches of square matrices", make(2, 3), make(2, 2), upper=True),
        ErrorSample(RuntimeError, "Incompatible shapes of A and B", make(3, 3), make(2, 2), upper=True),
    ],
)
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    r"""The solution of :math:`A X = B` (:math:`X A = B` where not ``left``) for a triangular ``A``.

    Only the ``upper`` or the lower triangle is read; with ``unitriangular`` the diagonal counts as ones.

    Raises ``RuntimeError`` for shapes that do not fit.

    >>> import flambeau as torch
    >>> torch.linalg.solve_triangular(torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.tensor([[1.0], [5.0]]), upper=False)
    tensor([[1.],
            [2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve_triangular.html
    """
    require_square("linalg.solve_triangular", A)
    require_matrix("linalg.solve_triangular", B)
    if (B.shape[-2] if left else B.shape[-1]) != A.shape[-1]:
        raise RuntimeError(
            "linalg.solve_triangular: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )
    if left:
        return _solve_triangular(A, B, upper, unitriangular)
    return _solve_triangular(A.mT, B.mT, not upper, unitriangular).mT


_TriangularSolve = return_type("triangular_solve", "solution", "cloned_coefficient")


@composite(
    layout=(layouts.columns, layouts.columns),
    out=True,
    samples=lambda make: [Sample(make(3, 2), make(3, 3)), Sample(make(3, 2), make(3, 3), upper=False, transpose=True)],
)
def triangular_solve(b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False):
    """The solution of a triangular system and a copy of ``A``; see :func:`linalg.solve_triangular`.

    Raises ``RuntimeError`` for what are no matrices.

    >>> import flambeau as torch
    >>> A, b = torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.tensor([[1.0], [5.0]])
    >>> torch.linalg.solve_triangular(A, b, upper=False).T  # the first result of triangular_solve(b, A, upper=False)
    tensor([[1., 2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.triangular_solve.html
    """
    for name, x in (("b", b), ("A", A)):
        if x.dim() < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it has {x.dim()} dimensions instead"
            )
    A = A.expand((*broadcast_shapes(A.shape[:-2], b.shape[:-2]), *A.shape[-2:]))
    matrix, upper_now = (A.mT, not upper) if transpose else (A, upper)
    return _TriangularSolve((_solve_triangular(matrix, b, upper_now, unitriangular), A.clone()))


# --- determinants --------------------------------------------------------------------------------------------


def _cofactor_kernel(a):
    """The matrix of cofactors, conjugated: the derivative of the determinant, which singular matrices have as well."""
    d = np.linalg.det(a)
    regular = d != 0
    n = a.shape[-1]
    if regular.all():
        return (d[..., None, None] * decompositions.inv(a)).swapaxes(-2, -1).conj()
    u, s, vh = decompositions.svd(a, True)
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return sign.conj()[..., None, None] * (u * others[..., None, :]) @ vh


@op(kernel=_cofactor_kernel, name="aten.conjugate_cofactors")
def _cofactors(A: Tensor):
    """The derivative of the determinant, for gradients that are not differentiated again."""
    return A.shape, A.dtype, (A,), {}


def _det_gradient(g, A, out):
    """Where it may be differentiated again: by the inverse, and of singular matrices by singular values."""
    if not dispatch.grad_mode.enabled:
        return g.unsqueeze(-1).unsqueeze(-1) * _cofactors(A)
    factor = g * (out.conj_physical() if out.dtype.is_complex else out)
    singular = (out.detach() == 0).unsqueeze(-1).unsqueeze(-1)
    if singular._opaque or not singular.any():
        return factor.unsqueeze(-1).unsqueeze(-1) * conjugate_transpose(inv(A))
    n = A.shape[-1]
    eye = A.new_ones(n).diag()
    by_inverse = factor.unsqueeze(-1).unsqueeze(-1) * conjugate_transpose(inv(A.where(~singular, eye)))
    u, s, vh = registry["linalg.svd"].function(A.where(singular, (A.new_ones(n).cumsum(0)).diag()))
    others = s.unsqueeze(-2).where(eye == 0, 1).prod(-1)
    sign = det(u) * det(vh)
    sign = g * (sign.conj_physical() if sign.dtype.is_complex else sign)
    return ((u * (others * sign.unsqueeze(-1)).unsqueeze(-2)) @ vh).where(singular, by_inverse)


@op(
    kernel=np.linalg.det,
    name="linalg.det",
    out="same",
    backward_name="LinalgDetBackward0",
    grad={"A": _det_gradient},
    samples=square_samples,
    errors=square_errors,
)
def det(A: Tensor):
    """The determinant of a square matrix.

    >>> import flambeau as torch
    >>> torch.linalg.det(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(-2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.det.html
    """
    require_square("linalg.det", A)
    return A.shape[:-2], A.dtype, (A,), {}


def _slogdet_gradient(gs, A, sign):
    g_sign, g = gs
    if A.dtype.is_complex and g_sign is not None:
        turn = (g_sign.conj_physical() * sign).imag
        g = (0 if g is None else g) - 1j * turn
    if g is None:
        return None
    return g.unsqueeze(-1).unsqueeze(-1) * conjugate_transpose(inv(A))


@op(
    kernel=lambda A: tuple(np.linalg.slogdet(A)),
    name="linalg.slogdet",
    outputs=("sign", "logabsdet"),
    out=True,
    backward_name="LinalgSlogdetBackward0",
    grad={"A": _slogdet_gradient},
    samples=square_samples,
    errors=square_errors,
)
def linalg_slogdet(A: Tensor):
    """The sign of the determinant and the logarithm of its magnitude: ``(sign, logabsdet)``.

    >>> import flambeau as torch
    >>> torch.linalg.slogdet(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    torch.return_types.linalg_slogdet(
    sign=tensor(-1.),
    logabsdet=tensor(0.))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.slogdet.html
    """
    require_square("linalg.slogdet", A)
    return (A.shape[:-2], A.shape[:-2]), (A.dtype, A.dtype.to_real()), (A,), {}


@composite(name="det", samples=square_samples)
def torch_det(input: Tensor) -> Tensor:
    """The determinant of a square matrix: :func:`linalg.det`.

    >>> import flambeau as torch
    >>> torch.det(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(-2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.det.html
    """
    return det(input)


@composite(out=True, samples=square_samples)
def slogdet(input: Tensor):
    """The sign of the determinant and the logarithm of its magnitude: :func:`linalg.slogdet`.

    >>> import flambeau as torch
    >>> torch.slogdet(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))[0]
    tensor(-1.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.slogdet.html
    """
    return linalg_slogdet(input)


@composite(samples=lambda make: [Sample(make(3, 3))])
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: NaN where it is negative, ``-inf`` where it is 0.

    >>> import flambeau as torch
    >>> torch.logdet(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), torch.logdet(torch.tensor([[-1.0]]))
    (tensor(0.), tensor(nan))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logdet.html
    """
    sign, logabs = linalg_slogdet(input)
    if input.dtype.is_complex:
        return sign.log() + logabs
    return logabs.masked_fill(sign == -1, float("nan"))
