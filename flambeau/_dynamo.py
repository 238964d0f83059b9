"""Names that programs take from the part of PyTorch that captures functions; see :mod:`flambeau.compiler`."""

from __future__ import annotations

from types import SimpleNamespace

from flambeau.compiler import allow_in_graph, disable, is_compiling, list_backends, reset

__all__ = ["allow_in_graph", "config", "disable", "is_compiling", "list_backends", "reset"]

config = SimpleNamespace(cache_size_limit=8, recompile_limit=8, suppress_errors=False, verbose=False)
"""Settings that programs make; they change nothing here."""


def is_compile_supported(device_type: str) -> bool:
    """Whether functions of tensors on such a device can be captured."""
    return device_type == "cpu"
