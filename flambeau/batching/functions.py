"""Users' own functions (``autograd.Function``) inside of ``vmap``.

Such a function has a rule of its own (its ``vmap``), or asks for one to be made (``generate_vmap_rule``): then it is replaced by
another function, whose forward and backward are those of all samples.

Source: https://docs.pytorch.org/docs/stable/notes/extending.func.html
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.autograd.function import Function, FunctionCtx
from flambeau.batching.batched import Level, innermost
from flambeau.batching.interception import interception
from flambeau.core.nests import tree_flatten, tree_map, tree_spread, tree_unflatten
from flambeau.tensor.tensor import Tensor

_MORE = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"


class VmapInfo(NamedTuple):
    """What a function's ``vmap`` is told of the level."""

    batch_size: int
    randomness: str


def apply(function: type[Function], args: tuple, kwargs: dict) -> Any:
    """``function.apply(*args)`` for all samples; ``NotImplemented`` where no argument is batched."""
    level = innermost(tree_flatten((args, kwargs))[0])
    if level is None:
        return NotImplemented
    name = function.__name__
    if function.setup_context is Function.setup_context:
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must override the "
            f"setup_context staticmethod. {_MORE}"
        )
    if any(isinstance(v, Tensor) for v in kwargs.values()):
        raise NotImplementedError(
            "Run vmap on autograd.Function with kwarg-only Tensor args. Please do not pass kwarg-only Tensors to autograd.Function. "
            f"Got: {kwargs}"
        )
    own = function.vmap is not Function.vmap
    if own and function.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {name}, but it has both generate_vmap_rule=True and an overridden vmap staticmethod. Please set "
            f"generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid ambiguity. {_MORE}"
        )
    if not own and not function.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {name}, but it does not have vmap support. Please override and implement the vmap staticmethod or "
            f"set generate_vmap_rule=True. {_MORE}"
        )
    values = tree_map(lambda x: x._value if level.has(x) else x, args)
    with interception.within(interception.levels[: level.depth - 1]):
        if own:
            dims = tree_map(lambda x: 0 if level.has(x) else None, args)
            found, out_dims = _pair(function.vmap(VmapInfo(level.size, level.randomness), dims, *values))  # type: ignore[attr-defined]
        else:
            found, out_dims = _generated(function, level, [level.has(x) for x in args]).apply(*values, **kwargs), 0
    results, spec = tree_flatten(found)
    each = tree_spread(out_dims, spec)
    if each is None:
        raise RuntimeError(
            "The autograd.Function's vmap staticmethod returned an incompatible (output, out_dims) tuple. Expected "
            f"out_dims={out_dims} to be compatible with the structure of `output`. {_MORE}"
        )
    return tree_unflatten([x if d is None else level.wrap(x.movedim(d, 0) if d else x) for x, d in zip(results, each)], spec)


def _pair(result: Any) -> tuple:
    text = "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure compatible with the output. "
    if not isinstance(result, tuple):
        raise RuntimeError(f"{text}Got a {type(result)} instead")
    if len(result) != 2:
        raise RuntimeError(f"{text}Got {len(result)} returns instead")
    return result


class _Context(FunctionCtx):
    """What the user's forward and backward get: the tensors in it are batched."""

    saved_tensors: tuple = ()


def _generated(function: type[Function], level: Level, mapped: list[bool]) -> type[Function]:
    """The function of all samples: the user's, inside of a level of its own, forwards and backwards."""
    size, randomness = level.size, level.randomness

    def forward(*values: Any, **kwargs: Any) -> Any:
        with interception.level(size, randomness) as inner:
            given = [inner.wrap(x) if m else x for x, m in zip(values, mapped, strict=True)]
            return tree_map(inner.expanded, function.forward(*given, **kwargs))

    def setup_context(ctx: Any, values: tuple, output: Any) -> None:
        context = ctx.context = _Context()
        context.needs_input_grad = ctx.needs_input_grad
        with interception.level(size, randomness) as inner:
            given = tuple([inner.wrap(x) if m else x for x, m in zip(values, mapped, strict=True)])
            function.setup_context(context, given, tree_map(lambda x: inner.wrap(x) if isinstance(x, Tensor) else x, output))

            def values_of(tensors: tuple) -> list:
                return [t._value if inner.has(t) else t for t in tensors]

            ctx.saves = [inner.has(t) for t in context._to_save]
            ctx.save_for_backward(*values_of(context._to_save))
            ctx.mark_dirty(*values_of(context._dirty))
            ctx.mark_non_differentiable(*values_of(context._non_differentiable))
        ctx.set_materialize_grads(context._materialize)
        context._to_save = context._dirty = context._non_differentiable = ()

    def backward(ctx: Any, *grads: Any) -> Any:
        context = ctx.context
        with interception.level(size, randomness) as inner:
            context.saved_tensors = tuple([inner.wrap(t) if m else t for t, m in zip(ctx.saved_tensors, ctx.saves)])
            found = function.backward(context, *[None if g is None else inner.wrap(g) for g in grads])
            found = found if isinstance(found, tuple) else (found,)
            every = [None if g is None else inner.expanded(g) for g in found]
        # What all samples share gets the sum of their gradients.
        return tuple([g if g is None or m else g.sum(0) for g, m in zip(every, (*mapped, *[True] * len(every)))])

    members = {
        "forward": staticmethod(forward), "setup_context": staticmethod(setup_context), "backward": staticmethod(backward),
        "generate_vmap_rule": True,
    }  # fmt: skip
    return type(f"Vmapped{function.__name__}", (Function,), members)  # type: ignore[return-value]
