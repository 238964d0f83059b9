"""Functions of sparse tensors besides those of dense ones: products by older names (``smm``, ``sspaddmm``), copies of parts
(``values_copy``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.sparse.products import mm
from flambeau.sparse.tensor import SparseTensor, from_dense
from flambeau.tensor import Tensor

__all__ = ["dsmm", "hsmm", "hspmm", "saddmm", "smm", "spmm", "sspaddmm"]


def _of_coordinates(name: str, x: Any) -> SparseTensor:
    if not isinstance(x, SparseTensor):
        raise RuntimeError(f"{name}: expected a sparse tensor, but got one of layout {x.layout}; mm and addmm take dense ones")
    return x


def spmm(input: Any, mat2: Any) -> Tensor:
    """The product of two matrices; as ``mm``."""
    return input.mm(mat2)


def dsmm(input: Any, mat2: Any) -> Tensor:
    """As ``mm``: the product is dense where one of the matrices is."""
    return input.mm(mat2)


def hspmm(mat1: Any, mat2: Any) -> Tensor:
    """The product of a sparse and a dense matrix, as a hybrid tensor: its rows that are not zero."""
    return from_dense(mm(_of_coordinates("hspmm", mat1), mat2), 1)


hsmm = hspmm


def smm(input: Any, mat: Any) -> Tensor:
    """The product of a sparse and a dense matrix, as a sparse one."""
    return from_dense(mm(_of_coordinates("smm", input), mat))


def sspaddmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2`` with a sparse ``input``, and so a sparse result."""
    return _of_coordinates("sspaddmm", input) * beta + from_dense(mm(_of_coordinates("sspaddmm", mat1), mat2) * alpha)


saddmm = sspaddmm


def _copying(name: str) -> Callable:
    """A copy of one of the tensors that a sparse tensor consists of."""

    def copied(input: Any) -> Tensor:
        return getattr(input, name)().clone()

    copied.__name__ = copied.__qualname__ = f"{name}_copy"
    copied.__doc__ = f"``input.{name}()`` with memory of its own."
    return copied


values_copy = _copying("values")
indices_copy = _copying("indices")
crow_indices_copy, col_indices_copy = _copying("crow_indices"), _copying("col_indices")
ccol_indices_copy, row_indices_copy = _copying("ccol_indices"), _copying("row_indices")
