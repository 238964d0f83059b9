"""Tensors: views of storages, how operations on them are recorded, and their exchange with other libraries."""

from flambeau.tensor import assignment, composites, indexing, methods, record, types
from flambeau.tensor.tensor import Tensor

__all__ = ["Tensor", "assignment", "composites", "indexing", "methods", "record", "types"]

methods.install()
