"""One record per op, one file per family. Every ``torch.*`` function stands here under its torch name."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from flambeau.ops.record import registry

FAMILIES = (
    "views", "conversion", "creation", "joining", "indexing",
    "arithmetic", "comparison", "logic", "rounding", "elementary", "trigonometric", "complexes", "error_functions",
    "gamma_functions", "bessel_functions", "orthogonal_polynomials", "activation", "softmax",
    "reduction", "extremes", "statistics", "norms", "scan", "sorting", "matmul", "linear",
    "contraction", "linalg", "factorizations", "ldl", "spectra", "tensor_equations",
    "fft", "stft",
    "random", "loss", "loss_classes", "loss_margin", "embedding", "normalization", "convolution", "pooling", "vision",
    "attention",
)  # fmt: skip

for _family in FAMILIES:
    if find_spec(f"flambeau.ops.{_family}"):
        try:
            import_module(f"flambeau.ops.{_family}")
        except ImportError as error:  # TEMPORARY while families are being written
            print("TEMPORARY: skipped", _family, error)


def namespace(prefix: str) -> dict:
    """The functions of the ops whose names start with ``prefix``, by the rest of the name; ``""`` for ``torch``'s own."""
    found = {}
    for full, op in registry.items():
        space, _, short = full.rpartition(".")
        if space == prefix and not short.startswith("_"):
            found[short] = op.function
    return found


globals().update(namespace(""))
