"""``torch.utils.hooks``: the handles of hooks, and hooks that are not to be saved."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau.core.hooks import RemovableHandle
from flambeau.nn.modules._hooks import BackwardHook

__all__ = ["BackwardHook", "RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


def unserializable_hook(f: Callable) -> Callable:
    """Marks a hook as one that is not saved with its tensor, so that no one is warned of that."""
    f.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return f


def warn_if_has_hooks(tensor: Any) -> None:
    """Warns of the hooks of a tensor that is saved, since they are not, but for those that are marked."""
    for hook in (tensor._backward_hooks or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate the function with "
                "@torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=2,
            )
