"""Optimizers whose updates are formulas on elements.

A formula is written once, with the operations of op records by name::

    @formula
    def descend(x, param, direction, rate):
        return x.add(param, direction, rate)

and means three things, by what ``x`` is: a kernel in NumPy, instructions of a native loop, and operations on tensors,
which the tape can follow. A step records one node for each new content of a parameter or of its state, so that a plan
makes one loop of a parameter's whole update; the numbers of a step (learning rate, bias corrections) are its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flambeau import dispatch, ops
from flambeau.core import config
from flambeau.core.dtypes import float32, float64
from flambeau.dispatch import grad_mode
from flambeau.engine.graph import NO_ATTRS, EngineOp, Node
from flambeau.engine.lowering import Body
from flambeau.engine.run import after_record
from flambeau.engine.trace import kind_of
from flambeau.ops.record import Op, registry
from flambeau.tensor import Tensor
from flambeau.tensor.tensor import read

from .optimizer import Optimizer
from .scalars import advance

# ------------------------------------------------------------------ formulas


def _padded(record: Op, function: Callable) -> Callable:
    """``function`` with ``None`` for the settings that a call leaves out."""
    count = len(record.tensors)
    return lambda *values: function(*values, *(None,) * (count - len(values)))


class _Arrays:
    """The operations of formulas on NumPy arrays: the kernels of op records."""

    def __getattr__(self, name: str) -> Callable:
        record = registry[name]
        assert record.kernel is not None
        self.__dict__[name] = kernel = _padded(record, record.kernel)
        return kernel


class _Loop:
    """The operations of formulas on the values of a loop: the lowerings of op records."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Callable:
        record = registry[name]
        assert record.lower is not None
        return _padded(record, partial(record.lower, self._body))


class _Tensors:
    """The operations of formulas on tensors: the ops themselves, with tensors in place of numbers too."""

    def __getattr__(self, name: str) -> Callable:
        self.__dict__[name] = function = self._on_tensors(registry[name])
        return function

    @staticmethod
    def _on_tensors(record: Op) -> Callable:
        function, names = record.function, record.tensors
        positional = record.check.__code__.co_argcount

        def call(*values):
            values, factors = values[:positional], values[positional:]
            if not factors or factors[0] is None:
                return function(*values)
            if isinstance(factors[0], Tensor):  # ``alpha`` or ``value``: a factor of the second operand
                return function(values[0], values[1] * factors[0], *values[2:])
            return function(*values, **{names[positional]: factors[0]})

        return call


ARRAYS, TENSORS = _Arrays(), _Tensors()


class formula:  # noqa: N801  # used as a decorator
    """An elementwise formula ``function(x, first, *others)``; ``None`` among the others stands for a part left out.

    Called with nodes (and numbers) it records one node; called with tensors it computes with ops.
    """

    __slots__ = ("_compose", "_op")

    def __init__(self, function: Callable) -> None:
        self._compose = partial(function, TENSORS)
        self._op = EngineOp(
            function.__name__, partial(function, ARRAYS), lambda body, *values: function(_Loop(body), *values)
        )

    def __call__(self, first: Any, *others: Any) -> Any:
        if first.__class__ is not Node:
            return self._compose(first, *others)
        return Node(self._op, (first, *others), NO_ATTRS, first.shape, first.dtype)


def decayed(x: Any, grad: Any, param: Any, decay: Any) -> Any:
    """A gradient with its L2 penalty."""
    return grad if decay is None else x.add(grad, param, decay)


def shrunk(x: Any, param: Any, factor: Any) -> Any:
    """A parameter after weight decay apart from the gradient."""
    return param if factor is None else x.mul(param, factor)


@formula
def plus(x, first, other, factor):
    """``first + factor * other``."""
    return x.add(first, other, factor)


@formula
def average(x, mean, grad, weight, param=None, decay=None):
    """A running average, moved towards the gradient."""
    return x.lerp(mean, decayed(x, grad, param, decay), weight)


@formula
def average_of_squares(x, mean, grad, keep, take, param=None, decay=None):
    """A running average of squares: ``keep * mean + take * grad ** 2``."""
    grad = decayed(x, grad, param, decay)
    return x.addcmul(x.mul(mean, keep), grad, grad, take)


@formula
def descend_by_root(x, param, direction, squares, rate, eps, penalized=None, decay=None):
    """``param + rate * direction / (sqrt(squares) + eps)``; the penalty is added to the direction."""
    direction = decayed(x, direction, penalized, decay)
    return x.addcdiv(param, direction, x.add(x.sqrt(squares), eps), rate)


def penalty(param: Any, decay: Any) -> tuple:
    """The last arguments of a formula: a parameter and the factor of its L2 penalty, or nothing."""
    return () if decay is None else (param, decay)


def nonzero(decay: Any) -> Any:
    """A weight decay, or ``None`` where there is none."""
    return decay if isinstance(decay, Tensor) or decay != 0 else None


