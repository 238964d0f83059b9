"""One record per op, one file per family. Every ``torch.*`` function stands here under its torch name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau.ops.record import registry

FAMILIES = (
    "joining", "rearranging", "views", "parts", "parts_scatter", "conversion", "creation", "patterns", "ranges", "indexing", "masks", "gather",
    "division", "arithmetic", "powers", "comparison", "logic", "rounding", "elementary", "trigonometric", "complexes", "error_functions",
    "gamma_functions", "bessel_functions", "airy", "orthogonal_polynomials", "rectifiers", "activation", "softmax",
    "reduction", "reduction_extremes", "products", "extremes", "statistics", "order_statistics", "norms", "scan", "sorting", "counting", "hashing", "segments", "vector_products", "matmul", "linear",
    "contraction", "contraction_einsum", "linalg", "matrix_powers", "factorization_cholesky", "factorization_lu", "factorization_qr", "ldl", "eigenvalues", "singular_values", "least_squares", "tensor_equations",
    "fft", "fft_frequencies", "stft", "spectral_windows", "copies", "distance", "padding", "resize", "unfold", "pooling_adaptive", "pooling_fractional", "loss_ctc",
    "grouped", "random", "random_dropout", "loss_distances", "loss_likelihoods", "loss_classes", "loss_margin", "embedding",
    "normalization", "normalization_layer", "normalization_batch", "convolution", "pooling", "vision", "grids",
    "attention", "recurrent",
)  # fmt: skip

for _family in FAMILIES:
    import_module(f"flambeau.ops.{_family}")


def namespace(prefix: str) -> dict:
    """The functions of the ops whose names start with ``prefix``, by the rest of the name; ``""`` for ``torch``'s own."""
    found = {}
    for full, op in registry.items():
        space, _, short = full.rpartition(".")
        if space == prefix and not short.startswith("_"):
            found[short] = op.function
    return found


globals().update(namespace(""))

# What else ``torch.ops`` is: operators by namespace. They come with their first use (see flambeau/library/operators.py).
_OF_OPERATORS = ("load_library", "loaded_libraries", "load_all_libraries", "import_module")


_OF_TESTS = ("setUpModule", "setup_module", "tearDownModule", "teardown_module", "setup_function", "teardown_function")


def __getattr__(name: str) -> Any:
    if name.startswith(("__", "pytest")) or name in _OF_TESTS:  # what pytest asks of every module is no operator
        raise AttributeError(f"module 'torch.ops' has no attribute '{name}'")
    from importlib.util import find_spec

    if find_spec(f"flambeau.ops.{name}") is not None:  # a family that comes with its first use
        return import_module(f"flambeau.ops.{name}")
    operators = import_module("flambeau.library.operators").ops
    if name in _OF_OPERATORS:
        return getattr(operators, name)
    found = globals()[name] = operators.namespace(name)
    return found
