"""MPI that starts when it is used, not when ``mpi4py.MPI`` is imported.

MPI starts once in a process, for a set of processes that cannot change. Programs import mpi4py to see whether a launcher of MPI's
has started them (Lightning does so before it makes a group), and the import alone would start it for this process alone: no group
of several could be made any more. So, where there is no launcher, the import starts nothing; a world that is asked for its size
answers 1, and any other use starts MPI as the import would have done.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["LAUNCHERS", "postpone"]

LAUNCHERS = ("PMI_RANK", "PMI_FD", "PMI_PORT", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE")
"""What launchers of MPI's (``mpiexec``, ``srun``) leave in the environment."""
_MPI = "mpi4py.MPI"
_ASK_NOTHING = frozenset(
    [
        "Is_initialized",
        "Is_finalized",
        "Init",
        "Init_thread",
        "Intracomm",
        "Comm",
        "Get_version",
        "Get_library_version",
    ]
)
_OF_ONE_PROCESS = {"Get_size": lambda: 1, "Get_rank": lambda: 0, "size": 1, "rank": 0}


def postpone() -> None:
    """Has MPI start when it is used, if it has not been imported and no launcher has started this process."""
    if _MPI not in sys.modules and not any(name in os.environ for name in LAUNCHERS):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != _MPI:
            return None
        sys.meta_path.remove(self)
        settings = sys.modules["mpi4py"].rc
        if settings.initialize is not True:  # the program says so itself
            return None
        settings.initialize = False
        spec = importlib.util.find_spec(_MPI)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.__class__ = _Module


class _Module(ModuleType):
    """``mpi4py.MPI`` before MPI has started."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("__") or isinstance(value, type) or name in _ASK_NOTHING:
            return value
        names = super().__getattribute__("__dict__")
        if names["Is_initialized"]():
            super().__setattr__("__class__", ModuleType)
            return value
        if name == "COMM_WORLD":
            return _World(names)
        names["Init_thread"]()
        return value


class _World:
    """``COMM_WORLD`` before MPI has started: a process alone."""

    def __init__(self, module: dict[str, Any]) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if name in _OF_ONE_PROCESS and not self._module["Is_initialized"]():
            return _OF_ONE_PROCESS[name]
        if not self._module["Is_initialized"]():
            self._module["Init_thread"]()
        return getattr(self._module["COMM_WORLD"], name)
