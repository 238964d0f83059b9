"""What archives become: modules, objects and functions whose code was read."""

from __future__ import annotations

from typing import Any

from flambeau.jit.language import Function
from flambeau.nn.modules.module import Module

__all__ = ["RecursiveScriptModule", "ScriptFunction", "ScriptModule", "ScriptObject"]


class ScriptModule(Module):
    """A base class of modules whose methods are marked by :func:`torch.jit.script_method`, and of those that are read from archives."""


class RecursiveScriptModule(ScriptModule):
    """A module of an archive: parameters, buffers and submodules as any module's, and methods that are read from code."""

    _of_archive = False
    _methods: dict[str, Function] = {}
    _types: dict[str, str] = {}
    _final: dict[str, Any] = {}
    _full_name = ""

    @classmethod
    def _empty(cls) -> RecursiveScriptModule:
        self = cls.__new__(cls)
        Module.__init__(self)
        self.__dict__.update(cls._final)
        return self

    @property
    def original_name(self) -> str:
        """The name of the class that was scripted."""
        return self._full_name.rpartition(".")[2]

    @property
    def code(self) -> str:
        """The text of ``forward``."""
        return self._methods["forward"].source if "forward" in self._methods else ""

    def save(self, f: Any, **settings: Any) -> None:
        """As :func:`torch.jit.save`."""
        from flambeau import jit

        jit.save(self, f, **settings)

    def extra_repr(self) -> str:
        return f"original_name={self.original_name}"

    def _get_name(self) -> str:
        return "RecursiveScriptModule"


class ScriptObject:
    """An object of a class of an archive that is no module."""

    _of_archive = True
    _methods: dict[str, Function] = {}

    @classmethod
    def _empty(cls) -> ScriptObject:
        return object.__new__(cls)

    def __new__(cls, *args: Any) -> ScriptObject:
        return object.__new__(cls)


class ScriptFunction:
    """A function of an archive."""

    def __init__(self, function: Function, name: str) -> None:
        self._function, self.qualified_name = function, name
        self.__name__ = function.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    @property
    def code(self) -> str:
        """Its text."""
        return self._function.source
