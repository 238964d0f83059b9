"""What ``__torch_dispatch__`` of classes of tensors is asked: each of ATen's operators that a call with such a tensor comes to.

As in PyTorch the tape is above that: where gradients are asked for, a primitive's entry is made as for a tensor without values,
and what the class returns gets its place. Backward passes then compute with what the class has returned, and so come here too.
Operators are taken apart as for modes (:mod:`flambeau.library.dispatching`).

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-native-api
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from flambeau import dispatch
from flambeau.core.results import ReturnType, return_type
from flambeau.dispatch import grad_mode
from flambeau.library import operators
from flambeau.library.dispatching import apart, overload_of
from flambeau.library.operators import OpOverload
from flambeau.library.primitives import in_aten
from flambeau.tensor import Tensor
from flambeau.tensor.dispatched import asks
from flambeau.tensor.interception import interception
from flambeau.tensor.overriding import overrides, state
from flambeau.tensor.watching import tensors_in

__all__ = ["call", "intercept", "off"]


class _Off(threading.local):
    """Inside of :func:`flambeau.utils._mode_utils.no_dispatch`, classes are not asked."""

    on = False


off = _Off()


# --- asking ------------------------------------------------------------------------------------------------------


def _classes(values: Any) -> list[type]:
    """Those among arguments that are asked: subclasses before their bases, and from left to right."""
    found: list[type] = []
    for t in tensors_in(values):
        cls = type(t)
        if asks(cls) and cls not in found:
            found.insert(next((i for i, other in enumerate(found) if issubclass(cls, other)), len(found)), cls)
    return found


def _ask(overload: OpOverload, args: list, kwargs: dict[str, Any]) -> Any:
    """What the classes among the arguments make of a call with bound arguments, which is below the tape."""
    given, named = overload._schema.without_defaults(args, kwargs)
    classes = _classes((*given, *named.values()))
    before, subclasses = grad_mode.enabled, state.subclasses
    try:
        grad_mode.off()
        state.subclasses = False
        for cls in classes:
            ask: Callable = partial(overload.rules[cls], cls) if cls in overload.rules else cls.__torch_dispatch__  # type: ignore[attr-defined]
            result = ask(overload, tuple(classes), tuple(given), named)
            if result is not NotImplemented:
                return _named(overload, result)
    finally:
        grad_mode.enabled, state.subclasses = before, subclasses
    asked = "\n".join(f"  - tensor subclass {cls}" for cls in classes)
    raise TypeError(
        f"Multiple dispatch failed for 'torch._ops.{overload}'; all __torch_dispatch__ handlers returned NotImplemented:\n\n{asked}"
    )


def _named(overload: OpOverload, result: Any) -> Any:
    """Several results as a tuple, and those that have names as PyTorch's tuples of that name."""
    names = [r.name for r in overload._schema.returns]
    if isinstance(result, list):
        result = tuple(result)
    if len(names) < 2 or not all(names) or not isinstance(result, tuple) or isinstance(result, ReturnType):
        return result
    return return_type(overload._schema.name.partition("::")[2], *names)(result)


def call(name: str, self: Tensor) -> Any:
    """The operator ``name`` of a tensor alone, for methods that are no ops; ``NotImplemented`` where detaching is not asked."""
    overload = operators.find_packet(name, missing=None)._overloads["default"]  # type: ignore[union-attr]
    if off.on:
        return NotImplemented if name.endswith("detach") else Tensor.item(self)
    return _ask(overload, [self], {})


def _observe(overload: OpOverload, args: list, kwargs: dict[str, Any], run: Callable) -> Any:
    """A call of an operator by its name: classes are asked at once, where no gradient is."""
    values = (*args, *kwargs.values())
    if off.on or not _classes(values) or _wants_gradient(values):
        return run(args, kwargs)
    return _ask(overload, args, kwargs)


