"""Gradients of operators: the user's formulas as an ``autograd.Function`` of the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dispatch
from flambeau.autograd.function import Function
from flambeau.core.nests import tree_flatten, tree_map, tree_unflatten
from flambeau.dispatch import grad_mode
from flambeau.library.keys import AutoDispatchBelowAutograd
from flambeau.library.operators import OpOverload, lists_tensors
from flambeau.ops.joining import stack
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
    flat: list = []
    sizes: list = []
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


def _together(results: Any, call: _Call) -> Any:
    """Results with their lists put together again."""
    if call.listed is None:
        return results
    several, sizes = call.listed
    parts = _nested(results, sizes)
    return tuple(parts) if several else parts[0]


def differentiable(op: OpOverload, backward: Callable | None, setup_context: Callable | None) -> Callable:
    """What calls ``op`` with ``(args, kwargs)`` and puts it on the tape.

    Args:
        backward: ``backward(ctx, *grads)``, the user's formula; ``None``: asking for a gradient raises.
        setup_context: ``setup_context(ctx, inputs, output)``, with ``keyword_only_inputs`` where the schema has such.
    """
    lists = [lists_tensors(a) for a in op._schema.positional]
    named = any(a.kwarg_only for a in op._schema.arguments)

    def forward(*flat: Any) -> Any:
        call = flat[-1]
        with AutoDispatchBelowAutograd():
            result = op.below_autograd(_nested(flat[:-1], call.sizes), call.kwargs)
        if isinstance(result, list) or isinstance(result, tuple) and any(isinstance(r, list) for r in result):
            parts = result if isinstance(result, tuple) else [result]
            results, sizes = _flat(list(parts), [isinstance(p, list) for p in parts])
            call.listed = [isinstance(result, tuple), sizes]
            return tuple(results)
        return result

    def setup(ctx: Any, flat: tuple, output: Any) -> None:
        call = ctx._call = flat[-1]
        if any(lists):
            ctx.needs_input_grad = (*_nested(ctx.needs_input_grad[:-1], call.sizes),)
        if setup_context is not None:
            inputs, output = tuple(_nested(flat[:-1], call.sizes)), _together(output, call)
            if named:
                setup_context(ctx=ctx, inputs=inputs, keyword_only_inputs=call.kwargs, output=output)
            else:
                setup_context(ctx=ctx, inputs=inputs, output=output)

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
        flat: list = []
        for grad, size in zip(results, call.sizes, strict=True):
            flat.extend([grad] if size is None else [None] * size if grad is None else grad)
        return (*flat, None)

    def in_batches(info: Any, in_dims: tuple, *flat: Any) -> Any:
        call = flat[-1]
        if op.vmap is not None:
            return op.vmap(info, tuple(_nested(in_dims[:-1], call.sizes)), *_nested(flat[:-1], call.sizes), **call.kwargs)
        samples = []
        for i in range(info.batch_size):
            each = [x if dim is None else x.select(dim, i) for x, dim in zip(flat[:-1], in_dims[:-1], strict=True)]
            samples.append(tree_flatten(this(_nested(each, call.sizes), call.kwargs)))
        joined = tree_unflatten([stack(parts) for parts in zip(*[leaves for leaves, _ in samples], strict=True)], samples[0][1])
        return joined, tree_map(lambda _: 0, joined)

    name = f"GeneratedBackwardFor_{op.namespace}_{op._overloadpacket.__name__}_{op._overloadname}"
    members = {"forward": forward, "setup_context": setup, "backward": back, "vmap": in_batches}
    function: Any = type(name, (Function,), {name: staticmethod(member) for name, member in members.items()})

    def this(args: list, kwargs: dict[str, Any]) -> Any:
        flat, sizes = _flat(args, lists)
        if dispatch.apply_batched is None and not (
            grad_mode.enabled and any(isinstance(a, Tensor) and a.requires_grad for a in flat)
        ):
            with AutoDispatchBelowAutograd():
                return op.below_autograd(args, kwargs)
        call = _Call(sizes, kwargs)
        return _together(function.apply(*flat, call), call)

    return this
