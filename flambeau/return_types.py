"""``torch.return_types``: the named tuples that ops with several results return.

>>> import flambeau as torch
>>> type(torch.ones(2).max(0)) is torch.return_types.max
True
"""

from __future__ import annotations

from flambeau.ops import registry

__all__: list[str] = []


def __getattr__(name: str) -> type:
    for full in (name, f"aten.{name}", "linalg." + name.removeprefix("linalg_")):
        op = registry.get(full)
        if op is not None and op.outputs:
            return op.named_tuple()
    raise AttributeError(f"module 'torch.return_types' has no attribute '{name}'", name=name)
