"""Functions of linear algebra that PyTorch has taken away, and still names: calling one says what has taken its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["eig", "lstsq", "matrix_rank", "solve", "symeig"]

_INSTEAD = {
    "eig": "`torch.linalg.eig` returns complex tensors of dtype `cfloat` or `cdouble` rather than real tensors mimicking complex tensors: "
    "torch.eig(A) is torch.linalg.eigvals(A), and torch.eig(A, eigenvectors=True) is torch.linalg.eig(A)",
    "lstsq": "`torch.lstsq` is deprecated in favor of `torch.linalg.lstsq`, whose arguments are reversed: torch.lstsq(B, A).solution[:A.size(1)] is "
    "torch.linalg.lstsq(A, B).solution",
    "matrix_rank": "Please use the `torch.linalg.matrix_rank` function instead. The parameter 'symmetric' was renamed in `torch.linalg.matrix_rank()` to 'hermitian'.",
    "solve": "`torch.solve` is deprecated in favor of `torch.linalg.solve`. `torch.linalg.solve` has its arguments reversed and does not return the LU "
    "factorization: torch.solve(B, A).solution is torch.linalg.solve(A, B), and torch.lu gives the factorization",
    "symeig": "The default behavior has changed from using the upper triangular portion of the matrix by default to using the lower triangular portion: "
    "torch.symeig(A, upper=upper) is torch.linalg.eigvalsh(A, UPLO='U' if upper else 'L'), and with eigenvectors=True torch.linalg.eigh",
}  # fmt: skip


def _removed(name: str) -> Callable:
    def removed(input: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"This function was deprecated since version 1.9 and is now removed. {_INSTEAD[name]}")

    removed.__name__ = removed.__qualname__ = name
    removed.__doc__ = f"Removed: {_INSTEAD[name]}."
    return removed


eig, lstsq, matrix_rank, solve, symeig = map(_removed, __all__)
