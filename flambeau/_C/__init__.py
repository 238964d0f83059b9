"""Names that libraries take from PyTorch's compiled part."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from flambeau.core.device import device
from flambeau.core.dtypes import dtype
from flambeau.core.memory_format import layout, memory_format
from flambeau.core.random import Generator
from flambeau.core.size import Size
from flambeau.tensor.attributes import TensorBase
from flambeau.tensor.default_device import get_default_device
from flambeau.tensor.overriding import DisableTorchFunction, DisableTorchFunctionSubclass, state
from flambeau.tensor.tensor import disabled_torch_function as _disabled_torch_function_impl

__all__ = [
    "_disabled_torch_function_impl", "DisableTorchFunction", "DisableTorchFunctionSubclass", "Generator", "Size", "TensorBase", "device", "dtype", "layout", "memory_format",
]  # fmt: skip


_TensorMeta = type(TensorBase)


def _is_torch_function_enabled() -> bool:
    """Whether classes of tensors are asked."""
    return state.subclasses


def _is_torch_function_all_disabled() -> bool:
    """Whether nobody is asked, modes included."""
    return not state.functions


def _len_torch_function_stack() -> int:
    """How many modes are on."""
    return len(state.modes)


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _get_tracing_state() -> Any:
    """Who writes down what is called, while ``torch.jit._get_trace_graph`` runs a module; else ``None``."""
    graph = sys.modules.get("flambeau._C.graph")
    return graph and graph.tracing_state()


def _is_tracing() -> bool:
    """Whether somebody does."""
    return _get_tracing_state() is not None


def _is_torch_function_mode_enabled() -> bool:
    """Whether a ``TorchFunctionMode`` is on."""
    return bool(state.modes)


def _get_privateuse1_backend_name() -> str:
    """The name of the backend that no one has registered."""
    return "privateuseone"


def _get_default_device() -> str:
    """The type of device on which tensors are made."""
    return get_default_device().type


def _get_accelerator(checked: bool | None = None) -> device:
    """The CPU, as in PyTorch's build without others."""
    return device("cpu")


def _get_cudnn_enabled() -> bool:
    """What :data:`torch.backends.cudnn.enabled` says."""
    return bool(importlib.import_module("flambeau.backends").cudnn.enabled)


def _current_graph_task_id() -> int:
    """A number of the backward pass that runs now in this thread; -1 if none does."""
    task = importlib.import_module("flambeau.autograd.graph").current_task()
    return -1 if task is None else id(task)


def _is_alias_of(a: Any, b: Any) -> bool:
    """Whether two tensors share memory."""
    return a._storage is b._storage


def _are_functorch_transforms_active() -> bool:
    """Whether the program is inside of :func:`torch.vmap`, or of forward-mode derivatives."""
    from flambeau import dispatch
    from flambeau.autograd import forward_ad

    return dispatch.apply_batched is not None or forward_ad.is_active()


_ELSEWHERE = {
    "DispatchKey": "library.keys", "DispatchKeySet": "library.keys", "_ExcludeDispatchKeyGuard": "library.keys:ExcludeDispatchKeyGuard",
    "_AutoDispatchBelowAutograd": "library.keys:AutoDispatchBelowAutograd", "FunctionSchema": "library.schema", "Argument": "library.schema",
    "TensorType": "library.schema", "OptionalType": "library.schema", "ListType": "library.schema", "parse_schema": "library.schema",
    "_jit_get_schemas_for_operator": "library.operators:schemas_of", "_jit_get_all_schemas": "library.operators:all_schemas",
    "_dispatch_has_kernel_for_dispatch_key": "library.operators:has_kernel",
    "Graph": "_C.graph", "Node": "_C.graph", "Value": "_C.graph", "Use": "_C.graph", "_LinAlgError": "linalg:LinAlgError",
    "StorageBase": "tensor.storages", "ScriptMethod": "jit.modules",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("_nn", "_functorch"):
        return importlib.import_module(f"flambeau._C.{name}")
    if name.startswith("_jit_") or name.endswith("_graph_executor_optimize"):
        from flambeau._C.executor import functions

        if name in functions:
            return functions[name]
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'torch._C' has no attribute '{name}'", name=name)
    module, _, own = _ELSEWHERE[name].partition(":")
    found = globals()[name] = getattr(importlib.import_module(f"flambeau.{module}"), own or name)
    return found


class _Functions(type):
    """Of a class that has the functions of ``torch`` as attributes."""

    def __getattr__(cls, name: str) -> Any:
        return getattr(sys.modules["flambeau"], name)


class _VariableFunctionsClass(metaclass=_Functions):
    """The functions of ``torch``, as PyTorch's compiled part has them: pickles name them so."""


_VariableFunctions = _VariableFunctionsClass


class PyTorchFileReader:
    """PyTorch's reader of its files in C++: here :func:`flambeau.load` reads them, and making one is refused."""

    def __init__(self, *args: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__} is a part of PyTorch's in C++; torch.load and torch.save read and write its files"
        )


class PyTorchFileWriter(PyTorchFileReader):
    """PyTorch's writer of its files in C++: here :func:`flambeau.save` writes them, and making one is refused."""


PyTorchFileReader.__module__ = PyTorchFileWriter.__module__ = "torch"
