"""Finds ``torch.x.y`` as ``flambeau.x.y``: one module object under two names."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from types import CodeType, ModuleType
from typing import Any

from flambeau.compat.children import disguise
from flambeau.compat.homes import MOVED, named_as_in_torch
from flambeau.compat.missing import explain_missing_names, missing_module
from flambeau.compat.spellings import SAME, SPELLINGS, SpelledModule, give_further_names, is_package

# Rooms of flambeau's house that PyTorch does not have, or that have the name of something else there (torch.tensor is
# a function).
_PRIVATE = frozenset(
    {"__main__", "checkpoint", "cli", "compat", "core", "dispatch", "engine", "examples", "ops", "serve", "tensor", "weights"}
)


def is_public(name: str) -> bool:
    """Whether `name` is flambeau, or a module of it that programs may know by a torch name."""
    parts = name.split(".")
    return parts[0] == "flambeau" and not (len(parts) > 1 and parts[1] in _PRIVATE)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:  # what should be its parent is no package
        if error.name is not None and name.startswith(error.name):
            return False
        raise


def _has_parts(real: str, torch_name: str) -> bool:
    """Whether modules can be imported from below it; others can be run as programs."""
    spec = importlib.util.find_spec(real)
    assert spec is not None
    return spec.submodule_search_locations is not None or is_package(torch_name)


def _part_of(module: ModuleType, name: str) -> ModuleType | None:
    """The module of flambeau that is called so in `module`, which ``from module import name`` asks for before it looks for files."""
    if name.startswith("__") or "__path__" not in vars(module) or module.__spec__ is None:
        return None
    full = f"{module.__spec__.name}.{name}"
    return importlib.import_module(full) if is_public(full) and _exists(full) else None


def known_as_in_torch(module: ModuleType, torch_name: str) -> None:
    """Gives a module of flambeau PyTorch's name, what PyTorch has there besides, and its place among the modules that are imported.

    Python looks there for the names in annotations of classes that say that they are defined there.
    """
    sys.modules.setdefault(torch_name, module)
    if module.__name__.partition(".")[0] == "flambeau":
        module.__name__ = torch_name  # as programs compare it; the import system goes by __spec__
    give_further_names(module, torch_name, _part_of)
    if not hasattr(module, "__path__") and is_package(torch_name):
        module.__path__ = []


def alias_hidden_modules(package: ModuleType, torch_name: str) -> None:
    """Makes known the modules of ``package`` whose names there mean functions, as ``gradcheck`` in ``torch.autograd``.

    Python would put such a module in the place of the function when it is imported under its torch name.
    """
    spec = package.__spec__
    own = package.__name__ if spec is None else spec.name
    for name, value in list(vars(package).items()):
        real = f"{own}.{name}"
        module = sys.modules.get(real)
        if module is not None and module is not value and is_public(real):
            explain_missing_names(module, f"{torch_name}.{name}")
            sys.modules.setdefault(f"{torch_name}.{name}", module)


class _SameModule(importlib.abc.Loader):
    """Loads a module by handing over the one that there is."""

    def __init__(self, real: str) -> None:
        self.real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.real)
        self.real_spec = module.__spec__
        return module

    def get_code(self, fullname: str) -> CodeType | None:
        """For ``python -m torch.x.y``."""
        spec = importlib.util.find_spec(self.real)
        return None if spec is None else getattr(spec.loader, "get_code")(self.real)  # noqa: B009

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        name = module.__spec__.name
        module.__spec__ = self.real_spec  # the import system has put the torch name there
        explain_missing_names(module, name)
        alias_hidden_modules(module, name)


class _Named(importlib.abc.Loader):
    """Loads one of flambeau's modules; what it defines is named as in PyTorch."""

    def __init__(self, own: importlib.abc.Loader) -> None:
        self.own = own

    def __getattr__(self, name: str) -> Any:  # what else loaders are asked for: code, source, files
        return getattr(self.own, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self.own
        self.own.exec_module(module)
        named_as_in_torch(module, is_public(spec.name))
        if is_public(spec.name):
            known_as_in_torch(module, spec.name.replace("flambeau", "torch", 1))
            explain_missing_names(module, spec.name.replace("flambeau", "torch", 1))


class _Spelled(importlib.abc.Loader):
    """Loads a module of PyTorch's layout whose names live elsewhere in flambeau."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return SpelledModule(spec.name, SPELLINGS[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        explain_missing_names(module, module.__name__)


class _Spawn(importlib.abc.Loader):
    """Loads ``multiprocessing.spawn``, and has it hand the disguise on."""

    def __init__(self, own: importlib.abc.Loader) -> None:
        self.own = own

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.own.exec_module(module)
        disguise(module)


class TorchFinder(importlib.abc.MetaPathFinder):
    """A ``sys.meta_path`` entry that answers for ``torch`` and everything below it, for ``functorch``, and for what starts new
    processes."""

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """The installed package ``torch``, of whose version libraries ask ``importlib.metadata``."""
        if getattr(context, "name", None) == "torch":
            from flambeau.compat.package import TorchDistribution  # importlib.metadata would slow every start

            yield TorchDistribution()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "multiprocessing.spawn":
            spec = importlib.machinery.PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _Spawn(spec.loader)
            return spec
        top, _, rest = fullname.partition(".")
        if top == "flambeau":
            spec = importlib.machinery.PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None and (is_public(fullname) or fullname in MOVED):
                spec.loader = _Named(spec.loader)
            return spec
        if top != "torch" and fullname not in SPELLINGS:
            return None
        real = SAME.get(fullname) or (f"flambeau.{rest}" if rest else "flambeau")
        if top == "torch" and is_public(real) and _exists(real):
            return importlib.machinery.ModuleSpec(fullname, _SameModule(real), is_package=_has_parts(real, fullname))
        if fullname in SPELLINGS:
            return importlib.machinery.ModuleSpec(fullname, _Spelled(), is_package=True)
        raise missing_module(fullname)
