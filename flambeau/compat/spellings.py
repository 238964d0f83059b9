"""Modules of PyTorch's layout, old and new, whose names live elsewhere in flambeau."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

# PyTorch's module -> the flambeau modules where its names are looked up, in this order.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "torch.autograd.variable": ("flambeau.autograd",),
}


class SpelledModule(ModuleType):
    """A module without contents of its own: its names are those of other modules.

    It is an object apart, so that importing ``torch.a.b`` (which sets ``b`` on ``torch.a``) leaves those others alone.
    """

    def __init__(self, name: str, homes: tuple[str, ...]) -> None:
        super().__init__(name, f"Names of {', '.join(homes)} where PyTorch programs look for them.")
        self.__path__: list[str] = []
        self._homes = tuple(importlib.import_module(home) for home in homes)

    def __getattr__(self, name: str) -> Any:
        for home in self._homes:
            value = home.__dict__.get(name, self)  # the dict alone: a home's __getattr__ would speak in its own name
            if value is not self:
                return value
        raise AttributeError(
            f"module '{self.__name__}' has no attribute '{name}': flambeau has no such name", name=name
        )

    def __dir__(self) -> list[str]:
        return sorted({name for home in self._homes for name in dir(home) if not name.startswith("__")})
