"""Tensors: views of storages, how operations on them are recorded, and their exchange with other libraries."""

from flambeau.tensor import (
    assignment,
    composites,
    default_device,
    indexing,
    methods,
    overriding,
    rarities,
    record,
    types,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["Tensor", "assignment", "composites", "indexing", "methods", "overriding", "record", "types"]

methods.install()
rarities.install()
