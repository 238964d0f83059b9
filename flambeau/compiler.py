"""``torch.compile`` and ``torch.compiler``: functions and modules that record again what they have recorded before.

A compiled function runs as it is written until what it does is known: which operations it records, and everything that
it reads besides its arguments. From then on a call checks guards (the arguments' shapes and dtypes, grad mode, train
flags, identity of parameters, values of numbers that the code reads) and records the same operations on its own
tensors. A function that looks at values, draws random numbers or does anything else than record runs as it is written
each time. ``FLAMBEAU_LOG=guards`` says what is captured, and why not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling",
    "is_dynamo_compiling", "is_exporting", "list_backends", "reset",
]  # fmt: skip


def compile(
    model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = "inductor",
    mode: str | None = None, options: Any = None, disable: bool = False,
) -> Any:  # fmt: skip
    """``model``, a function or module, such that calls like earlier ones skip the Python in it; also a decorator.

    With ``fullgraph`` a function that cannot be captured as a whole raises a ``RuntimeError`` that says why. ``dynamic``,
    ``backend``, ``mode`` and ``options`` make no difference; ``disable`` returns ``model`` as it is.

    >>> import flambeau as torch
    >>> @torch.compile
    ... def scaled(x, factor):
    ...     return (x * factor).relu()
    >>> [scaled(torch.tensor([-1.0, i]), 2.0).tolist() for i in range(4)]
    [[0.0, 0.0], [0.0, 2.0], [0.0, 4.0], [0.0, 6.0]]

    Source: https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    """
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable
        )
    if disable:
        return model
    from flambeau.compiling.function import compiled_function
    from flambeau.compiling.module import OptimizedModule
    from flambeau.nn.modules.module import Module

    if isinstance(model, Module):
        return OptimizedModule(model, fullgraph)
    if not callable(model):
        raise RuntimeError(f"torch.compile() takes a function or a module, not {type(model).__name__}")
    if isinstance(model, FunctionType) and hasattr(model, "_torchdynamo_orig_callable"):
        model = model._torchdynamo_orig_callable  # it was compiled already
    return compiled_function(model, fullgraph)


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """``fn`` such that no function that calls it is captured; without ``fn`` a decorator."""
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    from flambeau.compiling.watch import watching

    inner = getattr(fn, "_torchdynamo_orig_callable", None) or fn

    @functools.wraps(inner)
    def disabled(*args: Any, **kwargs: Any) -> Any:
        for watch in watching:
            watch.refuse(f"it calls {getattr(inner, '__name__', 'a function')}, which is not to be compiled")
        return inner(*args, **kwargs)

    disabled._torchdynamo_disable = True  # type: ignore[attr-defined]
    return disabled


def allow_in_graph(fn: Any) -> Any:
    return fn


assume_constant_result = allow_in_graph


def is_compiling() -> bool:
    """False: a function that is captured runs as it is written."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """``["inductor"]``, the name that :func:`compile` takes for granted."""
    return ["inductor"]


def reset() -> None:
    """Forgets all that compiled functions have captured."""
    from flambeau.compiling.function import forget_all

    forget_all()


def cudagraph_mark_step_begin() -> None:
    """There are no CUDA graphs."""
