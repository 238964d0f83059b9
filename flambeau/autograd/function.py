"""``autograd.Function``: operations with a forward and a backward of the user's own."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import dispatch
from flambeau.autograd import forward_ad
from flambeau.autograd.anomaly import anomaly, remember
from flambeau.autograd.graph import Node, edge_of, meta_of, zeros_for
from flambeau.autograd.nesting import nested
from flambeau.autograd.saving import SECOND_TIME, Saved
from flambeau.autograd.writes import written
from flambeau.core import dtypes
from flambeau.dispatch import grad_mode
from flambeau.tensor.reading import placeless
from flambeau.tensor.tensor import CUSTOM, MANY, Tensor


class FunctionCtx:
    """What ``forward`` leaves for ``backward``: saved tensors, flags, and any attribute that the user sets."""

    _to_save: tuple = ()
    _for_forward: tuple = ()
    _in_jvp = False
    _dirty: tuple = ()
    _non_differentiable: tuple = ()
    _materialize = True
    _materialize_non_diff_grads = True
    _undefined: frozenset[int] = frozenset()  # outputs without a gradient, for which backward gets no zeros either
    needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for ``backward``, which finds them in ``ctx.saved_tensors``."""
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}: set other "
                    "values as attributes, ctx.name = value"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for ``jvp``, which finds them in ``ctx.saved_tensors``."""
        self._for_forward = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says that these inputs were written to in place; they must be returned."""
        for i, t in enumerate(tensors):
            if not isinstance(t, Tensor):
                raise RuntimeError(f"mark_dirty can only accept variables, but argument {i} is of type {type(t).__name__}")
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says that no gradient flows into these outputs."""
        for t in tensors:
            if not isinstance(t, Tensor):
                raise RuntimeError(f"mark_non_differentiable only accepts variable arguments, but got {type(t).__name__}")
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` gets zeros (the default) or ``None`` where no gradient came."""
        self._materialize = value


class BackwardNode(Node, FunctionCtx):
    """The tape's entry for a user's Function; it is also the ``ctx`` that ``forward`` and ``backward`` get."""

    _function: type[Function]
    _tensor_inputs: tuple[bool, ...]
    _saved: tuple | None = None

    def __init__(self) -> None:
        Node.__init__(self, (), ())

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{self.name()} object at {hex(id(self))}>"

    @property
    def saved_tensors(self) -> tuple:
        if self._in_jvp:
            return tuple(self._for_forward)
        if self._saved is None:
            if not self.edges:
                return tuple(self._to_save)
            raise RuntimeError(SECOND_TIME)
        return tuple(s.unpack(self) if s.__class__ is Saved else s for s in self._saved)

    @property
    def saved_variables(self) -> tuple:
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    def apply(self, grads: list) -> tuple:
        if self._saved is None:
            _ = self.saved_tensors  # raises: the graph has been freed
        if self._materialize:
            grads = [
                zeros_for(meta) if g is None and meta is not None and (i not in self._undefined) else g
                for i, (g, meta) in enumerate(zip(grads, self.metas, strict=True))
            ]
        results = nested(self._function.backward, self, *grads)
        if not isinstance(results, tuple):
            results = (results,)
        return self._checked(results)

    def _checked(self, results: tuple) -> tuple:
        n = len(self.edges)
        name = self.name()
        if len(results) > n and all(r is None for r in results[n:]):
            results = results[:n]
        if len(results) != n:
            raise RuntimeError(f"function {name} returned an incorrect number of gradients (expected {n}, got {len(results)})")
        for i, (r, tensor_input) in enumerate(zip(results, self._tensor_inputs, strict=True)):
            if r is not None and not isinstance(r, Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(r).__name__}) as gradient {i} of {name}")
            if r is not None and not tensor_input:
                raise RuntimeError(
                    f"function {name} returned a gradient different than None at position {i + 1}, but the corresponding "
                    "forward input was not a Variable"
                )
        return tuple([None if r is None else placeless(r) for r in results])

    def release(self) -> None:
        self._saved = None


def _as_saved(t, ctx: BackwardNode, inputs: list, outputs: tuple):
    if not isinstance(t, Tensor) or hasattr(type(t), "_intercept"):  # what is made of tensors that are on the tape, sparse ones
        return t
    for i, out in enumerate(outputs):
        if t is out and out is not None and not any(t is x for x in inputs):
            return Saved(t.detach(), -1 - i)
    for i, x in enumerate(inputs):
        if t is x:
            return Saved(t, i)
    return t.detach() if t.grad_fn is not None else t


_LEGACY = (
    "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd function "
    "with static forward method. (Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
)


