"""Neural networks: modules, parameters, functions, initialisation and tools around them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flambeau.nn import attention, functional, init, modules, parallel, parameter, utils
from flambeau.nn.modules import *  # noqa: F403
from flambeau.nn.parallel import DataParallel
from flambeau.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

__all__ = [
    *modules.__all__,
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "attention",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
]


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """What a module's keywords say for the functions that make its tensors: ``device``, ``dtype`` and ``memory_format``.

    Those in ``kwargs["factory_kwargs"]`` are for them where a module has arguments of the same name.

    Raises:
        TypeError: there are others, or one is given twice.
    """
    if kwargs is None:
        return {}
    simple = {"device", "dtype", "memory_format"}
    if unexpected := kwargs.keys() - simple - {"factory_kwargs"}:
        raise TypeError(f"unexpected kwargs {unexpected}")
    found = dict(kwargs.get("factory_kwargs", {}))
    for key in simple & kwargs.keys():
        if key in found:
            raise TypeError(f"{key} specified twice, in **kwargs and in factory_kwargs")
        found[key] = kwargs[key]
    return found


if not TYPE_CHECKING:  # which would take any name for a module

    def __getattr__(name: str) -> ModuleType:
        if name in ("common_types", "grad"):
            return importlib.import_module(f"flambeau.nn.{name}")
        raise AttributeError(f"module 'torch.nn' has no attribute '{name}'", name=name)
