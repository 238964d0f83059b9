"""How the tracer takes nests apart. There is no tracer, so what is registered is not used."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["register_pytree_flatten_spec"]


def register_pytree_flatten_spec(cls: type, flatten_fn_spec: Callable, flatten_fn_exact_match_spec: Callable | None = None) -> None:
    """Says how the tracer would take objects of ``cls`` apart."""