class FunctionMeta(type):
    """Gives each Function a class for its entries on the tape, named after it."""

    _backward_cls: type
    _ambiguous: bool  # it has two gradients

    def __init__(cls, name: str, bases: tuple, namespace: dict) -> None:
        super().__init__(name, bases, namespace)
        cls._backward_cls = type(name + "Backward", (BackwardNode,), {"_function": cls, "__module__": cls.__module__})
        cls._ambiguous = "vjp" in namespace and "backward" in namespace
        if "vjp" in namespace and not cls._ambiguous:
            cls.backward = namespace["vjp"]  # type: ignore[attr-defined]


class Function(FunctionCtx, metaclass=FunctionMeta):
    """Base class of operations with a gradient of the user's own; called through ``apply``.

    ``forward(ctx, *args)`` and ``backward(ctx, *grads)`` are static methods. Or ``forward(*args)`` with
    ``setup_context(ctx, inputs, output)``.

    >>> import flambeau as torch
    >>> class Cube(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         x, = ctx.saved_tensors
    ...         return 3 * x ** 2 * g
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)

    Source: https://docs.pytorch.org/docs/stable/autograd.html#function
    """

    generate_vmap_rule = False

    def __init__(self, *args, **kwargs) -> None:
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should invoke them on "
            "the class itself. Instantiating an autograd function will raise an error in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args, **kwargs):
        raise RuntimeError(_LEGACY)

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> Any:
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs ``forward`` and, where an input needs a gradient, puts the operation on the tape; then ``jvp`` for dual inputs."""
        if dispatch.apply_batched is not None:
            result = dispatch.apply_batched(cls, args, kwargs)
            if result is not NotImplemented:
                return result
        if not forward_ad.is_active():
            return cls._apply(None, *args, **kwargs)
        tangents = [forward_ad.tangent_of(a) if isinstance(a, Tensor) else None for a in args]
        with forward_ad.paused():
            return cls._apply(tangents, *args, **kwargs)

    @classmethod
    def _apply(cls, tangents: list | None, *args, **kwargs):
        if cls._ambiguous:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one of them."
            )
        ctx = cls._backward_cls()
        edges = [edge_of(a) if isinstance(a, Tensor) else None for a in args]
        recording = bool(grad_mode.enabled) and any(e is not None for e in edges)
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        separate = cls.setup_context is not Function.setup_context
        previous = grad_mode.enabled
        try:
            grad_mode.off()
            if separate:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        finally:
            grad_mode.enabled = previous
        outputs = result if isinstance(result, tuple) else (result,)
        dual = tangents is not None and any(t is not None for t in tangents)
        if any(not _is_any(d, outputs) for d in ctx._dirty):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. The inputs that are modified "
                "inplace must all be outputs of the Function."
            )
        moves = [recording and _moves(o, ctx) for o in outputs]
        own = tuple([_own(o, m, args, ctx, separate) for o, m in zip(outputs, moves, strict=True)])
        if recording:
            _put_on_tape(ctx, list(args), edges, own, moves)
        if dual:
            _push(ctx, args, tangents, outputs, own, ctx._dirty, ctx._non_differentiable)  # type: ignore[arg-type]
        ctx._dirty = ctx._non_differentiable = ()
        return own if isinstance(result, tuple) else own[0]


def _is_any(o, tensors: Sequence) -> bool:
    return any(o is t for t in tensors)


_SAVED_AS_IT_IS = (
    "An input that has been returned as-is as output is being saved for backward. This is not supported if you override "
    "setup_context. You should return and save a view of the input instead, e.g. with x.view_as(x) or setup ctx inside the "
    "forward function itself."
)


def _moves(o, ctx: BackwardNode) -> bool:
    """Whether a gradient flows into an output."""
    return isinstance(o, Tensor) and o._dtype.kind >= dtypes.FLOATING and not _is_any(o, ctx._non_differentiable)


def _own(o, moves: bool, args: tuple, ctx: BackwardNode, separate: bool):
    """An output of ``forward`` as a tensor object that may have the Function's place on the tape.

    An input that was returned as it is becomes a view of it. Views stay views, through which the tape may not follow a write:
    it would go past the Function's own gradient.
    """
    if not isinstance(o, Tensor):
        return o
    if _is_any(o, args):
        if _is_any(o, ctx._dirty):
            return o
        if separate and _is_any(o, ctx._to_save):
            raise RuntimeError(_SAVED_AS_IT_IS)
        o = o.detach() if not moves and o.requires_grad else _viewed(o)
    elif not moves and o._base is None and o.requires_grad:
        o._grad_fn, o._requires_grad, o._layout = None, False, None
    if o._base is not None:
        o._creation = CUSTOM
    return o


def _viewed(t: Tensor) -> Tensor:
    previous = grad_mode.enabled
    try:
        grad_mode.off()
        return t.view_as(t)
    finally:
        grad_mode.enabled = previous


_NOT_A_VIEW = "A custom Function's forward is returning a view (or an input as-is) but the jvp is not returning a view"


def _push(ctx: BackwardNode, args: tuple, tangents: list, before: tuple, outputs: tuple, dirty: tuple, without: tuple) -> None:
    """Gives the outputs the tangents that ``jvp`` makes; ``before``: the outputs as ``forward`` returned them."""
    name, given = ctx.name().removesuffix("Backward"), list(tangents)
    for i, a in enumerate(args):
        if given[i] is None and ctx._materialize and isinstance(a, Tensor) and a.dtype.kind >= dtypes.FLOATING:
            given[i] = zeros_for((a.shape, a.dtype))
    versions = [None if t is None else t._version for t in tangents]
    ctx._in_jvp = True
    try:
        found = ctx._function.jvp(ctx, *given)
    finally:
        ctx._in_jvp = False
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != len(outputs):
        raise RuntimeError(
            f"{name}.jvp returned an invalid number of forward gradients (expected {len(outputs)} but got {len(found)})"
        )
    for i, (o, own, t) in enumerate(zip(before, outputs, found, strict=True)):
        if not isinstance(o, Tensor) or o.dtype.kind < dtypes.FLOATING or any(o is x for x in without):
            if t is not None:
                raise RuntimeError(
                    f"{name}.jvp returned a forward gradient for output {i}, which is not differentiable (or no Tensor). You "
                    "should return None at that position instead."
                )
            continue
        place = next((k for k, a in enumerate(args) if a is o), None)
        if any(o is d for d in dirty):
            if place is not None and tangents[place] is not None:
                if t is not tangents[place] or t._version == versions[place]:
                    raise RuntimeError(
                        "An inplace custom Function is not modifying the forward mode gradients inplace. If the forward is "
                        "modifying an input inplace, then the jvp function must modify the corresponding gradient inplace."
                    )
                continue
        else:
            _check_is_view(o, t, args, tangents)
        forward_ad.give(own, t)


def _check_is_view(o: Tensor, t, args: tuple, tangents: list) -> None:
    """Refuses a tangent that is no view where the output is a view of an input that has one."""
    for a, tangent in zip(args, tangents, strict=True):
        if tangent is None or a is not o and (o._base is None or o._base is not (a if a._base is None else a._base)):
            continue
        if t is None or t._base is None:
            raise RuntimeError(f"{_NOT_A_VIEW}.")
        if tangent._base is not None and t._base is not tangent._base:
            raise RuntimeError(f"{_NOT_A_VIEW.removesuffix('a view')}a view of the same base as the given grad input.")
        if tangent._base is None and t._base is not tangent:
            raise RuntimeError(f"{_NOT_A_VIEW.removesuffix('a view')}a view of the given grad input.")
        return


def _put_on_tape(ctx: BackwardNode, inputs: list, edges: list, outputs: tuple, moves: list[bool]) -> None:
    ctx.edges = tuple(edges)
    if anomaly.enabled:
        remember(ctx)
    ctx.metas = tuple(meta_of(o) if isinstance(o, Tensor) else None for o in outputs)
    ctx._tensor_inputs = tuple(isinstance(a, Tensor) for a in inputs)
    ctx._saved = tuple(_as_saved(t, ctx, inputs, outputs) for t in ctx._to_save)
    ctx._to_save = ()
    if not ctx._materialize_non_diff_grads:
        ctx._undefined = frozenset(i for i, o in enumerate(outputs) if isinstance(o, Tensor) and not moves[i])
    for i, o in enumerate(outputs):
        if not moves[i]:
            continue
        if _is_any(o, ctx._dirty):
            written(o, (ctx, i))
            continue
        o._requires_grad = False
        o._grad_fn, o._output_nr, o._layout, o._history = ctx, i, None, o._storage.history
        if o._base is not None and sum(moves) > 1:
            o._creation = MANY


def once_differentiable(function: Callable) -> Callable:
    """For a ``backward`` that cannot itself be differentiated: asking for its gradient raises."""

    @functools.wraps(function)
    def wrapper(ctx, *args):
        previous = grad_mode.enabled
        try:
            grad_mode.off()
            outputs = function(ctx, *args)
        finally:
            grad_mode.enabled = previous
        if not previous or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return outputs
        several = isinstance(outputs, tuple)
        marked = [_refusing(o) if isinstance(o, Tensor) else o for o in (outputs if several else (outputs,))]
        return tuple(marked) if several else marked[0]

    return wrapper


class _Refuse(Node):
    """Stands on the tape where a gradient of a once-differentiable function would be."""

    def apply(self, grads: list) -> tuple:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def _refusing(t: Tensor) -> Tensor:
    out = t.detach()
    out._layout = None
    out._grad_fn = _Refuse((), ((t.shape, t.dtype),))
    return out


class InplaceFunction(Function):
    """An old base class; plain Function does the same."""


NestedIOFunction = Function
