"""Modules of settings, as PyTorch's compiler has them: ``torch._dynamo.config``, ``torch._inductor.config`` and their like.

What they set is how PyTorch's compiler works, and flambeau has another; so they are kept, and change nothing. A name that PyTorch
does not have is refused as there, so that a slip of the pen is found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import ModuleType
from typing import Any

__all__ = ["Group", "Options", "make_options"]


class Group:
    """Settings with a name of their own within a module: ``config.triton.cudagraphs``."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self.__dict__["_name"] = name

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"{self._name}.{name} does not exist")
        self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__dict__.get('_name')}.{name} does not exist", name=name)


class Options(ModuleType):
    """A module whose variables are settings; made of a plain one by :func:`make_options`."""

    _title: str
    _defaults: dict[str, Any]

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self.__dict__:
            raise AttributeError(f"{self._title}.{name} does not exist")
        super().__setattr__(name, value)

    def _place(self, name: str) -> tuple[Any, str]:
        """The object that has a setting, and its name there: ``"triton.cudagraphs"`` is one of a group's."""
        group, _, last = name.rpartition(".")
        holder = self.__dict__.get(group) if group else self
        if name not in self._defaults or holder is None:
            raise AttributeError(f"{self._title}.{name} does not exist")
        return holder, last

    def to_dict(self) -> dict[str, Any]:
        """All settings; those of groups with dots in their names."""
        return {name: getattr(*self._place(name)) for name in self._defaults}

    shallow_copy_dict = to_dict

    def get_config_copy(self) -> dict[str, Any]:
        """A copy of all settings, deep."""
        return deepcopy(self.to_dict())

    def load_config(self, config: dict[str, Any]) -> None:
        """Sets what ``config``, a dict of names, has."""
        for name, value in config.items():
            setattr(*self._place(name), value)

    @contextmanager
    def patch(self, *args: Any, **settings: Any) -> Iterator[None]:
        """Inside, or in a function that is decorated, some have other values.

        ``patch(verbose=True)``, ``patch("triton.cudagraphs", True)`` or ``patch({"verbose": True})``.

        >>> import flambeau as torch
        >>> with torch._dynamo.config.patch(verbose=True):
        ...     print(torch._dynamo.config.verbose)
        True
        """
        given = {args[0]: args[1]} if len(args) == 2 else dict(*args)
        given |= settings
        before = {name: getattr(*self._place(name)) for name in given}
        self.load_config(given)
        try:
            yield
        finally:
            self.load_config(before)


def make_options(module_name: str, title: str, settings: dict[str, Any], groups: dict[str, dict[str, Any]] | None = None) -> None:
    """Turns a module into :class:`Options` with these settings; ``title`` is its name in PyTorch."""
    module = sys.modules[module_name]
    groups = groups or {}
    defaults = settings | {f"{group}.{name}": value for group, inner in groups.items() for name, value in inner.items()}
    module.__dict__.update(settings, _title=title, _defaults=defaults)
    module.__dict__.update({name: Group(f"{title}.{name}", inner) for name, inner in groups.items()})
    module.__class__ = Options
