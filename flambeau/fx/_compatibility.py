"""Marks of what stays as it is from version to version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["compatibility"]


def compatibility(is_backward_compatible: bool) -> Callable[[Any], Any]:
    """A decorator that says whether a function or class will stay as it is; it changes nothing.

    >>> from flambeau.fx._compatibility import compatibility
    >>> @compatibility(is_backward_compatible=True)
    ... def f():
    ...     return 1
    >>> f()
    1
    """

    def mark(f: Any) -> Any:
        f._backwards_compatible = is_backward_compatible
        return f

    return mark
