"""Functions of functions: gradients, Jacobians, and maps over a batch, of pure functions of tensors.

Arguments and results may be nests of tuples, lists and dicts. The transforms compose: what is differentiated inside of
:func:`vmap` is the tensors that hold all samples, each sample's arguments being its own (see :mod:`flambeau.batching`).

Source: https://docs.pytorch.org/docs/stable/func.api.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import autograd, ops
from flambeau._rearrange import rearrange
from flambeau.autograd import enable_grad, inference_mode
from flambeau.batching import vmap
from flambeau.batching.batched import Batched, over, under
from flambeau.batching.interception import interception
from flambeau.core import dtypes
from flambeau.core.nests import tree_leaves, tree_map, tree_structure, tree_unflatten
from flambeau.core.random import Generator
from flambeau.dispatch import grad_mode
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.stateless import functional_call
from flambeau.tensor import Tensor

__all__ = [
    "debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "rearrange",
    "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]  # fmt: skip

# --- a function that is differentiated -----------------------------------------------------------------------------


class _Transform(inference_mode):
    """A function that is differentiated: ``no_grad`` around it is about its result, not about what it computes.

    Inside of ``vmap`` the tape is that of the tensors with all samples, so the samples of each argument must be its own: an
    argument that all of them share is taken apart first (as a view), or its gradient would be the sum of theirs.
    """

    def __new__(cls) -> _Transform:
        return super().__new__(cls, False)

    def __enter__(self) -> _Transform:  # type: ignore[override]
        self.records = bool(grad_mode.enabled)  # whether the result has a place on the tape
        super().__enter__()
        self.levels = tuple(interception.levels)
        self.own: list[Tensor] = []
        self.is_open = True
        return self

    def __exit__(self, *exc: Any) -> None:
        self.is_open = False
        super().__exit__(*exc)

    def track(self, nest: Any) -> Any:
        """The nest with tensors to differentiate by in place of its own, that nothing outside the function depends on."""
        return tree_map(self._track, nest)

    def _track(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        if x.dtype.kind < dtypes.FLOATING:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        x = under(x.clone() if x.is_inference() else x, self.levels)
        x = x.view_as(x) if x.requires_grad and self.records else x.detach().requires_grad_()
        self.own.append(x)
        x._transform = self
        return over(x, self.levels)

    def gradients(self, outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence | None = None) -> list[Tensor]:
        """The gradients of outputs, where there are none yet or with these weights, by inputs on the tape."""
        pairs = []
        for i, o in enumerate(outputs):
            if o.requires_grad:
                o = under(o, self.levels)
                pairs.append((o, ops.ones_like(o) if weights is None else under(weights[i], self.levels)))
        found: Sequence = [None] * len(inputs)
        if pairs:
            with inference_mode(False):
                found = interception.backward(
                    autograd.grad, [o for o, _ in pairs], inputs, [w for _, w in pairs], retain_graph=True, create_graph=True,
                    allow_unused=True,
                )  # fmt: skip
        return [over(ops.zeros_like(x) if g is None else g, self.levels) for g, x in zip(found, inputs, strict=True)]

    def finish(self, nest: Any) -> Any:
        """The nest with tensors without their place on the tape, unless they depend on others than ours that need gradients."""
        return tree_map(self._finish, nest)

    def _finish(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            raise RuntimeError(f"Expected tensors, got unsupported type {type(value)}")
        if not value.requires_grad:
            return value
        if value.__class__ is Batched:
            if value._level.depth > len(self.levels):
                return value._level.wrap(self._finish(value._value))
            return over(self._finish(under(value, self.levels)), self.levels)
        if value.grad_fn is None and not any(value is t for t in self.own):
            return value
        return value if self.records and _depends_on_others(value, self.own) else value.detach()


def _depends_on_others(value: Tensor, own: list[Tensor]) -> bool:
    if value.grad_fn is None:
        return False
    ours, seen, waiting = {id(t) for t in own if t.grad_fn is None}, set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in ours:
            transform = getattr(variable, "_transform", None)
            if transform is None or transform.is_open:  # else it was the own of a function inside of ours, which has returned
                return True
        waiting.extend(edge[0] for edge in node.edges if edge is not None)
    return False


def _slice(args: tuple, argnums: int | tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of the arguments to differentiate by, counted from the front."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if argnums == ():
        raise RuntimeError("argnums must be non-empty")
    found = []
    for i in (argnums,) if isinstance(argnums, int) else argnums:
        if not isinstance(i, int):
            raise RuntimeError(f"argnum must be int, got: {type(i)}")
        if not -len(args) <= i < len(args):
            raise RuntimeError(f"Got argnum={i}, but only {len(args)} positional inputs")
        found.append(i % len(args))
    if len(set(found)) < len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(found)


def _tracked(transform: _Transform, args: tuple, argnums: int | tuple[int, ...] | None) -> tuple[tuple, Any]:
    """The arguments with fresh tensors at ``argnums`` (``None``: all), and those."""
    if argnums is None:
        fresh = transform.track(args)
        return fresh, fresh
    given = list(args)
    for i in _slice(args, argnums):
        given[i] = transform.track(args[i])
    return tuple(given), given[argnums] if isinstance(argnums, int) else tuple(given[i] for i in argnums)


def _without_aux(output: Any, name: str, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return output


def _checked_outputs(output: Any, name: str) -> list[Tensor]:
    found = tree_leaves(output)
    if not found:
        raise RuntimeError(f"{name}: Expected f to be a function that has non-empty output (got output = {found})")
    for o in found:
        if not isinstance(o, Tensor):
            raise RuntimeError(f"{name}: expected f(*primals) to return only tensors, got unsupported type {type(o)}")
    return found


def _rebuilt(nest: Any, leaves: Sequence) -> Any:
    return tree_unflatten(leaves, tree_structure(nest))


# --- derivatives -------------------------------------------------------------------------------------------------


def grad_and_value(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """As :func:`grad`, for a function that returns ``(gradient, value)``, or ``(gradient, (value, aux))``."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Transform() as transform:
            fresh, chosen = _tracked(transform, args, argnums)
            own = list(transform.own)
            output, aux = _without_aux(func(*fresh, **kwargs), "grad_and_value(f)(*args)", has_aux)
            if not isinstance(output, Tensor):
                raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}")
            if output.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                    f"{output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            gradient = transform.finish(_rebuilt(chosen, transform.gradients([output], own)))
            value = transform.finish(output)
            return gradient, ((value, transform.finish(aux)) if has_aux else value)

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


