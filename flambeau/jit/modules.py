"""What archives and traces become: modules, objects and functions whose code was read."""

from __future__ import annotations

import ast
from typing import Any

from flambeau.jit.language import Function, Scope
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["RecursiveScriptModule", "ScriptFunction", "ScriptModule", "ScriptObject", "TopLevelTracedModule"]


class ScriptModule(Module):
    """A base class of modules whose methods are marked by :func:`torch.jit.script_method`, and of those that are traced or read."""


class RecursiveScriptModule(ScriptModule):
    """A module of an archive or a trace: parameters, buffers and submodules as any module's, and methods that are read from code."""

    _of_archive = True
    _methods: dict[str, Function] = {}
    _types: dict[str, str] = {}
    _final: dict[str, Any] = {}
    _full_name = ""
    _constants: list[Tensor] = []
    _written: dict[str, Any] | None = None  # what a scripted module was read from

    @classmethod
    def _empty(cls) -> RecursiveScriptModule:
        self = cls.__new__(cls)
        Module.__init__(self)
        self.__dict__.update(cls._final)
        return self

    @property
    def original_name(self) -> str:
        """The name of the class that was traced or scripted."""
        return self._full_name.rpartition(".")[2]

    @property
    def code(self) -> str:
        """The text of ``forward``."""
        return self._methods["forward"].source if "forward" in self._methods else ""

    graph = code

    def save(self, f: Any, **settings: Any) -> None:
        """As :func:`torch.jit.save`."""
        from flambeau.jit.saving import save

        save(self, f, **settings)

    def extra_repr(self) -> str:
        return f"original_name={self.original_name}"

    def _get_name(self) -> str:
        return "RecursiveScriptModule"


class TopLevelTracedModule(RecursiveScriptModule):
    """What :func:`torch.jit.trace` makes of a module."""

    def _get_name(self) -> str:
        return type(self).__name__ if type(self)._methods else self.original_name


def made_of(
    module: Module, name: str, methods: dict[str, str], constants: list[Tensor], find: Any = lambda name: None
) -> RecursiveScriptModule:
    """A module with the state of another one, shared with it, and methods of a text."""
    scope = Scope(constants, find)
    functions = {}
    for key, text in methods.items():
        code = ast.parse(text).body
        if len(code) != 1 or not isinstance(code[0], ast.FunctionDef):
            raise RuntimeError(f"the code of {name}.{key} is no function")
        functions[key] = Function(code[0], scope)
    settings: dict[str, Any] = {"_methods": functions, "_full_name": name, "_constants": constants}
    settings.update({key: as_method(function) for key, function in functions.items()})
    kind: Any = type(name, (TopLevelTracedModule,), settings)
    made = kind._empty()
    made.__dict__.update({k: v for k, v in module.__dict__.items() if not k.startswith("_") or isinstance(v, Tensor)})
    made.__dict__["training"] = module.training
    made._parameters.update(module._parameters)
    made._buffers.update(module._buffers)
    made._non_persistent_buffers_set = set(module._non_persistent_buffers_set)
    for key, inner in module._modules.items():
        made._modules[key] = inner if inner is None or is_complete(inner) else made_of(inner, type(inner).__name__, {}, constants)
    return made


def is_complete(module: Module) -> bool:
    """Whether a module is one that was read, or a layer of ``torch.nn`` with code of its own."""
    return module.__dict__.get("_complete", False)


def as_method(function: Function) -> Any:
    """A function of code as a method."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = function.__name__
    return method


class ScriptObject:
    """An object of a class of an archive that is no module."""

    _of_archive = True
    _methods: dict[str, Function] = {}
    _types: dict[str, str] = {}

    @classmethod
    def _empty(cls) -> ScriptObject:
        return object.__new__(cls)

    def __new__(cls, *args: Any) -> ScriptObject:
        return object.__new__(cls)


class ScriptMethod:
    """A method of a module that PyTorch has compiled. Methods are Python's here, so nothing is one."""


class ScriptFunction:
    """A function of an archive or a trace."""

    _written: dict[str, Any] | None = None

    def __init__(self, function: Function, name: str, constants: list[Tensor] | None = None) -> None:
        self._function, self.qualified_name, self._constants = function, name, constants or []
        self.__name__ = function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    @property
    def code(self) -> str:
        """Its text."""
        return self._function.source

    graph = code

    def save(self, f: Any, **settings: Any) -> None:
        """As :func:`torch.jit.save`."""
        from flambeau.jit.saving import save

        save(self, f, **settings)
