"""``torch.library``: operators of users, with kernels, gradients, and all that flambeau's own have.

Source: https://docs.pytorch.org/docs/stable/library.html
"""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from flambeau.library import custom, gradients, operators
from flambeau.library.checks import opcheck
from flambeau.library.custom import CustomOpDef, check_autograd, custom_op, definitions, key_of_device
from flambeau.library.keys import DispatchKey
from flambeau.library.operators import OpOverload
from flambeau.library.schema import infer_schema, parse_schema

__all__ = [
    "CustomOpDef", "Library", "custom_op", "define", "fallthrough_kernel", "get_ctx", "get_kernel", "impl", "impl_abstract", "infer_schema", "opcheck",
    "register_autocast", "register_autograd", "register_fake", "register_kernel", "register_torch_dispatch", "register_vmap",
    "triton_op", "wrap_triton",
]  # fmt: skip

_keep: list[Library] = []
_owners: set[str] = {"aten"}  # namespaces that a library of kind DEF has


def fallthrough_kernel() -> None:
    """Given to :meth:`Library.impl`, has calls pass a dispatch key by."""
    raise NotImplementedError("fallthrough_kernel() should never be called.")


class Library:
    """Operators that are defined, or given kernels, together; they go when it does.

    Args:
        ns: the namespace.
        kind: ``"DEF"`` for its one owner, ``"FRAGMENT"`` to define some of its operators, ``"IMPL"`` for kernels of operators
            that there are.
        dispatch_key: of :meth:`impl`, where that is given none.

    >>> import flambeau as torch
    >>> lib = torch.library.Library("docs_lib", "DEF")
    >>> lib.define("twice(Tensor x) -> Tensor")
    'twice'
    >>> lib.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")
    >>> torch.ops.docs_lib.twice(torch.ones(2))
    tensor([2., 2.])
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        if kind not in ("IMPL", "DEF", "FRAGMENT"):
            raise ValueError(f"Unsupported kind: {kind}")
        if ns == "prim" and kind in ("DEF", "FRAGMENT"):
            raise ValueError(f"{ns} is a reserved namespace. Please try creating a library with another name.")
        if kind == "DEF" and ns in _owners:
            raise RuntimeError(
                f"Only a single TORCH_LIBRARY can be used to register the namespace {ns}; please put all of your definitions in a "
                "single TORCH_LIBRARY block.  If you were trying to specify implementations, consider using TORCH_LIBRARY_IMPL "
                "(which can be duplicated).  If you really intended to define operators for a single namespace in a distributed "
                "way, you can use TORCH_LIBRARY_FRAGMENT to explicitly indicate this."
            )
        if dispatch_key and dispatch_key not in DispatchKey.__members__:
            raise RuntimeError(f"could not parse dispatch key: {dispatch_key}")
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key
        self._alive = True
        self._defined: list[OpOverload] = []
        self._implemented: list[tuple[OpOverload, str, Callable]] = []
        if kind == "DEF":
            _owners.add(ns)
        self._finalizer = weakref.finalize(self, _forget, ns, kind, self._defined, self._implemented)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        return f"Library(kind={self.kind}, ns={self.ns}, dispatch_key={self.dispatch_key})>"

    def _name(self, op_name: Any, api: str) -> str:
        if isinstance(op_name, OpOverload):
            return op_name._name
        if not isinstance(op_name, str):
            raise RuntimeError(
                f"{api} should be passed either a name or an OpOverload object as the first argument, got {type(op_name)}"
            )
        space, separator, _ = op_name.partition("::")
        if separator and space != self.ns:
            raise RuntimeError(
                f'{api}("{op_name}", ...): Explicitly provided namespace ({space}) in operator name does not match namespace of '
                f"enclosing TORCH_LIBRARY block ({self.ns}).  Move this definition to the TORCH_LIBRARY block corresponding to this "
                "namespace (and consider deleting the namespace from your schema string.)"
            )
        return op_name if separator else f"{self.ns}::{op_name}"

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Defines an operator by its schema, as ``"scale(Tensor x, float by) -> Tensor"``. Returns its name."""
        if alias_analysis not in ("", "FROM_SCHEMA", "CONSERVATIVE"):
            raise RuntimeError(f"Invalid alias_analysis type {alias_analysis}")
        if self.kind == "IMPL":
            raise RuntimeError("a Library of kind IMPL defines no operators: make one of kind DEF or FRAGMENT")
        parsed = parse_schema(schema, self.ns)
        made = operators.define(parsed, tuple(tags) if isinstance(tags, (list, tuple)) else (tags,))
        self._defined.append(made)
        for waiting in [w for w in _waiting if w[0] == made._name]:
            _waiting.remove(waiting)
            made.kernels[waiting[1]] = waiting[2]
        return made._name.partition("::")[2]

    def impl(
        self, op_name: Any, fn: Callable, dispatch_key: str = "", *, with_keyset: bool = False, allow_override: bool = False
    ) -> None:
        """Registers ``fn`` as the operator's kernel for calls with ``dispatch_key``, as ``"CPU"`` or ``"Autograd"``."""
        if not callable(fn):
            raise TypeError(f"Input function is required to be a callable but found type {type(fn)}")
        key = dispatch_key or self.dispatch_key or "CompositeImplicitAutograd"
        if key not in DispatchKey.__members__:
            raise RuntimeError(f"could not parse dispatch key: {key}")
        name = self._name(op_name, "impl")
        if self.ns == "aten":
            raise NotImplementedError(
                f"Library.impl: {name} is flambeau's own, and its functions do not look for other kernels; wrap them in a "
                "torch.overrides.TorchFunctionMode"
            )
        if fn is fallthrough_kernel:
            return
        if with_keyset:
            fn = _with_keyset(fn)
        try:
            op = operators.lookup(name)
        except RuntimeError:
            _waiting.append((name, key, fn))  # it may be defined later
            return
        if key in op.kernels and not allow_override:
            warnings.warn(
                "Overriding a previously registered kernel for the same operator and the same dispatch key\n"
                f"  operator: {op._schema}\n  dispatch key: {key}",
                stacklevel=2,
            )
        op.kernels[key] = fn
        self._implemented.append((op, key, fn))

    def fallback(self, fn: Callable, dispatch_key: str = "", *, with_keyset: bool = False) -> None:
        """Refused: what takes every operator's calls is a mode here (``TorchDispatchMode``)."""
        raise NotImplementedError("Library.fallback: flambeau has no fallback for all operators; use torch.utils._python_dispatch")

    def _register_fake(self, op_name: str, fn: Callable, _stacklevel: int = 1, *, allow_override: bool = True) -> None:
        operators.lookup(self._name(op_name, "_register_fake")).fake = fn

    def _register_torch_dispatch_rule(self, op_name: str, torch_dispatch_class: type, fn: Callable) -> None:
        operators.lookup(self._name(op_name, "_register_torch_dispatch_rule")).rules[torch_dispatch_class] = fn

    def _destroy(self) -> None:
        self._finalizer()


