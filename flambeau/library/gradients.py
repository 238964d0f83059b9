"""Gradients of operators: the user's formulas as an ``autograd.Function`` of the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dispatch
from flambeau.autograd.function import Function
from flambeau.dispatch import grad_mode
from flambeau.library.keys import AutoDispatchBelowAutograd
from flambeau.library.operators import OpOverload, lists_tensors
from flambeau.tensor import Tensor

__all__ = ["differentiable"]


class _Call:
    """What a call of the Function needs besides tensors: how its arguments are put together, and what came of it."""

    __slots__ = ("kwargs", "listed", "sizes")

    def __init__(self, sizes: list, kwargs: dict[str, Any]) -> None:
        self.sizes, self.kwargs = sizes, kwargs
        self.listed: list | None = None  # of the results, how many are in each list; None: there is no list


def _flat(args: list, lists: list[bool]) -> tuple[list, list]:
    """The arguments with their lists of tensors spread out, and how long each of these is."""
    flat, sizes = [], []
    for value, listed in zip(args, lists, strict=True):
        if listed and value is not None:
            flat.extend(value)
            sizes.append(len(value))
        else:
            flat.append(value)
            sizes.append(None)
    return flat, sizes


def _nested(flat: Any, sizes: list) -> list:
    """The reverse of :func:`_flat`."""
    flat, args, place = list(flat), [], 0
    for size in sizes:
        args.append(flat[place] if size is None else flat[place : place + size])
        place += 1 if size is None else size
    return args


def differentiable(op: OpOverload, backward: Callable | None, setup_context: Callable | None) -> Callable:
    """What calls ``op`` with ``(args, kwargs)`` and puts it on the tape.

    Args:
        backward: ``backward(ctx, *grads)``, the user's formula; ``None``: asking for a gradient raises.
        setup_context: ``setup_context(ctx, inputs, output)``, with ``keyword_only_inputs`` where the schema has such.
    """
    lists = [lists_tensors(a) for a in op._schema.positional]
    named = any(a.kwarg_only for a in op._schema.arguments)

    def forward(ctx: Any, *flat: Any) -> Any:
        call = flat[-1]
        args = _nested(flat[:-1], call.sizes)
        with AutoDispatchBelowAutograd():
            result = op.below_autograd(args, call.kwargs)
        ctx._call = call
        if any(lists):
            ctx.needs_input_grad = (*_nested(ctx.needs_input_grad[:-1], call.sizes),)
        if setup_context is not None:
            if named:
                setup_context(ctx=ctx, inputs=tuple(args), keyword_only_inputs=call.kwargs, output=result)
            else:
                setup_context(ctx=ctx, inputs=tuple(args), output=result)
        if isinstance(result, list) or isinstance(result, tuple) and any(isinstance(r, list) for r in result):
            parts = result if isinstance(result, tuple) else [result]
            results, sizes = _flat(list(parts), [isinstance(p, list) for p in parts])
            call.listed = [isinstance(result, tuple), sizes]
            return tuple(results)
        return result

    def back(ctx: Any, *grads: Any) -> tuple:
        if backward is None:
            raise RuntimeError(
                f"Trying to backward through {op} but no autograd formula was registered. Please use register_autograd to add one."
            )
        call = ctx._call
        if call.listed is not None:
            grads = tuple(_nested(grads, call.listed[1]))
        found = backward(ctx, *grads)
        results = list(found) if isinstance(found, tuple) else [found]
        if not any(lists):
            return (*results, None)
        if len(results) != len(call.sizes):
            raise RuntimeError(
                f"Expected the return from backward to be of the same structure as the inputs: {len(call.sizes)} gradients, "
                f"but got {len(results)}"
            )
        flat = []
        for grad, size in zip(results, call.sizes, strict=True):
            flat.extend([grad] if size is None else [None] * size if grad is None else grad)
        return (*flat, None)

    def in_batches(info: Any, in_dims: tuple, *flat: Any) -> Any:
        call = flat[-1]
        assert op.vmap is not None
        return op.vmap(info, tuple(_nested(in_dims[:-1], call.sizes)), *_nested(flat[:-1], call.sizes), **call.kwargs)

    name = f"GeneratedBackwardFor_{op.namespace}_{op._overloadpacket.__name__}_{op._overloadname}"
    members = {"forward": staticmethod(forward), "backward": staticmethod(back), "vmap": staticmethod(in_batches)}
    function: Any = type(name, (Function,), members)

    def call(args: list, kwargs: dict[str, Any]) -> Any:
        flat, sizes = _flat(args, lists)
        batched = op.vmap is not None and dispatch.apply_batched is not None
        if not batched and not (grad_mode.enabled and any(isinstance(a, Tensor) and a.requires_grad for a in flat)):
            with AutoDispatchBelowAutograd():
                return op.below_autograd(args, kwargs)
        this = _Call(sizes, kwargs)
        result = function.apply(*flat, this)
        if this.listed is None:
            return result
        several, sizes = this.listed
        parts = _nested(result, sizes)
        return tuple(parts) if several else parts[0]

    return call


