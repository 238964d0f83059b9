"""``torch.compile`` and ``torch.compiler``: functions and modules that record again what they have recorded before.

A compiled function runs as it is written until what it does is known: which operations it records, and everything that
it reads besides its arguments. From then on a call checks guards (the arguments' shapes and dtypes, grad mode, train
flags, identity of parameters, values of numbers that the code reads) and records the same operations on its own
tensors. A function that looks at values, draws random numbers or does anything else than record runs as it is written
each time. ``FLAMBEAU_LOG=guards`` says what is captured, and why not.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "get_default_backend", "is_compiling",
    "is_dynamo_compiling", "is_exporting", "list_backends", "load_cache_artifacts", "nested_compile_region", "reset", "save_cache_artifacts",
    "set_default_backend", "set_stance", "substitute_in_graph", "wrap_numpy",
]  # fmt: skip

_default_backend: Any = "inductor"


def compile(
    model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = "inductor",
    mode: str | None = None, options: Any = None, disable: bool = False,
) -> Any:  # fmt: skip
    """``model``, a function or module, such that calls like earlier ones skip the Python in it; also a decorator.

    With ``fullgraph`` a function that cannot be captured as a whole raises a ``RuntimeError`` that says why. ``backend`` is a name
    of :func:`list_backends`, or a function of a graph and example inputs that returns what is called in the graph's place (see
    :mod:`flambeau._dynamo.graphs`). ``mode``, ``options`` and ``dynamic`` are PyTorch's, and make no difference; ``disable``
    returns ``model`` as it is.

    Raises:
        InvalidBackend: there is no backend of that name.
        RuntimeError: there is no such mode or option, or both are given.

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
    kind = _kind_of(backend, mode, options)
    if disable:
        return model
    from flambeau.compiling.function import compiled_function
    from flambeau.compiling.module import OptimizedModule
    from flambeau.nn.modules.module import Module

    if isinstance(model, Module):
        return OptimizedModule(model, fullgraph, kind)
    if not callable(model):
        raise RuntimeError(f"torch.compile() takes a function or a module, not {type(model).__name__}")
    if isinstance(model, FunctionType) and hasattr(model, "_torchdynamo_orig_callable"):
        model = model._torchdynamo_orig_callable  # it was compiled already
    return compiled_function(model, fullgraph, kind=kind)


def compile_forward(
    module: Any,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
) -> None:
    """``module.compile()``: from now on ``module.forward`` is captured."""
    kind = _kind_of(backend, mode, options)
    if not disable:
        from flambeau.compiling.module import CompiledForward

        module.__dict__["forward"] = CompiledForward(module, fullgraph, kind)


def _kind_of(backend: Any, mode: str | None, options: dict[str, Any] | None) -> Any:
    """How functions are captured, by the settings of :func:`compile`; raises where these are none."""
    from flambeau.compiling.function import Captures

    if mode is not None and options is not None:
        raise RuntimeError("Either mode or options can be specified, but both can't be specified at the same time.")
    if backend == "inductor":
        if mode is not None or options:
            from flambeau._inductor.modes import check_settings

            check_settings(mode, options)
        backend = _default_backend
    if backend == "inductor":
        return Captures
    from flambeau._dynamo.backends.registry import lookup_backend

    function = lookup_backend(backend)
    if function is None:
        return Captures
    from flambeau._dynamo.graphs import GraphCaptures

    if not callable(function):
        raise TypeError(f"backend must be a string or callable, got {type(backend)}")
    if options:
        function = functools.update_wrapper(functools.partial(function, options=options), function, updated=())
    return functools.partial(GraphCaptures, backend=function)


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """``fn`` such that no function that calls it is captured; without ``fn`` a decorator."""
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    from flambeau.compiling.extent import extent
    from flambeau.compiling.watch import watching

    inner = getattr(fn, "_torchdynamo_orig_callable", None) or fn

    @functools.wraps(inner)
    def disabled(*args: Any, **kwargs: Any) -> Any:
        for watch in watching:
            watch.refuse(f"it calls {getattr(inner, '__name__', 'a function')}, which is not to be compiled")
        before, extent.compiled = extent.compiled, 0
        try:
            return inner(*args, **kwargs)
        finally:
            extent.compiled = before

    disabled._torchdynamo_disable = True  # type: ignore[attr-defined]
    return disabled


def allow_in_graph(fn: Any) -> Any:
    return fn


assume_constant_result = allow_in_graph


def is_compiling() -> bool:
    """Whether a compiled function, or a program that is exported, is being run: code that only plain Python should run asks for it.

    >>> import flambeau as torch
    >>> torch.compile(lambda: torch.compiler.is_compiling())(), torch.compiler.is_compiling()
    (True, False)
    """
    from flambeau.compiling.extent import extent

    return extent.compiled > 0 or extent.exported > 0


def is_exporting() -> bool:
    """Whether a program is being exported: :func:`torch.export.export`."""
    from flambeau.compiling.extent import extent

    return extent.exported > 0


def is_dynamo_compiling() -> bool:
    """Whether a compiled function is being run."""
    from flambeau.compiling.extent import extent

    return extent.compiled > 0


def list_backends(exclude_tags: Any = ("debug", "experimental")) -> list[str]:
    """The names that :func:`compile` takes for ``backend``; see :mod:`flambeau._dynamo.backends.registry`."""
    from flambeau._dynamo.backends.registry import list_backends as known

    return known(exclude_tags)


