"""``torch.jit`` without a compiler: scripted and traced functions are the Python functions that they were made of.

Programs are recorded and planned without being asked, so there is nothing that scripting would make faster. What needs
TorchScript's file format (``save``, ``load``) is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Final

from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import is_lazy

__all__ = [
    "Attribute", "Final", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "ignore", "is_scripting",
    "is_tracing", "isinstance", "optimize_for_inference", "optimized_execution", "script", "script_if_tracing",
    "script_method", "trace", "trace_module", "unused",
]  # fmt: skip

_isinstance = isinstance


class ScriptModule(Module):
    """A base class for modules whose methods are marked by :func:`script_method`; other modules are none, scripted or not."""


class ScriptFunction:
    """What PyTorch makes of a scripted function. Here it stays the function that it was, so nothing is an instance."""




def script(obj: Any, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> Any:
    """Returns ``obj`` (a function, class or module) as it is.

    >>> import flambeau as torch
    >>> @torch.jit.script
    ... def double(x):
    ...     return 2 * x
    >>> double(torch.ones(1))
    tensor([2.])
    """
    if _isinstance(obj, Module):
        lazy = [name for name, value in [*obj.named_parameters(), *obj.named_buffers()] if is_lazy(value)]
        if lazy:
            raise RuntimeError(f"{type(obj).__name__!r} has uninitialized parameters {lazy}. Did you forget to run a forward pass?")
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **settings: Any) -> Any:
    """Returns ``func`` as it is: unlike a trace, it still takes every branch as its arguments ask."""
    return func


def trace_module(mod: Module, inputs: dict, **settings: Any) -> Module:
    """Returns the module as it is."""
    return mod


def script_method(function: Callable) -> Callable:
    return function


script_if_tracing = export = script_method


def unused(function: Callable) -> Callable:
    """Marks a method that TorchScript would leave out; here it stays."""
    return function


def ignore(drop: Any = False, **settings: Any) -> Any:
    """Marks a method that TorchScript would not compile; a decorator with or without arguments."""
    return drop if callable(drop) else lambda function: function


def freeze(mod: Module, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Module:
    """The module, which must be in evaluation mode."""
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval() on your module before "
            "freezing."
        )
    return mod


def optimize_for_inference(mod: Module, other_methods: Any = None) -> Module:
    return mod


@contextmanager
def optimized_execution(should_optimize: bool):
    """Changes nothing."""
    yield


def is_scripting() -> bool:
    """False: code always runs as Python."""
    return False


def is_tracing() -> bool:
    return False


def annotate(the_type: Any, the_value: Any) -> Any:
    """``the_value``."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    return _isinstance(obj, target_type)


class Attribute:
    """A value with a type that TorchScript should take it for."""

    def __init__(self, value: Any, type: Any) -> None:
        self.value, self.type = value, type