class _Pullback:
    """A function's outputs on a tape of their own, and what goes back from there."""

    def __init__(
        self, func: Callable, primals: tuple, argnums: int | tuple[int, ...] | None, has_aux: bool, kwargs: dict | None = None
    ):
        with _Transform() as self.transform:
            fresh, self.chosen = _tracked(self.transform, primals, argnums)
            self.own = list(self.transform.own)
            name = "vjp(f, *primals)"
            self.output, self.aux = _without_aux(func(*fresh, **(kwargs or {})), name, has_aux)
            self.outputs = _checked_outputs(self.output, name)
            for o in self.outputs:
                if o.dtype.kind < dtypes.FLOATING:
                    raise RuntimeError(
                        f"vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype {o.dtype}"
                    )

    def __call__(self, cotangents: Sequence) -> list[Tensor]:
        """The products of cotangents with the Jacobian, still on the tape."""
        return self.transform.gradients(self.outputs, self.own, cotangents)


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """``func(*primals)``, and the function that takes vectors of the outputs' form to their products with the Jacobian.

    >>> import flambeau as torch
    >>> y, f = torch.func.vjp(torch.sin, torch.tensor([0.0]))
    >>> f(torch.tensor([2.0]))
    (tensor([2.]),)
    """
    pullback = _Pullback(func, primals, None, has_aux)
    finish = pullback.transform.finish

    def product(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        if tree_structure(cotangents) != tree_structure(pullback.output):
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {tree_structure(cotangents)}, primal output: {tree_structure(pullback.output)}"
            )
        return _rebuilt(pullback.chosen, finish(pullback(tree_leaves(cotangents))))

    value = finish(pullback.output)
    return (value, product, finish(pullback.aux)) if has_aux else (value, product)


