"""The handle that registering a hook returns, for tensors, modules and optimizers alike."""

from __future__ import annotations

import weakref
from collections.abc import Iterable


class RemovableHandle:
    """Takes a hook away again: ``remove()``, or leaving a ``with`` block.

    Args:
        hooks_dict: the registry in which the hook stands under the handle's ``id``.
        extra_dict: one or more registries in which the same id may stand.
    """

    next_id = 0

    def __init__(self, hooks_dict: dict, *, extra_dict: dict | Iterable[dict] = ()) -> None:
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        extra = [extra_dict] if isinstance(extra_dict, dict) else extra_dict
        # Weak: a handle that is kept does not keep what it was registered on.
        self._registries = [weakref.ref(registry) for registry in (hooks_dict, *extra)]

    def remove(self) -> None:
        """Take the hook out of its registries; a second call does nothing."""
        for reference in self._registries:
            registry = reference()
            if registry is not None:
                registry.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def __getstate__(self) -> tuple:
        return self.id, [reference() for reference in self._registries]

    def __setstate__(self, state: tuple) -> None:
        self.id, registries = state
        self._registries = [weakref.ref(r) for r in registries if r is not None]
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)
