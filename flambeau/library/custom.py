"""``torch.library.custom_op``: a Python function as an operator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from flambeau import dispatch
from flambeau.core.nests import tree_leaves
from flambeau.library import gradients, operators
from flambeau.library.keys import DispatchKey, DispatchKeySet, ExcludeDispatchKeyGuard
from flambeau.library.schema import infer_schema, parse_schema
from flambeau.tensor import Tensor

__all__ = ["CustomOpDef", "custom_op", "definitions", "key_of_device"]

definitions: dict[str, CustomOpDef] = {}
"""The operators that :func:`custom_op` has made, by name."""


def key_of_device(device_type: str) -> str:
    """The dispatch key of kernels for a device; ``"default"``: of those for all devices.

    Raises:
        RuntimeError: there is no such device.
    """
    if device_type == "default":
        return "CompositeExplicitAutograd"
    names = {key.name.lower(): key.name for key in DispatchKey}
    if device_type not in ("cpu", "cuda", "xla", "mps", "ipu", "xpu", "hpu", "meta", "mtia", "privateuseone"):
        raise RuntimeError(
            f"Expected one of cpu, cuda, ipu, xpu, hpu, xla, mps, meta, mtia, privateuseone device type: {device_type}"
        )
    return names.get(device_type, "PrivateUse1")


def custom_op(
    name: str, fn: Callable | None = None, /, *, mutates_args: str | Iterable[str], device_types: str | Sequence[str] | None = None,
    schema: str | None = None, tags: Any = None,
) -> Any:  # fmt: skip
    """Makes an operator of a function with annotations; a decorator, too.

    What happens inside is opaque: it may leave tensors for NumPy or other libraries. Gradients come with
    ``register_autograd``, shapes on the device "meta" with ``register_fake``.

    Args:
        name: ``"namespace::name"``.
        mutates_args: the names of the arguments that the function writes to, or ``"unknown"``.
        device_types: the devices that it is for; ``None``: all.
        schema: in place of what the annotations say.

    Raises:
        ValueError: an annotation is missing, or there is no such type in schemas.

    >>> import flambeau as torch
    >>> import numpy as np
    >>> @torch.library.custom_op("docs::numpy_sin", mutates_args=())
    ... def numpy_sin(x: torch.Tensor) -> torch.Tensor:
    ...     return torch.from_numpy(np.sin(x.numpy()))
    >>> def keep(ctx, inputs, output):
    ...     ctx.save_for_backward(*inputs)
    >>> numpy_sin.register_autograd(lambda ctx, grad: grad * ctx.saved_tensors[0].cos(), setup_context=keep)
    >>> x = torch.zeros(2, requires_grad=True)
    >>> numpy_sin(x).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    >>> torch.ops.docs.numpy_sin.default._schema
    docs::numpy_sin(Tensor x) -> Tensor

    Source: https://docs.pytorch.org/docs/stable/library.html#torch.library.custom_op
    """

    def make(function: Callable) -> CustomOpDef:
        namespace, separator, short = name.partition("::")
        if not separator:
            raise ValueError(f"custom_op: expected a name like 'namespace::name', but got '{name}'")
        text = infer_schema(function, mutates_args=mutates_args) if schema is None else schema
        if schema is not None and mutates_args != "unknown":
            written = {a.name for a in parse_schema(f"{name}{schema}").arguments if a.is_write}
            if written != set(mutates_args):
                raise ValueError(
                    f"Attempted to create a custom op with `mutates_args={mutates_args}` and `schema={schema}`. The schema suggests "
                    f"that the op mutates {written} which is different from what was provided to us in `mutates_args`. Please make "
                    "these consistent."
                )
        made = CustomOpDef(namespace, short, text, function, tags)
        made.register_kernel(device_types, function)
        return made

    return make if fn is None else make(fn)


class CustomOpDef:
    """An operator that :func:`custom_op` made: callable, and what more is known of it is registered here."""

    def __init__(self, namespace: str, name: str, schema: str, fn: Callable, tags: Any = None) -> None:
        self._namespace, self._name, self._schema, self._init_fn = namespace, name, schema, fn
        self._disabled: set[str | None] = set()
        self._opoverload: operators.OpOverload
        parsed = parse_schema(f"{namespace}::{name}{schema}")
        if (previous := definitions.pop(self._qualname, None)) is not None:
            operators.forget(previous._opoverload)  # as where a notebook's cell runs again
        self._opoverload = operators.define(
            parsed, tuple(tags) if isinstance(tags, (list, tuple)) else () if tags is None else (tags,)
        )
        self._fake: Callable | None = None
        self._opoverload.fake = self._call_fake
        self._opoverload.autograd = gradients.differentiable(self._opoverload, None, None)
        self.__name__, self.__doc__, self.__wrapped__ = name, fn.__doc__, fn
        definitions[self._qualname] = self

    @property
    def _qualname(self) -> str:
        return f"{self._namespace}::{self._name}"

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._opoverload(*args, **kwargs)

    def _call_fake(self, *args: Any, **kwargs: Any) -> Any:
        if self._fake is None:
            schema = self._opoverload._schema
            if schema.is_mutable and not schema.returns:
                return None  # what it writes to keeps its form
            raise RuntimeError(
                f"There was no fake impl registered for {self}. This is necessary for torch.compile/export/fx tracing to work. "
                f"Please use `{self._init_fn.__name__}.register_fake` to add an fake impl."
            )
        return self._fake(*args, **kwargs)

    def register_kernel(self, device_types: str | Sequence[str] | None, fn: Callable | None = None, /) -> Callable:
        """Registers ``fn`` as what the operator does on these devices; a decorator, too."""
        named: Sequence[str | None] = (
            [device_types] if device_types is None or isinstance(device_types, str) else list(device_types)
        )

        def register(function: Callable) -> Callable:
            for device_type in named:
                key = "CompositeExplicitAutograd" if device_type is None else key_of_device(device_type)
                self._opoverload.kernels[key] = self._kernel(device_type, function)
            return function

        schema = self._opoverload._schema
        if device_types is not None and not any(operators.takes_tensors(a) for a in schema.arguments):
            if not any(str(a.type) in ("Device", "Optional[Device]") for a in schema.arguments):
                raise ValueError("Functions without tensor inputs are required to have a `device: torch.device` argument")
        return register if fn is None else register(fn)

    def _kernel(self, device_type: str | None, function: Callable) -> Callable:
        """``function``, which may not return what it was given."""
        schema = self._opoverload._schema
        views = any(r.alias_info is not None for r in schema.returns)

        def kernel(*args: Any, **kwargs: Any) -> Any:
            called = self._init_fn if device_type in self._disabled else function
            result = called(*args, **kwargs)
            if not views:
                self._refuse_aliases(called, (args, kwargs), result)
            return result

        return kernel

    def _refuse_aliases(self, function: Callable, given: Any, result: Any) -> None:
        seen = {t._storage for t in tree_leaves(given) if isinstance(t, Tensor) and t.device.type == "cpu"}
        for t in tree_leaves(result):
            if not isinstance(t, Tensor) or t.device.type != "cpu":
                continue
            if t._storage in seen:
                raise RuntimeError(
                    f"{self._name} (with implementation in {function.__module__}): The output of this custom operator (1) must not "
                    "also be an input to this custom operator and (2) may not alias any inputs to this custom operator or other "
                    "returns. The most common way to trigger this error is if we have y = custom_op(x) and y and x are the same "
                    "Tensor. Please instead return a clone of the offending output tensor(s) (e.g. return x.clone()) or refactor "
                    "the custom operator to not return y."
                )
            seen.add(t._storage)

    def register_fake(self, fn: Callable, /) -> Callable:
        """Registers what the results are like, for tensors on the device "meta". Returns ``fn``."""
        self._fake = fn
        return fn

    register_abstract = register_fake

    def register_autograd(self, backward: Callable, /, *, setup_context: Callable | None = None) -> None:
        """Registers the gradient; see :func:`flambeau.library.register_autograd`."""
        check_autograd(self, self._opoverload)
        self._opoverload.autograd = gradients.differentiable(self._opoverload, backward, setup_context)

    def register_vmap(self, func: Callable | None = None) -> Any:
        """Registers what :func:`torch.vmap` calls: ``func(info, in_dims, *args) -> (result, out_dims)``; a decorator, too."""

        def register(function: Callable) -> None:
            self._opoverload.vmap = function

        return register if func is None else register(func)

    def register_torch_dispatch(self, torch_dispatch_class: Any, fn: Callable | None = None, /) -> Any:
        """Registers what is called in place of the ``__torch_dispatch__`` of a mode, or a class of tensors; a decorator, too."""

        def register(function: Callable) -> Callable:
            self._opoverload.rules[torch_dispatch_class] = function
            return function

        return register if fn is None else register(fn)

    def register_autocast(self, device_type: str, cast_inputs: Any) -> None:
        """Has autocast cast floating-point arguments to the dtype ``cast_inputs``."""
        register_autocast(self._opoverload, device_type, cast_inputs)

    @contextlib.contextmanager
    def set_kernel_enabled(self, device_type: str, enabled: bool = True) -> Iterator[None]:
        """Inside, whether the kernel that was registered for a device is used, or the function the operator was made of."""
        before = set(self._disabled)
        (self._disabled.discard if enabled else self._disabled.add)(device_type)
        try:
            yield
        finally:
            self._disabled = before


def check_autograd(shown: Any, op: operators.OpOverload) -> None:
    """Raises where the operator's schema allows no formulas for gradients."""
    schema = op._schema
    if schema.is_mutable or any(r.alias_info is not None for r in schema.returns):
        raise RuntimeError(
            f"Cannot register autograd formula for non-functional operator {shown} with schema {schema}. Please create a functional "
            "operator and register an autograd formula for that."
        )
    if any(a.kwarg_only and operators.takes_tensors(a) for a in schema.arguments):
        raise NotImplementedError(
            "register_autograd with kwarg-only Tensor args. In the original definition of the op, please make your tensors not "
            f"kwarg-only. Got: {schema}"
        )


def register_autocast(op: operators.OpOverload, device_type: str, cast_inputs: Any) -> None:
    """Has autocast cast the floating-point arguments of ``op``.

    Raises:
        ValueError: autocast does not know the device.
    """
    if device_type not in ("cpu", "cuda", "xpu", "mps", "hpu", "mtia", "privateuseone"):
        raise ValueError(f"Unknown device type: {device_type}")
    key = f"Autocast{key_of_device(device_type)}"
    left_out = DispatchKeySet(DispatchKey[key])

    def cast(value: Any) -> Any:
        if isinstance(value, Tensor):
            short = value.is_floating_point() and str(value.dtype) != "torch.float64" and value.device.type == device_type
            return value.to(cast_inputs) if short else value
        return type(value)(map(cast, value)) if type(value) in (list, tuple) else value

    def kernel(*args: Any, **kwargs: Any) -> Any:
        found, dispatch.autocast.cast = dispatch.autocast.cast, None
        try:
            with ExcludeDispatchKeyGuard(left_out):
                return op(*map(cast, args), **{name: cast(value) for name, value in kwargs.items()})
        finally:
            dispatch.autocast.cast = found

    op.kernels[key] = kernel


CustomOpDef.__module__ = "torch._library.custom_ops"
