"""``torch.jit`` without a compiler: scripted and traced functions are the Python functions that they were made of.

Programs are recorded and planned without being asked, so there is nothing that scripting would make faster. What needs
TorchScript's file format (``save``, ``load``) is not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Final

from flambeau.jit.modules import RecursiveScriptModule, ScriptFunction, ScriptModule
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import is_lazy

__all__ = [
    "Attribute", "Final", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "ignore", "is_scripting",
    "is_tracing", "isinstance", "optimize_for_inference", "optimized_execution", "script", "script_if_tracing",
    "script_method", "trace", "trace_module", "unused",
]  # fmt: skip

_isinstance = isinstance


def load(f: Any, map_location: Any = None, _extra_files: dict[str, Any] | None = None, _restore_shapes: bool = False) -> Any:
    """Reads an archive of ``torch.jit.save``, flambeau's or PyTorch's, from a path or an open binary file.

    Nothing of the file is run as Python: its code is a small language (:mod:`flambeau.jit.language`) that is read statement by
    statement, and can only call operators on tensors and plain values. What it does not have raises ``RuntimeError``.

    >>> import flambeau as torch, io
    >>> f = io.BytesIO()
    >>> net = torch.nn.Linear(2, 2)
    >>> torch.jit.save(torch.jit.trace(net, torch.ones(1, 2)), f)
    >>> _ = f.seek(0)
    >>> torch.equal(torch.jit.load(f)(torch.ones(1, 2)), net(torch.ones(1, 2)))
    True

    Source: https://docs.pytorch.org/docs/stable/generated/torch.jit.load.html
    """
    from flambeau.jit.archive import read
    from flambeau.serialization.files import Seekable, file_path

    path = file_path(f)
    if path is None:
        return read(Seekable.of(f), map_location, _extra_files)  # type: ignore[arg-type]
    if not os.path.exists(path):
        raise ValueError(f"The provided filename {path} does not exist")
    if os.path.isdir(path):
        raise ValueError(f"The provided filename {path} is a directory")
    with open(path, "rb") as file:
        return read(file, map_location, _extra_files)


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