_waiting: list[tuple[str, str, Callable]] = []  # kernels of operators that are not defined yet


def _forget(ns: str, kind: str, defined: list[OpOverload], implemented: list[tuple[OpOverload, str, Callable]]) -> None:
    for op in defined:
        operators.forget(op)
    for op, key, fn in implemented:
        if op.kernels.get(key) is fn:
            del op.kernels[key]
    if kind == "DEF":
        _owners.discard(ns)


def _with_keyset(fn: Callable) -> Callable:
    @functools.wraps(fn)
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    kernel.with_keyset = True  # type: ignore[attr-defined]
    return kernel


@contextlib.contextmanager
def _scoped_library(*args: Any, **kwargs: Any) -> Iterator[Library]:
    lib = Library(*args, **kwargs)
    try:
        yield lib
    finally:
        lib._destroy()


def _library(qualname: str, lib: Library | None) -> Library:
    namespace, separator, _ = qualname.partition("::")
    if not separator:
        raise ValueError(f"Expected `qualname` to be of the form 'namespace::name'. Got: {qualname}")
    if lib is None:
        lib = Library(namespace, "FRAGMENT")
        _keep.append(lib)
    return lib


_NAMELESS = re.compile(r"\s*\(.*\)\s*->\s*.*", re.DOTALL)