class _Pushforward:
    """A function's outputs, and its derivative along tangents.

    The product ``J^T u`` is linear in ``u``, and its gradient by ``u`` with the weight ``t`` is ``J t``: so a second pass over the
    tape gives what forward mode would.
    """

    def __init__(self, func: Callable, primals: tuple, argnums: int | tuple[int, ...] | None, has_aux: bool, name: str) -> None:
        with _Transform() as self.transform:
            fresh, self.chosen = _tracked(self.transform, primals, argnums)
            self.own = list(self.transform.own)
            self.output, self.aux = _without_aux(func(*fresh), name, has_aux)
            outputs = _checked_outputs(self.output, name)
            self.dummies = tree_leaves(self.transform.track([ops.zeros_like(o) for o in outputs]))
            self.products = self.transform.gradients(outputs, self.own, self.dummies)

    def __call__(self, tangents: Sequence[Tensor]) -> list[Tensor]:
        """The derivatives of the outputs, still on the tape."""
        return self.transform.gradients(self.products, self.transform.own[len(self.own) :], tangents)


_JVP = "jvp(f, primals, tangents)"


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """``func(*primals)`` and its directional derivative along ``tangents``.

    >>> import flambeau as torch
    >>> torch.func.jvp(torch.sin, (torch.tensor([0.0]),), (torch.tensor([3.0]),))
    (tensor([0.]), tensor([3.]))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{_JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    if tree_structure(primals) != tree_structure(tangents):
        raise RuntimeError(
            f"{_JVP}: Expected primals and tangents to have the same python structure. For example, if primals is a tuple of 3 "
            f"tensors, tangents also must be. Got primals with structure {tree_structure(primals)} "
            f"and tangents with structure {tree_structure(tangents)}"
        )
    push = _Pushforward(func, primals, None, has_aux, _JVP)
    finish = push.transform.finish
    given = tree_leaves(tangents)
    for x, t in zip(tree_leaves(primals), given, strict=True):
        if x.shape != t.shape:
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
                f"Tensor is of size {list(x.shape)} while the given forward gradient is of size {list(t.shape)}."
            )
    result = finish(push.output), finish(_rebuilt(push.output, push(given)))
    return (*result, finish(push.aux)) if has_aux else result


def linearize(func: Callable, *primals: Any) -> tuple:
    """``func(*primals)``, and the function that takes tangents of the arguments' form to the derivative along them.

    It is :func:`jvp` for many tangents at one point: ``func`` runs once.

    >>> import flambeau as torch
    >>> y, f = torch.func.linearize(torch.sin, torch.tensor([0.0]))
    >>> f(torch.tensor([3.0])), f(torch.tensor([5.0]))
    (tensor([3.]), tensor([5.]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.linearize.html
    """
    push = _Pushforward(func, primals, None, False, "linearize(f, *primals)")
    finish = push.transform.finish
    expected = tree_leaves(primals)

    def product(*tangents: Any) -> Any:
        if tree_structure(tangents) != tree_structure(primals):
            raise RuntimeError(
                f"Expected the tangents {tree_structure(tangents)} to have the same argspec as the primals {tree_structure(primals)}"
            )
        given = tree_leaves(tangents)
        for i, (t, x) in enumerate(zip(given, expected, strict=True)):
            for what in ("shape", "dtype"):
                if getattr(t, what) != getattr(x, what):
                    raise RuntimeError(
                        f"tangent:{i} with {what} {getattr(t, what)} in flattened pytree doesn't match the {what} "
                        f"{getattr(x, what)} of the corresponding primal."
                    )
        return finish(_rebuilt(push.output, push(given)))

    return finish(push.output), product


# --- Jacobians -----------------------------------------------------------------------------------------------------


def _refuse_complex(name: str, nest: Any, what: str) -> None:
    for i, x in enumerate(tree_leaves(nest)):
        if isinstance(x, Tensor) and x.is_complex():
            raise RuntimeError(f"{name}: Expected all {what} to be real but received complex tensor at flattened input idx: {i}")


def _basis(tensors: Sequence[Tensor], start: int, stop: int) -> list[Tensor]:
    """Rows of the identity matrix over the elements of all tensors: one tensor for each of them, with its columns."""
    found, before = [], 0
    for t in tensors:
        n = t.numel()
        rows = ops.arange(start, stop).unsqueeze(1) == ops.arange(before, before + n)
        found.append(rows.to(t.dtype).view(stop - start, *t.shape))
        before += n
    return found


def _rows(function: Callable, tensors: Sequence[Tensor], chunk_size: int | None) -> list[Tensor]:
    """``function`` of the rows of :func:`_basis`, each of its results stacked."""
    total = sum(t.numel() for t in tensors)
    step = chunk_size or max(total, 1)
    parts = []
    for start in range(0, max(total, 1), step):
        basis = _basis(tensors, start, min(start + step, total))
        if chunk_size == 1:  # as a loop, so that what vmap cannot do is no hindrance
            parts.append([g.unsqueeze(0) for g in function([b.squeeze(0) for b in basis])])
        else:
            parts.append(list(vmap(function)(basis)))
    return parts[0] if len(parts) == 1 else [ops.cat(list(column)) for column in zip(*parts)]


def jacrev(
    func: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:  # fmt: skip
    """The function that computes the Jacobian of ``func``, row by row, all (or ``chunk_size``) rows in one pass over the tape.

    The output's dimensions come before the argument's.

    >>> import flambeau as torch
    >>> torch.func.jacrev(lambda x: x**2)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        _refuse_complex("jacrev", args, "inputs")
        pullback = _Pullback(func, args, argnums, has_aux, kwargs)
        _refuse_complex("jacrev", pullback.output, "outputs")
        outputs, inputs = pullback.outputs, tree_leaves(pullback.chosen)
        with enable_grad():
            columns = [j.split([o.numel() for o in outputs]) for j in _rows(pullback, outputs, chunk_size)]
            found = []
            for i, o in enumerate(outputs):
                row = [column[i].reshape(o.shape + x.shape) for column, x in zip(columns, inputs, strict=True)]
                found.append(_rebuilt(pullback.chosen, row))
            finish = pullback.transform.finish
            result = finish(_rebuilt(pullback.output, found))
        return (result, finish(pullback.aux)) if has_aux else result

    return wrapper


def jacfwd(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """The function that computes the Jacobian of ``func``, column by column: by the derivatives along all directions at once.

    >>> import flambeau as torch
    >>> torch.func.jacfwd(lambda x: x**2)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        _refuse_complex("jacfwd", args, "inputs")
        draws = Generator.draws
        push = _Pushforward(func, args, argnums, has_aux, _JVP)
        if randomness == "error" and Generator.draws != draws:
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness "
                "flags on vmap or perform the randomness operation out of vmap"
            )
        _refuse_complex("jacfwd", push.output, "outputs")
        inputs, outputs = tree_leaves(push.chosen), tree_leaves(push.output)
        with enable_grad():
            found = []
            for o, columns in zip(outputs, _rows(push, inputs, None), strict=True):
                parts = columns.movedim(0, -1).split([x.numel() for x in inputs], -1)
                found.append(_rebuilt(push.chosen, [p.reshape(o.shape + x.shape) for p, x in zip(parts, inputs, strict=True)]))
            finish = push.transform.finish
            result = finish(_rebuilt(push.output, found))
        return (result, finish(push.aux)) if has_aux else result

    return wrapper


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function that computes the matrix of second derivatives of ``func``.

    >>> import flambeau as torch
    >>> torch.func.hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


# --- the rest ------------------------------------------------------------------------------------------------------


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """``func`` itself: in-place ops and views are recorded as pure functions of values anyway.

    In PyTorch this is for tracers, which see no in-place ops (``remove="mutations"``), nor views (``"mutations_and_views"``).

    >>> import flambeau as torch
    >>> torch.func.functionalize(lambda x: x.clone().add_(1))(torch.tensor([1.0]))
    tensor([2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.functionalize.html
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are:\n"
            "     remove='mutations': all inplace and out= operators will be removed from the program, and replaced with their "
            "out-of-place equivalents.\n"
            "     remove='mutations_and_views': In addition to the above, all aliasing operators {view} will be replaced with their "
            "non-aliasing counterparts, {view}_copy.\n"
        )

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """The tensor that holds all samples of a tensor inside of :func:`vmap`; only one level of it unless ``recurse``.

    For a look at values while a function is being debugged: what is made of the result is not batched.

    >>> import flambeau as torch
    >>> def f(x):
    ...     print(torch.func.debug_unwrap(x).shape)
    ...     return x
    >>> _ = torch.vmap(f)(torch.zeros(3, 2))
    torch.Size([3, 2])
    """
    while tensor.__class__ is Batched:
        tensor = tensor._value
        if not recurse:
            break
    return tensor


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


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Lets all batch norms in ``root`` do without running statistics, which the samples of :func:`vmap` would have to share.

    >>> import flambeau as torch
    >>> net = torch.func.replace_all_batch_norm_modules_(torch.nn.BatchNorm1d(2))
    >>> net.track_running_stats, net.running_mean
    (False, None)

    Source: https://docs.pytorch.org/docs/stable/func.batch_norm.html
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