def intercept(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """The result of an op one of whose arguments is of such a class."""
    op = function.op
    if off.on:
        return interception.run(op, args, kwargs)
    values = (*args, *kwargs.values())
    if state.subclasses and any(overrides(type(t)) for t in tensors_in(values)):
        result = dispatch.overridden(function, args, kwargs)
        if result is not NotImplemented:
            return result
    if function.__name__.endswith("_") and function is not op.function:
        found = overload_of(op, args, kwargs, op.short_name.removesuffix("_") + "_")
        if found is None:
            raise NotImplementedError(f"{function.__name__}: ATen has no such operator, so no __torch_dispatch__ can be asked")
        return _ask(*found)
    on_tape = _wants_gradient(values) and not _is_constant(op.short_name)
    if on_tape and op.form == "composite":
        return interception.run(op, args, kwargs)  # whose own calls come here
    before = grad_mode.enabled
    try:
        grad_mode.off()
        result = apart(op, args, kwargs)
        if result is NotImplemented:
            result = in_aten(op.name, args, kwargs)
        if result is NotImplemented:
            found = overload_of(op, args, kwargs)
            if found is not None:
                result = _ask(*found)
            elif op.form == "composite":
                result = interception.run(op, args, kwargs)
            else:
                raise NotImplementedError(f"{op.name}: ATen has no such operator, so no __torch_dispatch__ can be asked")
    finally:
        grad_mode.enabled = before
    return _placed(op, args, kwargs, result) if on_tape else result


# --- the tape ----------------------------------------------------------------------------------------------------


def _is_constant(name: str) -> bool:
    """Whether an op makes what no gradient flows to: ``ones_like``, ``new_zeros``, ..."""
    return name.endswith("_like") or name.startswith("new_")


def _wants_gradient(values: Any) -> bool:
    return bool(grad_mode.enabled) and any(t.requires_grad for t in tensors_in(values))


def _placed(op: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
    """The results of a primitive at their places on the tape: those of results without values of arguments without values."""
    known: dict[int, Tensor] = {}
    stand_in = partial(_mapped, partial(_without_values, known))
    off.on = True
    try:
        shadow = interception.run(op, stand_in(args), stand_in(kwargs))
    finally:
        off.on = False
    several = isinstance(shadow, tuple)
    pairs = list(zip(shadow, result, strict=True)) if several else [(shadow, result)]
    placed = []
    given = list(tensors_in((*args, *kwargs.values())))
    for s, r in pairs:
        if not isinstance(r, Tensor) or s._grad_fn is None:
            placed.append(r)
            continue
        if s._shape != r._shape:
            raise RuntimeError(
                f"{op.name}: __torch_dispatch__ returned a tensor of shape {tuple(r._shape)}, where {tuple(s._shape)} is expected"
            )
        if r._grad_fn is not None or r._requires_grad or any(r is t for t in given):
            r = r._alias()
            r._requires_grad = False
        entry = s._grad_fn
        known[id(s._storage)] = r._alias()
        entry.carrying = partial(_with_values, known)
        r._grad_fn, r._output_nr, r._layout = entry, s._output_nr, None
        placed.append(r)
    return type(result)(placed) if several else placed[0]


def _mapped(change: Callable, x: Any) -> Any:
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, dict):
        return {k: _mapped(change, v) for k, v in x.items()}
    return type(x)([_mapped(change, v) for v in x]) if x.__class__ in (list, tuple) else x


def _without_values(known: dict[int, Tensor], t: Tensor) -> Tensor:
    """A plain tensor in place of one of such a class, at its place on the tape."""
    if not asks(type(t)):
        return t
    known[id(t._storage)] = t
    return Tensor._alias(t)


def _with_values(known: dict[int, Tensor], values: list) -> list:
    """What an entry has saved, with the tensors that stand-ins were there for."""

    def original(t: Tensor) -> Tensor:
        found = known.get(id(t._storage))
        if found is None or asks(type(t)):
            return t
        out = found._alias()
        out._requires_grad, out._grad_fn, out._output_nr = False, t._grad_fn, t._output_nr
        return out

    return _mapped(original, values)


operators.observers.insert(0, _observe)
