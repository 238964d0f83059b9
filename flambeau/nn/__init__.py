"""Neural networks: modules, parameters, functions, initialisation and tools around them."""

from __future__ import annotations

import importlib
from types import ModuleType

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


def __getattr__(name: str) -> ModuleType:
    if name in ("common_types", "grad"):
        return importlib.import_module(f"flambeau.nn.{name}")
    raise AttributeError(f"module 'torch.nn' has no attribute '{name}'", name=name)