def define(qualname: str | Library, schema: str, *args: Any, lib: Library | None = None, tags: Any = ()) -> Any:
    """Defines an operator ``"namespace::name"`` with a schema as ``"(Tensor x) -> Tensor"``.

    >>> import flambeau as torch
    >>> torch.library.define("docs::halve", "(Tensor x) -> Tensor")
    >>> @torch.library.impl("docs::halve", "default")
    ... def halve(x):
    ...     return x / 2
    >>> torch.ops.docs.halve(torch.ones(2))
    tensor([0.5000, 0.5000])
    """
    if isinstance(qualname, Library):  # the old form, a decorator
        owner, text = qualname, schema

        def wrap(function: Callable) -> Callable:
            owner.impl(owner.define(text, *args), function)
            return function

        return wrap
    if not isinstance(qualname, str):
        raise ValueError(f"define(qualname, schema): expected qualname to be instance of str, got {type(qualname)}")
    if not _NAMELESS.fullmatch(schema):
        raise ValueError(
            f'define(qualname, schema, ...): expected schema to look like e.g. "(Tensor x) -> Tensor" but got "{schema}"'
        )
    _library(qualname, lib).define(qualname.partition("::")[2] + schema, tags=tags)
    return None


def impl(qualname: str | Library, types: Any, func: Any = None, *, lib: Library | None = None) -> Any:
    """Registers what an operator does on some devices (``"cpu"``, ``"default"``: all), or for a dispatch key; a decorator, too."""
    if isinstance(qualname, Library):  # the old form: impl(lib, name, dispatch_key="")
        owner = qualname

        def wrap(function: Callable) -> Callable:
            owner.impl(types, function, func or "")
            return function

        return wrap
    keys = {t if t in DispatchKey.__members__ else key_of_device(t) for t in ([types] if isinstance(types, str) else types)}

    def register(function: Callable) -> None:
        use = _library(qualname, lib)
        for key in keys:
            use.impl(qualname, function, key)

    return register if func is None else register(func)


def _opdef(op: Any, api: str) -> Any:
    if not isinstance(op, (str, OpOverload, CustomOpDef)):
        raise ValueError(f"{api}({op}): got unexpected type for op: {type(op)}")
    name = op._name if isinstance(op, OpOverload) else op
    return definitions.get(name, name) if isinstance(name, str) else name


def register_kernel(op: Any, device_types: Any, func: Callable | None = None, /, *, lib: Library | None = None) -> Any:
    """Registers what an operator does on these devices; ``None``: all. A decorator, too."""
    op = _opdef(op, "register_kernel")
    if isinstance(op, CustomOpDef):
        return op.register_kernel(device_types, func)
    return impl(op, "default" if device_types is None else device_types, func, lib=lib)


def register_autocast(op: Any, device_type: str, cast_inputs: Any, /, *, lib: Library | None = None) -> None:
    """Has autocast on ``device_type`` cast an operator's floating-point arguments to the dtype ``cast_inputs``."""
    op = _opdef(op, "register_autocast")
    custom.register_autocast(op._opoverload if isinstance(op, CustomOpDef) else operators.lookup(op), device_type, cast_inputs)


def register_fake(
    op: Any, func: Callable | None = None, /, *, lib: Library | None = None, _stacklevel: int = 1, allow_override: bool = False
) -> Any:
    """Registers what an operator's results are like, for tensors without data (device "meta"); a decorator, too."""
    op = _opdef(op, "register_fake")

    def register(function: Callable) -> Callable:
        if isinstance(op, CustomOpDef):
            op.register_fake(function)
        else:
            operators.lookup(op).fake = function
        return function

    return register if func is None else register(func)


def impl_abstract(qualname: Any, func: Callable | None = None, *, lib: Library | None = None, _stacklevel: int = 1) -> Any:
    """The old name of :func:`register_fake`."""
    warnings.warn(
        "`torch.library.impl_abstract` was renamed to `torch.library.register_fake`. Please use that instead; we will remove "
        "`torch.library.impl_abstract` in a future version of PyTorch.",
        FutureWarning,
        stacklevel=2,
    )
    return register_fake(qualname, func, lib=lib)


def register_autograd(op: Any, backward: Callable, /, *, setup_context: Callable | None = None, lib: Library | None = None) -> None:
    """Registers an operator's gradient.

    Args:
        backward: ``backward(ctx, *grads)``, a gradient, or ``None``, for each argument of the schema.
        setup_context: ``setup_context(ctx, inputs, output)``, which saves what ``backward`` needs; where the schema has
            keyword-only arguments, ``setup_context(ctx, inputs, keyword_only_inputs, output)``.

    Raises:
        RuntimeError: the operator writes to its arguments.

    >>> import flambeau as torch
    >>> torch.library.define("docs::cube", "(Tensor x) -> Tensor")
    >>> torch.library.impl("docs::cube", "cpu", lambda x: torch.from_numpy(x.numpy() ** 3))
    >>> torch.library.register_autograd("docs::cube", lambda ctx, g: 3 * ctx.x ** 2 * g,
    ...                                 setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0].detach()))
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> torch.ops.docs.cube(x).backward()
    >>> x.grad
    tensor([12.])
    """
    found = _opdef(op, "register_autograd")
    if isinstance(found, CustomOpDef):
        found.register_autograd(backward, setup_context=setup_context)
        return
    overload = operators.lookup(found)
    check_autograd(overload, overload)
    overload.autograd = gradients.differentiable(overload, backward, setup_context)


