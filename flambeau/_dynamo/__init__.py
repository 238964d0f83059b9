"""Names that programs take from the part of PyTorch that captures functions; see :mod:`flambeau.compiler`.

What is captured here is found out by running a function, and sizes are never part of what has to be compiled anew. So marks that
tell PyTorch's compiler about sizes and addresses are checked, and change nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.compiler import (
    allow_in_graph,
    assume_constant_result,
    compile,
    disable,
    is_compiling,
    list_backends,
    reset,
)
from flambeau.tensor import Tensor

__all__ = [
    "OptimizedModule", "allow_in_graph", "assume_constant_result", "config", "disable", "explain", "graph_break", "is_compile_supported", "is_compiling",
    "is_dynamo_supported", "list_backends", "mark_dynamic", "mark_static", "mark_static_address", "mark_unbacked", "maybe_mark_dynamic",
    "optimize", "register_backend", "reset",
]  # fmt: skip


def _marked(t: Tensor, index: int | Sequence[int] | None) -> None:
    if not isinstance(t, Tensor):
        raise TypeError(f"expected a tensor, got {type(t).__name__}")
    for i in () if index is None else (index,) if isinstance(index, int) else index:
        t.size(i)  # raises where there is no such dim


def mark_dynamic(
    t: Tensor, index: int | Sequence[int], *, hint_override: int | None = None, min: int | None = None, max: int | None = None
) -> None:
    """Says that the size of a dim changes. It may in any case."""
    _marked(t, index)


def maybe_mark_dynamic(t: Tensor, index: int | Sequence[int]) -> None:
    """As :func:`mark_dynamic`."""
    _marked(t, index)


def mark_unbacked(t: Tensor, index: int | Sequence[int], **settings: Any) -> None:
    """As :func:`mark_dynamic`."""
    _marked(t, index)


def mark_static(t: Any, index: int | Sequence[int] | None = None) -> None:
    """Says that sizes stay."""
    if not isinstance(t, type):
        _marked(t, index)


def mark_static_address(t: Tensor, guard: bool = False) -> None:
    """Says that the tensor's memory stays where it is: it does in any case."""
    _marked(t, None)


def graph_break(msg: str = "") -> None:
    """Nothing more can be captured here: the function that is captured runs as it is written."""
    disable(_nothing)()


def _nothing() -> None:
    pass


def optimize(backend: Any = "inductor", *, nopython: bool = False, **settings: Any) -> Callable:
    """The old way to say :func:`torch.compile`: a decorator."""
    return lambda model: compile(model, fullgraph=nopython, backend=backend)


def is_compile_supported(device_type: str) -> bool:
    """Whether functions of tensors on such a device can be captured."""
    return device_type == "cpu"


def is_dynamo_supported() -> bool:
    """Whether functions can be captured."""
    return True


def __getattr__(name: str) -> Any:
    if name == "OptimizedModule":
        from flambeau.compiling.module import OptimizedModule

        return OptimizedModule
    if name == "explain":
        from flambeau._dynamo.graphs import explain

        return explain
    if name == "register_backend":
        from flambeau._dynamo.backends.registry import register_backend

        return register_backend
    if name in ("backends", "config", "eval_frame", "exc", "utils", "_trace_wrapped_higher_order_op"):
        return importlib.import_module(f"flambeau._dynamo.{name}")
    raise AttributeError(f"module 'torch._dynamo' has no attribute '{name}'", name=name)
