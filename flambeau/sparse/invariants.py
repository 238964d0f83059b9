"""What must hold of the parts of a sparse matrix whose rows (CSR) or columns (CSC) are compressed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flambeau.core.memory_format import layout, sparse_csr
from flambeau.tensor.tensor import Tensor

__all__ = ["check_compressed", "check_sparse_tensor_invariants"]


class check_sparse_tensor_invariants:
    """Whether new sparse tensors are checked in full. What could reach outside of memory is always checked; this adds whether the
    elements of compressed rows and columns are sorted.

    >>> import flambeau as torch
    >>> with torch.sparse.check_sparse_tensor_invariants():
    ...     torch.sparse_csr_tensor([0, 2], [1, 0], [1.0, 2.0], (1, 2))
    Traceback (most recent call last):
        ...
    RuntimeError:
    `col_indices[..., crow_indices[..., i - 1]:crow_indices[..., i]] for all i = 1, ..., nrows are sorted and distinct along the last dimension values` is not satisfied.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sparse.check_sparse_tensor_invariants.html
    """

    _enabled = False

    @staticmethod
    def is_enabled() -> bool:
        return check_sparse_tensor_invariants._enabled

    @staticmethod
    def enable() -> None:
        check_sparse_tensor_invariants._enabled = True

    @staticmethod
    def disable() -> None:
        check_sparse_tensor_invariants._enabled = False

    def __init__(self, enable: bool = True) -> None:
        self.state, self.before = enable, False

    def __enter__(self) -> None:
        self.before, check_sparse_tensor_invariants._enabled = check_sparse_tensor_invariants._enabled, self.state

    def __exit__(self, *error: Any) -> None:
        check_sparse_tensor_invariants._enabled = self.before


def check_compressed(
    kind: layout, begins: Tensor, others: Tensor, values: Tensor, size: Sequence[int], order: bool = False
) -> None:
    """Raises ``RuntimeError``, in PyTorch's words, where the parts do not fit together.

    Args:
        begins: where each line (a row of CSR, a column of CSC) begins among the elements, and how many elements there are.
        others: the place of each element in its line.
        order: whether the elements of a line must also be sorted, each place once; what is computed does not depend on that.
    """
    rows_first = kind is sparse_csr
    first, second = ("crow_indices", "col_indices") if rows_first else ("ccol_indices", "row_indices")
    line, other, long = ("rows", "cols", "rows") if rows_first else ("cols", "rows", "columns")
    if begins.dim() != others.dim():
        raise RuntimeError(
            f"{first} and {second} dimensionalities must be equal but got {begins.dim()} and {others.dim()}, respectively"
        )
    dense = values.dim() - 1
    if len(size) != 2 + dense:
        raise RuntimeError(
            f"tensor dimensionality must be sum of batch, base, and dense dimensionalities (=0 + 2 + {dense}) but got {len(size)}"
        )
    lines, width = (size[0], size[1]) if rows_first else (size[1], size[0])
    if begins.shape[-1] != lines + 1:
        raise RuntimeError(
            f"{first}.shape[-1] must be equal to the number of {long} + 1 (={lines + 1}), but got {begins.shape[-1]}"
        )
    nnz = values.shape[0]
    if others.shape[-1] != nnz:
        raise RuntimeError(
            f"{second}.shape[-1] must be equal to nnz (={nnz}) as defined by values.shape[0], but got {others.shape[-1]}"
        )
    for holds, what in _conditions(begins._array(), others._array(), nnz, width, (first, second, "n" + line, "n" + other), order):
        if not holds:
            raise RuntimeError(f"`{what}` is not satisfied.")


def _conditions(
    begins: np.ndarray, others: np.ndarray, nnz: int, width: int, names: tuple[str, str, str, str], order: bool
) -> Iterator[tuple[bool, str]]:
    """Each condition with PyTorch's words for it, in PyTorch's order; those after one that does not hold need not make sense."""
    first, second, lines, widths = names
    steps = np.diff(begins)
    yield bool(begins[0] == 0), f"{first}[..., 0] == 0"
    yield bool(begins[-1] == nnz), f"{first}[..., -1] == nnz"
    yield bool(((steps >= 0) & (steps <= width)).all()), f"0 <= {first}[..., 1:] - {first}[..., :-1] <= {widths}"
    yield bool(((others >= 0) & (others < width)).all()), f"0 <= {second} < {widths}"
    if order:
        places = np.repeat(np.arange(len(steps)), steps) * width + others
        what = f"{second}[..., {first}[..., i - 1]:{first}[..., i]] for all i = 1, ..., {lines} are sorted and distinct along the last dimension values"
        yield bool((np.diff(places) > 0).all()), what
