"""``torch.return_types``: the named tuples that ops with several results return.

>>> import flambeau as torch
>>> type(torch.ones(2).max(0)) is torch.return_types.max
True
"""

from __future__ import annotations

from typing import Any

from flambeau.core import nests
from flambeau.core.results import by_name, written_type
from flambeau.ops import registry

__all__ = ["pytree_register_structseq"]


def pytree_register_structseq(cls: type) -> None:
    """Makes a named tuple of an op a nest of its own, as those of all ops are here."""
    nests.register_pytree_node(cls, lambda t: (list(t), None), lambda values, context: cls(values))


def _find(name: str) -> type | None:
    for full in (name, f"aten.{name}", "linalg." + name.removeprefix("linalg_")):
        op = registry.get(full)
        if op is not None and op.outputs:
            return op.named_tuple()
    if name in by_name:
        return by_name[name]
    kind = _find(name[:-4]) if name.endswith("_out") else None
    return None if kind is None else written_type(kind)


def _all() -> list[type]:
    """All types, in the order of their names."""
    named = {
        op.named_tuple().__name__
        for op in registry.values()
        if op.outputs and op.form != "view" and not op.short_name.startswith("_")
    } | set(by_name)
    return [kind for name in sorted(named) if not name.startswith("_") and (kind := _find(name)) is not None]


def __getattr__(name: str) -> Any:
    kind = _all() if name == "all_return_types" else _find(name)
    if kind is None:
        raise AttributeError(f"module 'torch.return_types' has no attribute '{name}'", name=name)
    return kind
