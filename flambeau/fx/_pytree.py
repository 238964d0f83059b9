"""How arguments of traced functions are taken apart by a structure that is known: nests whose types programs may add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core.nests import TreeSpec, tree_flatten

__all__ = ["SUPPORTED_NODES", "register_pytree_flatten_spec", "tree_flatten_spec"]

SUPPORTED_NODES: dict[type, Callable[[Any, TreeSpec], list]] = {}


def register_pytree_flatten_spec(cls: type, flatten_fn_spec: Callable, flatten_fn_exact_match_spec: Callable | None = None) -> None:
    """Says how objects of ``cls`` are taken apart: ``flatten_fn_spec(x, spec)`` returns their parts."""
    SUPPORTED_NODES[cls] = flatten_fn_spec


def tree_flatten_spec(pytree: Any, spec: TreeSpec) -> list[Any]:
    """The leaves of a nest of a known structure."""
    if spec.is_leaf():
        return [pytree]
    if spec.type in SUPPORTED_NODES:
        parts = SUPPORTED_NODES[spec.type](pytree, spec)
        return [leaf for part, child in zip(parts, spec.children_specs) for leaf in tree_flatten_spec(part, child)]
    return tree_flatten(pytree)[0]