def register_vmap(op: Any, func: Callable | None = None, /, *, lib: Library | None = None) -> Any:
    """Registers what :func:`torch.vmap` calls for an operator: ``func(info, in_dims, *args) -> (result, out_dims)``."""
    found = _opdef(op, "register_vmap")
    overload = found._opoverload if isinstance(found, CustomOpDef) else operators.lookup(found)

    def register(function: Callable) -> None:
        overload.vmap = function
        if overload.autograd is None:
            overload.autograd = gradients.differentiable(overload, None, None)

    return register if func is None else register(func)


def register_torch_dispatch(
    op: Any, torch_dispatch_class: Any, func: Callable | None = None, /, *, lib: Library | None = None
) -> Any:
    """Registers what is called in place of the ``__torch_dispatch__`` of a mode, or a class of tensors, for one operator.

    It is ``func(mode_or_class, operator, types, args, kwargs)``; a decorator, too.
    """
    found = _opdef(op, "register_torch_dispatch")
    overload = found._opoverload if isinstance(found, CustomOpDef) else operators.lookup(found)

    def register(function: Callable) -> Callable:
        overload.rules[torch_dispatch_class] = function
        return function

    return register if func is None else register(func)


def get_kernel(op: Any, dispatch_key: Any) -> Any:
    """An operator's kernel for a dispatch key: ``kernel.call_boxed(keyset, *args)`` calls it.

    Raises:
        ValueError: there is no such key.
        RuntimeError: the operator has no kernel for it.
    """
    if not isinstance(op, (str, OpOverload)):
        raise ValueError(f"get_kernel({op}): got unexpected type for op: {type(op)}")
    name = getattr(dispatch_key, "name", dispatch_key)
    if name not in DispatchKey.__members__:
        raise ValueError(f"Invalid dispatch key: {dispatch_key}")
    overload = operators.lookup(op)
    if name not in overload.kernels:
        raise RuntimeError(f"{overload._name} has no kernel for the dispatch key {name}")
    return _Kernel(overload.kernels[name])


class _Kernel:
    def __init__(self, kernel: Callable) -> None:
        self._kernel = kernel

    def call_boxed(self, keyset: Any, *args: Any, **kwargs: Any) -> Any:
        return (
            self._kernel(keyset, *args, **kwargs) if getattr(self._kernel, "with_keyset", False) else self._kernel(*args, **kwargs)
        )


def get_ctx() -> Any:
    """What a fake kernel makes sizes of that depend on values with.

    Raises:
        RuntimeError: always; such sizes are not followed here.
    """
    raise RuntimeError(
        "torch.library.get_ctx: the size of this operator's result depends on values, which tensors on the device 'meta' do not have"
    )


def triton_op(name: str, fn: Callable | None = None, /, *, mutates_args: Any, schema: str | None = None) -> Any:
    """An operator as :func:`custom_op` makes it, of a function that consists of PyTorch's operators and Triton's kernels.

    So its shapes are found by the function itself. On a CPU it runs where it calls no Triton kernel.

    >>> import flambeau as torch
    >>> @torch.library.triton_op("docs::plus_one", mutates_args={})
    ... def plus_one(x: torch.Tensor) -> torch.Tensor:
    ...     return x + 1 if x.is_cpu or x.is_meta else torch.library.wrap_triton(kernel)[(1,)](x)
    >>> torch.ops.docs.plus_one(torch.zeros(2))
    tensor([1., 1.])

    Source: https://docs.pytorch.org/docs/stable/library.html#torch.library.triton_op
    """

    def make(function: Callable) -> CustomOpDef:
        made = custom_op(name, function, mutates_args=mutates_args, schema=schema)
        made.register_fake(function)
        return made

    return make if fn is None else make(fn)


def wrap_triton(triton_kernel: Callable, /) -> Callable:
    """Refused: Triton's kernels are for GPUs."""
    raise NotImplementedError(
        "torch.library.wrap_triton: Triton's kernels are for GPUs; give the function a way without them for tensors on the CPU"
    )
