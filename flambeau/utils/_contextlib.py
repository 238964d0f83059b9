"""``torch.utils._contextlib``: see :mod:`flambeau.core.contexts`."""

from __future__ import annotations

from flambeau.core.contexts import _DecoratorContextManager, _NoParamDecoratorContextManager, context_decorator

__all__ = ["_DecoratorContextManager", "_NoParamDecoratorContextManager", "context_decorator"]
