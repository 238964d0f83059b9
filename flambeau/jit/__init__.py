"""``torch.jit`` without a compiler: scripted and traced functions are the Python functions that they were made of.

Programs are recorded and planned without being asked, so there is nothing that scripting would make faster. What needs
TorchScript's file format (``save``, ``load``) is not there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from types import FunctionType
from typing import Any, Final

import flambeau
from flambeau.jit.modules import RecursiveScriptModule, ScriptFunction, ScriptModule, TopLevelTracedModule
from flambeau.jit.tracing import TracingCheckError
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import is_lazy

__all__ = [
    "Attribute", "CompilationUnit", "Error", "Final", "ScriptWarning", "TopLevelTracedModule", "TracedModule", "TracingCheckError", "enable_onednn_fusion", "export_opnames", "fork", "interface", "onednn_fusion_enabled", "run_frozen_optimizations", "set_fusion_strategy", "strict_fusion", "wait", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "ignore", "is_scripting",
    "is_tracing", "isinstance", "load", "optimize_for_inference", "optimized_execution", "save", "script", "script_if_tracing",
    "script_method", "trace", "trace_module", "unused",
]  # fmt: skip

_isinstance = isinstance
TracedModule = TopLevelTracedModule


class TracerWarning(Warning):
    """Of what a trace cannot follow: a value that became a Python number."""

    @staticmethod
    def ignore_lib_warnings() -> None:
        """Has warnings from PyTorch's own files passed over; there are none here."""


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
    """``obj`` (a function, class or module), which runs as the Python that it is, and can be saved by :func:`save`.

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
        return obj if _isinstance(obj, (RecursiveScriptModule, _ScriptedModule)) else _scripted(obj)
    if _isinstance(obj, FunctionType):
        obj._scripted = True  # type: ignore[attr-defined]
        obj.save = lambda f, **settings: save(obj, f, **settings)  # type: ignore[attr-defined]
    return obj


class _ScriptedModule(ScriptModule):
    """What :func:`script` adds to the class of a module: how it is saved, and its code."""

    _scripted = True

    def save(self, f: Any, **settings: Any) -> None:
        """As :func:`torch.jit.save`."""
        save(self, f, **settings)

    @property
    def original_name(self) -> str:
        return self._original_class.__name__  # type: ignore[attr-defined, no-any-return]

    @property
    def code(self) -> str:
        """The text of ``forward``, as it is saved."""
        from flambeau.jit.scripting import Script, methods_of

        return methods_of(self, Script())["forward"]

    graph = code


def _scripted(module: Module) -> Module:
    """The module, with the same state, of a class that can be saved."""
    cls = type(module)
    made: Any = object.__new__(
        type(cls.__name__, (_ScriptedModule, cls), {"_original_class": cls, "__module__": cls.__module__, "__doc__": cls.__doc__})
    )
    made.__dict__.update(module.__dict__)
    return made


def trace(
    func: Any, example_inputs: Any = None, optimize: Any = None, check_trace: bool = True, check_inputs: Any = None, check_tolerance: float = 1e-5,
    strict: bool = True, _force_outplace: bool = False, _module_class: Any = None, _compilation_unit: Any = None, example_kwarg_inputs: dict | None = None,
    _store_inputs: bool = True,
) -> Any:  # fmt: skip
    """What ``func``, a module or a function, calls for example inputs, as a module or function that calls the same again.

    Branches are those that the example took; sizes may be others. A traced module shares the parameters of ``func`` and can be
    saved by :func:`save`. Where something cannot be traced (an op is given an object that code cannot name), ``RuntimeError``
    says what.

    Args:
        check_trace: run both again, and warn where they do not compute the same.
        check_inputs: lists of arguments to check with; by default the example.

    >>> import flambeau as torch
    >>> traced = torch.jit.trace(lambda x: x.relu() + 1, torch.ones(2))
    >>> print(traced.code)
    def forward(argument_0):
        _1_0 = ops.flambeau.relu(argument_0)
        _2_1 = ops.flambeau.add(_1_0, 1)
        return _2_1
    >>> traced(torch.tensor([-1.0, 1.0]))
    tensor([1., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.jit.trace.html
    """
    if _isinstance(func, (ScriptModule, ScriptFunction)):
        return func
    if example_inputs is None and example_kwarg_inputs is None:
        raise RuntimeError("example_kwarg_inputs should be a dict, or example_inputs be given")
    args = () if example_inputs is None else example_inputs if _isinstance(example_inputs, tuple) else (example_inputs,)
    if _isinstance(example_inputs, list):
        args = tuple(example_inputs)
    kwargs = dict(example_kwarg_inputs or {})
    root = func if _isinstance(func, Module) else getattr(func, "__self__", None)
    root = root if _isinstance(root, Module) else None
    return _traced(func, root, {"forward": (func, args, kwargs)}, check_trace, check_inputs, check_tolerance)


def _traced(func: Any, root: Any, calls: dict, check_trace: bool, check_inputs: Any, tolerance: float) -> Any:
    from flambeau.jit import tracing
    from flambeau.jit.modules import made_of

    made: dict[str, tracing.Trace] = {}
    constants: list = []
    for name, (function, args, kwargs) in calls.items():
        found, _, reason = tracing.record(function, root, args, kwargs, name)
        if found is None:
            raise RuntimeError(f"Tracing failed: {reason}. Call the module itself; torch.jit.script keeps it as it is")
        if constants:
            raise RuntimeError("Tracing failed: several methods with constants")
        made[name], constants = found, found.constants
    if root is None:
        result: Any = ScriptFunction(made["forward"].function, getattr(func, "__name__", "forward"), constants)
    else:
        result = made_of(root, type(root).__name__, {name: t.source for name, t in made.items()}, constants)
    if check_trace:
        from flambeau.autograd import no_grad

        function, args, kwargs = next(iter(calls.values()))
        for given in [args] if check_inputs is None else check_inputs:
            given = given if _isinstance(given, tuple) else (given,)
            with no_grad():
                state = flambeau.get_rng_state()
                theirs = function(*given, **kwargs)
                flambeau.set_rng_state(state)
                own = getattr(result, next(iter(calls)))(*given, **kwargs) if root is not None else result(*given, **kwargs)
                tracing.check(own, theirs, tolerance, tolerance)
    return result


def trace_module(
    mod: Module,
    inputs: dict,
    optimize: Any = None,
    check_trace: bool = True,
    check_inputs: Any = None,
    check_tolerance: float = 1e-5,
    **settings: Any,
) -> Any:
    """As :func:`trace`, for methods of a module: ``inputs`` are example inputs by the names of methods."""
    calls: dict[str, tuple] = {}
    for name, given in inputs.items():
        calls[name] = (mod if name == "forward" else getattr(mod, name), given if _isinstance(given, tuple) else (given,), {})
    return _traced(mod, mod, calls, check_trace, None, check_tolerance)


def save(m: Any, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """Writes what :func:`trace` or :func:`script` made to ``f``, a path or an open binary file, for :func:`load`.

    Flambeau's archives are read by flambeau; those of PyTorch are read too.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.jit.save.html
    """
    from flambeau.jit import saving

    saving.save(m, f, _extra_files)


def script_method(function: Callable) -> Callable:
    return function


script_if_tracing = _script_if_tracing = _overload = _overload_method = script_method


def export(function: Callable) -> Callable:
    """Marks a method that is saved beside ``forward``."""
    function._torchscript_modifier = "export"  # type: ignore[attr-defined]
    return function


def _copy_to_script_wrapper(function: Callable) -> Callable:
    """Marks a method that scripted modules have as it is in Python."""
    function._torchscript_modifier = "_copy_to_script_wrapper"  # type: ignore[attr-defined]
    return function


def unused(function: Callable) -> Callable:
    """Marks a method that TorchScript would leave out; here it stays."""
    return function


def ignore(drop: Any = False, **settings: Any) -> Any:
    """Marks a method that TorchScript would not compile; a decorator with or without arguments."""
    return drop if callable(drop) else lambda function: function


def freeze(mod: Module, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Module:
    """A copy of the module, which must be in evaluation mode; its parameters are constants, of which no gradient is taken.

    >>> import flambeau as torch
    >>> frozen = torch.jit.freeze(torch.jit.script(torch.nn.Linear(2, 1).eval()))
    >>> frozen(torch.ones(1, 2)).requires_grad
    False
    """
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval() on your module before freezing."
        )
    return deepcopy(mod).requires_grad_(False)


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
    """Whether a program is being traced."""
    from flambeau.jit import tracing

    return tracing.is_tracing()


def annotate(the_type: Any, the_value: Any) -> Any:
    """``the_value``."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    return _isinstance(obj, target_type)


class Attribute:
    """A value with a type that TorchScript should take it for."""

    def __init__(self, value: Any, type: Any) -> None:
        self.value, self.type = value, type


# --- tasks -------------------------------------------------------------------------------------------------------


def fork(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """A future of ``func(*args, **kwargs)``, which is computed at once.

    >>> import flambeau as torch
    >>> torch.jit.wait(torch.jit.fork(torch.add, torch.ones(1), 1))
    tensor([2.])
    """
    from flambeau.futures import Future

    future: Any = Future()
    future.set_result(func(*args, **kwargs))
    return future


def wait(future: Any) -> Any:
    """The value of a future of :func:`fork`."""
    return future.wait()


class Error(RuntimeError):
    """An error of scripted code."""


class ScriptWarning(Warning):
    """A warning about scripted code."""


def export_opnames(m: Any) -> list[str]:
    """The names of the operators that a traced module calls."""
    import re

    return sorted({f"aten::{name.rpartition('.')[2]}" for name in re.findall(r"ops\.flambeau\.([\w.]+)\(", m.code)})


def enable_onednn_fusion(enabled: bool) -> None:
    """There is no fuser of traces: plans are fused as all programs are."""


def onednn_fusion_enabled() -> bool:
    """False."""
    return False


def set_fusion_strategy(strategy: Any) -> list:
    """Sets and returns what PyTorch's executor would specialise; here plans are fused as all programs are."""
    from flambeau._C.executor import functions

    return functions["_jit_set_fusion_strategy"](strategy)


def run_frozen_optimizations(mod: Any, optimize_numerics: bool = True, preserved_methods: Any = None) -> None:
    """Nothing is left to be done: plans are made when the module runs."""


def interface(obj: type) -> type:
    """Marks a class as a description of others; they are not checked."""
    return obj


class strict_fusion:  # noqa: N801  # PyTorch's name
    """Inside, TorchScript must fuse what it runs; as in PyTorch it means nothing outside of scripts, which it says."""

    def __init__(self) -> None:
        if not is_scripting():
            warnings.warn("Only works in script mode", stacklevel=2)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


class CompilationUnit:
    """Refuses code as text: flambeau scripts what is Python."""

    def __init__(self, lang: str | None = None, _frames_up: int = 0) -> None:
        raise NotImplementedError(
            "torch.jit.CompilationUnit: flambeau does not compile text; define functions in Python and use torch.jit.script"
        )


def __getattr__(name: str) -> Any:
    if name == "Future":
        return import_module("flambeau.futures").Future
    if name == "_get_trace_graph":  # it names operators, which the floor above has
        return import_module("flambeau._C.graph")._get_trace_graph
    raise AttributeError(f"module 'torch.jit' has no attribute '{name}'", name=name)
