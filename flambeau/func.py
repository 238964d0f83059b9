"""Functions of functions: gradients, Jacobians, and maps over a batch, of pure functions of tensors.

Arguments and results may be nests of tuples, lists and dicts. Source: https://docs.pytorch.org/docs/stable/func.api.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flambeau import autograd, ops
from flambeau.autograd import enable_grad
from flambeau.autograd.engine import kept
from flambeau.core.random import default_generator
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.stateless import functional_call
from flambeau.tensor import Tensor

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "stack_module_state", "vjp", "vmap",
]  # fmt: skip

# --- nests -------------------------------------------------------------------------------------------------------


def _leaves(nest: Any) -> Iterator[Any]:
    if isinstance(nest, dict):
        nest = nest.values()
    elif not isinstance(nest, (tuple, list)):
        yield nest
        return
    for part in nest:
        yield from _leaves(part)


def _map(function: Callable, nest: Any, *others: Any) -> Any:
    """The nest of ``function(leaf, ...)``; ``others`` have the structure of ``nest``, or what stands for a whole part."""

    def part(other: Any, key: Any) -> Any:
        return other[key] if isinstance(other, type(nest)) else other

    if isinstance(nest, dict):
        return type(nest)((k, _map(function, v, *(part(o, k) for o in others))) for k, v in nest.items())
    if isinstance(nest, (tuple, list)):
        parts = [_map(function, v, *(part(o, i) for o in others)) for i, v in enumerate(nest)]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    return function(nest, *others)


def _rebuild(nest: Any, leaves: Sequence[Any]) -> Any:
    found = iter(leaves)
    return _map(lambda _: next(found), nest)


# --- derivatives -------------------------------------------------------------------------------------------------


class _Level(enable_grad):
    """A function that is differentiated: ``no_grad`` around it is about its result, not about what it computes."""

    def __enter__(self) -> _Level:  # type: ignore[override]
        super().__enter__()
        return self

    def own(self, x: Any) -> Any:
        """A tensor to differentiate by that nothing outside the function depends on."""
        if not isinstance(x, Tensor):
            return x
        return x.view_as(x) if x.requires_grad and self.previous else x.detach().requires_grad_()

    def finished(self, value: Any, own: list[Tensor]) -> Any:
        """``value`` without its place on the tape, unless it depends on other tensors than ``own`` that need gradients."""
        if not isinstance(value, Tensor) or value.grad_fn is None:
            return value.detach() if isinstance(value, Tensor) and any(value is t for t in own) else value
        return value if self.previous and _depends_on_others(value, own) else value.detach()


def _picked(level: _Level, args: tuple, argnums: int | tuple[int, ...]) -> tuple[tuple, Any]:
    """The arguments with fresh tensors at ``argnums``, and those."""
    fresh = list(args)
    for i in (argnums,) if isinstance(argnums, int) else argnums:
        if not -len(args) <= i < len(args):
            raise RuntimeError(f"Got argnum={i}, but only {len(args)} positional inputs")
        fresh[i] = _map(level.own, args[i])
    chosen = fresh[argnums] if isinstance(argnums, int) else tuple(fresh[i] for i in argnums)
    return tuple(fresh), chosen


def _depends_on_others(value: Tensor, own: list[Tensor]) -> bool:
    ours, seen, waiting = {id(t) for t in own if t.grad_fn is None}, set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in ours:
            return True
        waiting.extend(edge[0] for edge in node.edges if edge is not None)
    return False


def _gradients(outputs: list[Tensor], inputs: list[Tensor], weights: list | None = None) -> list[Tensor]:
    pairs = [(o, None if weights is None else w) for o, w in zip(outputs, weights or outputs, strict=True) if o.requires_grad]
    if not pairs:
        return [ops.zeros_like(x) for x in inputs]
    found = autograd.grad(
        [o for o, _ in pairs], inputs, [w for _, w in pairs], retain_graph=True, create_graph=True, allow_unused=True
    )
    return [ops.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def grad_and_value(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """As :func:`grad`, for a function that returns ``(gradient, value)``, or ``(gradient, (value, aux))``."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Level() as level:
            fresh, chosen = _picked(level, args, argnums)
            output = func(*fresh, **kwargs)
            aux = None
            if has_aux:
                if not (isinstance(output, tuple) and len(output) == 2):
                    raise RuntimeError(
                        "grad_and_value(f)(*args): output of function f should be a tuple: (output, aux) if has_aux is True"
                    )
                output, aux = output
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
                )
            if output.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                    f"{output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            own = [x for x in _leaves(chosen) if isinstance(x, Tensor)]
            gradients = [level.finished(g, own) for g in _gradients([output], own)]
            gradient = _rebuild(chosen, gradients)
            value, aux = level.finished(output, own), _map(lambda x: level.finished(x, own), aux)
        return gradient, ((value, aux) if has_aux else value)

    return wrapper


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function that computes the gradient of ``func``, which returns a number (0-dim tensor), by the given arguments.

    With ``has_aux``, ``func`` returns ``(number, aux)`` and the result ``(gradient, aux)``.

    >>> import flambeau as torch
    >>> torch.func.grad(torch.func.grad(torch.sin))(torch.tensor(1.0))
    tensor(-0.8415)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """``func(*primals)``, and the function that takes vectors of the outputs' form to their products with the Jacobian.

    >>> import flambeau as torch
    >>> y, f = torch.func.vjp(torch.sin, torch.tensor([0.0]))
    >>> f(torch.tensor([2.0]))
    (tensor([2.]),)
    """
    with _Level() as level:
        fresh = _map(level.own, primals)
        output = func(*fresh)
        aux = None
        if has_aux:
            output, aux = output
    own = [x for x in _leaves(fresh) if isinstance(x, Tensor)]
    outputs = list(_leaves(output))

    def product(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        gradients = _gradients(outputs, own, list(_leaves(cotangents)))
        return _rebuild(fresh, [level.finished(g, own) for g in gradients])

    value = _map(lambda x: level.finished(x, own), output)
    return (value, product, _map(lambda x: level.finished(x, own), aux)) if has_aux else (value, product)


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """``func(*primals)`` and its directional derivative along ``tangents``: the gradient, by a vector ``u``, of ``u^T J t``.

    >>> import flambeau as torch
    >>> torch.func.jvp(torch.sin, (torch.tensor([0.0]),), (torch.tensor([3.0]),))
    (tensor([0.]), tensor([3.]))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals and tangents to be tuples.")
    with _Level() as level:
        fresh = _map(level.own, primals)
        output = func(*fresh)
        aux = None
        if has_aux:
            output, aux = output
        own, outputs = [x for x in _leaves(fresh) if isinstance(x, Tensor)], list(_leaves(output))
        dummies = [ops.zeros_like(o).requires_grad_() for o in outputs]
        products = _gradients(outputs, own, dummies)
        derivatives = _gradients(products, dummies, list(_leaves(tangents)))
    ours = own + dummies
    result = tuple(_map(lambda x: level.finished(x, ours), n) for n in (output, _rebuild(output, derivatives)))
    return (*result, _map(lambda x: level.finished(x, ours), aux)) if has_aux else result


def linearize(func: Callable, *primals: Any) -> tuple:
    """``func(*primals)``, and the function that takes tangents of the arguments' form to the derivative along them.

    It is :func:`jvp` for many tangents at one point: ``func`` runs once.

    >>> import flambeau as torch
    >>> y, f = torch.func.linearize(torch.sin, torch.tensor([0.0]))
    >>> f(torch.tensor([3.0])), f(torch.tensor([5.0]))
    (tensor([3.]), tensor([5.]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.linearize.html
    """
    with _Level() as level:
        fresh = _map(level.own, primals)
        output = func(*fresh)
        own, outputs = [x for x in _leaves(fresh) if isinstance(x, Tensor)], list(_leaves(output))
        dummies = [ops.zeros_like(o).requires_grad_() for o in outputs]
        products = _gradients(outputs, own, dummies)
    ours = own + dummies

    def product(*tangents: Any) -> Any:
        given = list(_leaves(tangents))
        if [t.shape for t in given] != [x.shape for x in own]:
            raise RuntimeError("linearize: expected tangents of the shapes of primals: "
                               f"{[tuple(x.shape) for x in own]}, but got {[tuple(t.shape) for t in given]}")  # fmt: skip
        derivatives = _gradients(products, dummies, given)
        return _rebuild(output, [level.finished(d, ours) for d in derivatives])

    return _map(lambda x: level.finished(x, ours), output), product


def jacrev(
    func: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:  # fmt: skip
    """The function that computes the Jacobian of ``func``: the output's dimensions come before the argument's.

    >>> import flambeau as torch
    >>> torch.func.jacrev(lambda x: x**2)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Level() as level:
            fresh, chosen = _picked(level, args, argnums)
            output = func(*fresh, **kwargs)
            aux = None
            if has_aux:
                output, aux = output
            own = [x for x in _leaves(chosen) if isinstance(x, Tensor)]

            def jacobian(y: Tensor) -> Any:
                rows = [_gradients([e], own) for e in y.reshape(-1).unbind()] or [[x.new_empty((0,)) for x in own]]
                stacked = [ops.stack(column).reshape(y.shape + x.shape) for column, x in zip(zip(*rows), own, strict=True)]
                return _rebuild(chosen, [level.finished(j, own) for j in stacked])

            result = _map(jacobian, output)
        return (result, _map(lambda x: level.finished(x, own), aux)) if has_aux else result

    return wrapper


def jacfwd(
    func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable:
    """The same Jacobian as :func:`jacrev` computes, and in the same way."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function that computes the matrix of second derivatives of ``func``.

    >>> import flambeau as torch
    >>> torch.func.hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


# --- batches -----------------------------------------------------------------------------------------------------


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """The function that calls ``func`` for each slice of its arguments along ``in_dims`` and stacks the results.

    It is a loop: what it saves is writing, not time. ``in_dims`` and ``out_dims`` are nests like the arguments and
    results; ``None`` in ``in_dims`` passes an argument whole. ``randomness`` is ``"error"``, ``"different"`` (each call
    draws its own numbers) or ``"same"``.

    >>> import flambeau as torch
    >>> torch.vmap(torch.dot)(torch.ones(3, 2), torch.ones(3, 2))
    tensor([2., 2., 2.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        dims = tuple(in_dims) if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args)
        if len(dims) != len(args):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of inputs: "
                f"{len(dims)} dims for {len(args)} inputs."
            )
        sizes: set[int] = set()

        def measure(x: Any, dim: Any) -> None:
            if dim is None:
                return
            if not isinstance(x, Tensor):
                raise ValueError(
                    f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for an input but the input is of type "
                    f"{type(x)}. We cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
                )
            if not -x.dim() <= dim < x.dim():
                raise ValueError(
                    f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for some input, but that input is a "
                    f"Tensor of dimensionality {x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
                )
            sizes.add(x.shape[dim])

        _map(measure, args, dims)
        _map(measure, tuple(kwargs.values()), 0)
        if not sizes:
            raise ValueError(f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): at least one input must be a tensor to map over")
        if len(sizes) > 1:
            raise ValueError(f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)}")
        results = _calls(func, args, dims, kwargs, sizes.pop(), randomness)
        return _stacked(name, results, out_dims)

    return wrapper


def _calls(func: Callable, args: tuple, dims: tuple, kwargs: dict, n: int, randomness: str) -> list:
    state = default_generator.get_state()
    results = []
    for i in range(n):

        def slice_of(x: Any, dim: Any, i: int = i) -> Any:
            return x if dim is None else x.select(dim, i)

        if i and randomness == "same":
            default_generator.set_state(state)
        outer, kept.graphs = kept.graphs, kept.graphs or i < n - 1
        try:
            results.append(func(*_map(slice_of, args, dims), **_map(slice_of, kwargs, 0)))
        finally:
            kept.graphs = outer
        if not i and randomness == "error" and not _same_state(state, default_generator.get_state()):
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
                "randomness flags on vmap or perform the randomness operation out of vmap"
            )
    if not results:
        raise ValueError("vmap: the mapped dimension is empty, so there is no call whose result could be stacked")
    return results


def _same_state(a: Any, b: Any) -> bool:
    same = a == b
    return bool(same.all()) if hasattr(same, "all") else bool(same)


def _stacked(name: str, results: list, out_dims: Any) -> Any:
    columns = [list(_leaves(r)) for r in results]
    stacks = iter([list(column) for column in zip(*columns, strict=True)])

    def stack(_: Any, dim: Any) -> Any:
        values = next(stacks)
        if not all(isinstance(v, Tensor) for v in values):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(values[0])}. Did you mean to set out_dims= "
                "to None for output?"
            )
        return values[0] if dim is None else ops.stack(values, dim)

    return _map(stack, results[0], out_dims)


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one kind, stacked by name: for :func:`vmap` over an ensemble."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")

    def together(tensors: list[dict]) -> dict[str, Tensor]:
        stacked = {}
        for name, first in tensors[0].items():
            values = ops.stack([t[name].detach() for t in tensors])
            stacked[name] = values.requires_grad_(first.requires_grad)
        return stacked

    return together([dict(m.named_parameters()) for m in models]), together([dict(m.named_buffers()) for m in models])
