"""The handle that registering a hook returns, for tensors, modules and optimizers alike."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable


class RemovableHandle:
    """Takes a hook away again: ``remove()``, or leaving a ``with`` block.

    Args:
        hooks_dict: the registry in which the hook stands under the handle's ``id``.
        extra_dict: one or more registries in which the same id may stand.
    """

    next_id = 0

    def __init__(self, hooks_dict: dict, *, extra_dict: dict | Iterable[dict] | None = None) -> None:
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        # Weak: a handle that is kept does not keep what it was registered on.
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        extra = [extra_dict] if isinstance(extra_dict, dict) else extra_dict or ()
        self.extra_dict_ref = tuple([weakref.ref(registry) for registry in extra])

    @staticmethod
    def add(hooks: dict, hook: Callable) -> RemovableHandle:
        """Registers ``hook`` and returns its handle."""
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    def remove(self) -> None:
        """Take the hook out of its registries; a second call does nothing."""
        for reference in (self.hooks_dict_ref, *self.extra_dict_ref):
            registry = reference()
            if registry is not None:
                registry.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def __getstate__(self) -> tuple:
        return self.hooks_dict_ref(), self.id, tuple([reference() for reference in self.extra_dict_ref])

    def __setstate__(self, state: tuple) -> None:
        hooks, self.id, extra = state
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple([weakref.ref(OrderedDict() if registry is None else registry) for registry in extra])
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)
