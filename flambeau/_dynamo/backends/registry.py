"""Which backends :func:`torch.compile` knows by name.

A backend of a program's own is a function of a graph and example inputs, ``backend(gm, example_inputs)``, that returns what is
called in the graph's place; see :mod:`flambeau._dynamo.graphs`. PyTorch's own names for compilers of the CPU, and for doing
without one, all mean flambeau's compiler here: they compute the same.

Source: https://docs.pytorch.org/docs/stable/torch.compiler_custom_backends.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

from flambeau.compiling.errors import InvalidBackend

__all__ = ["list_backends", "lookup_backend", "register_backend"]

Backend = Callable[..., Any]

OWN = ("cudagraphs", "inductor")
_PLAIN = (
    "aot_eager",
    "aot_eager_decomp_partition",
    "aot_eager_default_partitioner",
    "eager",
    "eager_debug",
    "eager_noexcept",
    "pre_dispatch_eager",
)

_registered: dict[str, Backend] = {}
_tags: dict[str, tuple[str, ...]] = {name: () for name in OWN} | dict.fromkeys(_PLAIN, ("debug",))


def register_backend(compiler_fn: Backend | None = None, name: str | None = None, tags: Sequence[str] = ()) -> Any:
    """Makes a function known as a backend by a name, its own if none is given; also a decorator.

    >>> import flambeau as torch
    >>> from flambeau._dynamo.backends.registry import register_backend
    >>> @register_backend
    ... def counting(gm, example_inputs):
    ...     print(len(gm.graph.nodes), "nodes")
    ...     return gm.forward
    >>> torch.compile(lambda x: x.sin() + 1, backend="counting")(torch.zeros(2))
    4 nodes
    tensor([1., 1.])
    """
    if compiler_fn is None:
        return functools.partial(register_backend, name=name, tags=tags)
    if not callable(compiler_fn):
        raise TypeError(f"register_backend() takes a function, not {type(compiler_fn).__name__}")
    name = name or str(getattr(compiler_fn, "__name__", type(compiler_fn).__name__))
    if name in _tags:
        raise AssertionError(f"duplicate name: {name}")
    _registered[name] = compiler_fn
    _tags[name] = tuple(tags)
    return compiler_fn


def lookup_backend(compiler_fn: Any) -> Backend | None:
    """The function of a backend; ``None`` for those that mean flambeau's own compiler.

    Packages offer backends by the entry point ``torch_dynamo_backends``, as in PyTorch.

    Raises:
        InvalidBackend: there is none of that name.
    """
    if not isinstance(compiler_fn, str):
        return compiler_fn  # type: ignore[no-any-return]
    if compiler_fn not in _tags:
        for entry in entry_points(group="torch_dynamo_backends"):
            if entry.name == compiler_fn:
                register_backend(entry.load(), compiler_fn)
    if compiler_fn not in _tags:
        raise InvalidBackend(compiler_fn)
    return _registered.get(compiler_fn)


def list_backends(exclude_tags: Sequence[str] | None = ("debug", "experimental")) -> list[str]:
    """The names that :func:`torch.compile` takes, but those with one of the tags.

    >>> import flambeau as torch
    >>> "inductor" in torch._dynamo.list_backends(), "eager" in torch._dynamo.list_backends(None)
    (True, True)
    """
    excluded = set(exclude_tags or ())
    return sorted(name for name, tags in _tags.items() if not excluded & set(tags))