def decays(lr: Any, weight_decay: Any, decoupled: bool) -> tuple:
    """``(decay, factor)``: the factor of the L2 penalty, and that of the parameter, ``1 - lr * weight_decay``.

    Either is ``None`` where there is no such decay.
    """
    decay = nonzero(weight_decay)
    if decay is None or not decoupled:
        return decay, None
    return None, 1 - lr * decay


def decay_weights(param: Tensor, lr: Any, weight_decay: Any) -> None:
    """Weight decay apart from the gradient, in place: ``param * (1 - lr * weight_decay)``."""
    if nonzero(weight_decay) is not None:
        param.mul_(1 - lr * weight_decay)


# ------------------------------------------------------------------ optimizers


class _Recipe:
    """How tensors of certain layouts are updated with certain sorts of numbers.

    ``by_nodes``  whether nodes are made for it, rather than tensors computed
    ``plain``     whether the gradient is all of its memory, so that its content is read as it is
    ``made``      the op and kind of the node of each result, once that has been made
    """

    __slots__ = ("by_nodes", "made", "plain")

    def __init__(self, grad: Tensor, values: Sequence[Tensor]) -> None:
        shape, dtype = values[0]._shape, values[0]._dtype
        self.plain = _is_plain(grad)
        self.by_nodes = (
            (dtype is float32 or dtype is float64)  # half precision is rounded after each operation, as in PyTorch
            and all(t._shape == shape and t._dtype is dtype for t in (grad, *values))
            and all(_is_plain(t) for t in values)
        )
        self.made: list[tuple] = []


def _is_plain(t: Tensor) -> bool:
    """Whether a tensor is all of its memory, as it lies there."""
    node = t._storage.node
    return t._strides is None and not t._offset and node.shape == t._shape and node.dtype is t._dtype


_recipes: dict[tuple, _Recipe] = {}
MAX_RECIPES = 4096


def apply(update: Callable, numbers: tuple, grad: Tensor, values: Sequence[Tensor]) -> None:
    """Gives ``values``, a parameter and its state, the contents ``update(numbers, grad, *values)``, in place."""
    if grad_mode.enabled:
        # An alias stands for the old value: what the tape saves of it does not change when the tensor is written to.
        _assign(values, update(numbers, grad, *[t._alias() for t in values]))
        return
    layouts = [t._layout or dispatch.layout_of(t) for t in values]
    key = (update, grad._layout or dispatch.layout_of(grad), *layouts, *map(type, numbers))
    recipe = _recipes.get(key)
    if recipe is None:
        if len(_recipes) >= MAX_RECIPES:
            _recipes.clear()
        recipe = _recipes[key] = _Recipe(grad, values)
    storages = [t._storage for t in values]
    by_nodes = recipe.by_nodes
    for s in storages:
        if s.exposed and s.is_shared():
            by_nodes = False
    if not by_nodes:
        _assign(values, update(numbers, grad, *values))
        return
    node = grad._storage.node if recipe.plain and not grad._storage.exposed else read(grad)
    nodes = update(numbers, node, *[s.node for s in storages])
    made = recipe.made or [(node.op, kind_of(node)) for node in nodes]
    for s, (op, kind), node in zip(storages, made, nodes, strict=True):
        if node.op is op:
            node.kind = kind
        s.write(node)
    recipe.made = made
    if config.eager:
        after_record()


def _assign(values: Sequence[Tensor], results: tuple) -> None:
    for t, result in zip(values, results, strict=True):
        dispatch.assign(t, result)


class ElementwiseOptimizer(Optimizer):
    """An optimizer that updates each element from its gradient and its state.

    A subclass gives ``_init_state``, ``_options``, and

    ``_state_names(group)``   the names of the state tensors that are updated with a parameter;
    ``_numbers(step, state, **options)``   the numbers of one parameter's step, the ``step``-th: floats, or ``None``;
    ``_update(numbers, grad, param, *state)``   the new contents of the parameter and of its state, by formulas.
    """

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...]:
        raise NotImplementedError

    def _numbers(self, step: float, state: dict[str, Any], **options: Any) -> tuple:
        raise NotImplementedError

    def _update_group(self, group: dict[str, Any]) -> None:
        maximize = group["maximize"]
        names, options = self._state_names(group), self._options(group)
        states, update = self.state, self._update
        alike = self._scalar_state == ("step",)  # numbers follow from the step: the same for most parameters
        known = numbers = None
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            state = states.get(param)
            if not state:
                state = states[param] = self._init_state(param, group)
            step = advance(state["step"])
            if step != known or not alike:
                numbers, known = self._numbers(step, state, **options), step
            values = [param, *[state[name] for name in names]]
            if maximize:
                grad = -grad
            if param._dtype.is_complex:  # updated as twice as many real numbers
                grad, *values = [ops.view_as_real(t) for t in (grad, *values)]
            apply(update, numbers, grad, values)