def reset() -> None:
    """Forgets all that compiled functions have captured."""
    from flambeau.compiling.function import forget_all

    forget_all()


def cudagraph_mark_step_begin() -> None:
    """There are no CUDA graphs."""


def get_default_backend() -> Any:
    """What :func:`set_default_backend` has set: the backend of :func:`compile` where none is named."""
    return _default_backend


def set_default_backend(backend: Any) -> None:
    """Sets the backend, a name or a function, of :func:`compile` where none is named; ``None``: "inductor" again."""
    global _default_backend
    if backend is not None and not isinstance(backend, str) and not callable(backend):
        raise TypeError(f"backend must be a string or callable, got {type(backend)}")
    _default_backend = "inductor" if backend is None else backend


def nested_compile_region(
    fn: Callable | None = None, *, options: Any = None, max_reuse_entries: int = 8, reuse_hash_fn: Any = None
) -> Any:
    """``fn`` as it is, also as a decorator: what repeats inside of a captured function is compiled once in any case."""
    return allow_in_graph if fn is None else fn


def substitute_in_graph(
    original_fn: Callable, *, can_constant_fold_through: bool = False, skip_signature_check: bool = False
) -> Callable:
    """A decorator for another version of ``original_fn`` that a compiler can look into. flambeau captures what functions do, so the
    original is what is called, as in PyTorch outside of compiled functions.

    Raises:
        TypeError: the arguments are not those of ``original_fn``, as far as that says what it takes.
    """

    def decorator(fn: Callable) -> Callable:
        if not skip_signature_check:
            try:
                known = inspect.signature(original_fn)
            except (TypeError, ValueError):
                known = inspect.signature(fn)
            if [(p.name, p.kind) for p in known.parameters.values()] != [
                (p.name, p.kind) for p in inspect.signature(fn).parameters.values()
            ]:
                raise TypeError(f"Signature mismatch between {original_fn} and {fn}: {known} != {inspect.signature(fn)}")

        @functools.wraps(fn)
        def original(*args: Any, **kwargs: Any) -> Any:
            return original_fn(*args, **kwargs)

        return original

    return decorator


def wrap_numpy(fn: Callable) -> Callable:
    """A function of NumPy's arrays as one of tensors, which gradients do not flow through.

    >>> import flambeau as torch, numpy as np
    >>> torch.compiler.wrap_numpy(lambda a: np.cumsum(a))(torch.ones(3))
    tensor([1., 2., 3.])
    """
    from flambeau.core.nests import tree_map
    from flambeau.tensor import Tensor

    def given(x: Any) -> Any:
        return x.detach().numpy() if isinstance(x, Tensor) else x

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from flambeau.tensor.exchange import as_tensor

        result = fn(*tree_map(given, args), **tree_map(given, kwargs))
        return tree_map(lambda x: as_tensor(x) if isinstance(x, (np.ndarray, np.generic)) else x, result)

    return wrapped


def save_cache_artifacts() -> None:
    """``None``: there is nothing to save. Kernels are kept on the disk as they are made, for all programs of this user."""


def load_cache_artifacts(serialized_artifacts: bytes) -> None:
    """``None``: nothing is taken from bytes, since a kernel that another machine has made is never run."""


STANCES = ("default", "eager_then_compile", "aot_eager_then_compile", "force_eager", "eager_on_recompile", "fail_on_recompile")


class set_stance:
    """How compiled functions behave from now on, inside of a ``with`` block, or in a function that it decorates.

    ``"default"`` (also ``"eager_then_compile"``: the first call of a form always runs as it is written); ``"force_eager"``: as if
    nothing were compiled; ``"eager_on_recompile"``: what is captured is used, and nothing else is captured;
    ``"fail_on_recompile"``: a call of a form that has not come before raises a ``RuntimeError``.

    >>> import flambeau as torch
    >>> f = torch.compile(lambda x: x + 1)
    >>> with torch.compiler.set_stance("force_eager"):
    ...     f(torch.ones(1))
    tensor([2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.compiler.set_stance.html
    """

    def __init__(self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False, force_backend: Any = None) -> None:
        if stance not in STANCES:
            raise RuntimeError(f"invalid torch.compile stance '{stance}': known are {', '.join(STANCES)}")
        if force_backend is not None and stance != "default":
            raise RuntimeError("non-default stance cannot have force_backend set")
        if skip_guard_eval_unsafe:
            raise RuntimeError("skip_guard_eval_unsafe: guards are always evaluated, since a wrong replay would go unnoticed")
        from flambeau.compiling.function import set_stance as apply
        from flambeau.compiling.function import stance as current

        self.stance, self.before = stance, current.name
        self._apply = apply
        apply(stance)

    def __enter__(self) -> None:
        self._apply(self.stance)

    def __exit__(self, *exc: Any) -> None:
        self._apply(self.before)

    def __call__(self, fn: Callable) -> Callable:
        """``fn`` under the stance; what was set by making this is taken back."""
        self._apply(self.before)

        @functools.wraps(fn)
        def under_the_stance(*args: Any, **kwargs: Any) -> Any:
            with set_stance(self.stance):
                return fn(*args, **kwargs)

        return under_the_stance


def __getattr__(name: str) -> Any:
    if name == "config":
        from flambeau._dynamo import compiler_config

        return compiler_config
    raise AttributeError(f"module 'torch.compiler' has no attribute '{name}'", name=name)
