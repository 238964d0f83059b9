"""Elementwise formulas and updates in place, recorded in few steps.

A formula is written once, with the operations of op records by name::

    @formula
    def descend(x, param, direction, rate):
        return x.add(param, direction, rate)

and means three things, by what ``x`` is: a kernel in NumPy, instructions of a native loop, and operations on tensors,
which the tape can follow. An update records one node for each new content of a parameter or of its state, so that a
plan makes one loop of all that is done to a parameter in a step; numbers such as the learning rate are its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from flambeau import dispatch
from flambeau.core import config
from flambeau.core.dtypes import float32, float64
from flambeau.dispatch import grad_mode
from flambeau.engine import graph
from flambeau.engine.graph import NO_ATTRS, EngineOp, Node
from flambeau.engine.run import after_record
from flambeau.engine.trace import kind_of
from flambeau.ops.record import Op, registry
from flambeau.tensor.tensor import Tensor, read

if TYPE_CHECKING:
    from flambeau.engine.lowering import Body


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
    """An elementwise formula ``function(x, first, *others)``; ``None`` among the others stands for a part left out."""

    __slots__ = ("_compose", "_op")

    def __init__(self, function: Callable) -> None:
        self._compose = partial(function, TENSORS)
        self._op = EngineOp(
            function.__name__, partial(function, ARRAYS), lambda body, *values: function(_Loop(body), *values)
        )

    def __call__(self, first: Any, *others: Any) -> Any:
        if first.__class__ is _Symbol:
            return first.program.add(self._op, (first, *others))
        return self._compose(first, *others)


# --- updates -------------------------------------------------------------------------------------------------


class Update:
    """What is done in place to tensors of one shape, such as a parameter and its state, in one step.

    ``Update(function, numbers)(source, *values)`` gives ``values`` the contents ``function(numbers, source, *values)``.
    ``source`` has the same shape (a gradient) or none. ``function`` calls formulas and nothing else. What it does may
    depend on which numbers are ``None``, but not on the values of the others.
    """

    __slots__ = ("_function", "_numbers", "_recipes")

    def __init__(self, function: Callable, numbers: tuple = ()) -> None:
        self._function, self._numbers = function, numbers
        self._recipes = _recipes.setdefault((function, *map(type, numbers)), {})

    def __call__(self, source: Tensor, *values: Tensor) -> None:
        if grad_mode.enabled:
            # An alias stands for the old value: what the tape saves of it does not change with the tensor.
            self._compute(source, values, [t._alias() for t in values])
            return
        layouts, pool, shared = [source._layout], [None, None], False
        for t in values:
            storage = t._storage
            layouts.append(t._layout)
            pool.append(storage.node)
            if storage.exposed and storage.is_shared():
                shared = True
        recipe = self._recipes.get(tuple(layouts))
        if recipe is None:
            recipe = self._learn(source, values)
        if shared or not recipe.by_nodes:
            self._compute(source, values, values)
            return
        pool[1] = read(source)
        pool += self._numbers
        trace, shape, dtype = graph.trace, recipe.shape, recipe.dtype
        for op, inputs, kind in recipe.steps:
            node = _new(Node)
            node.op, node.inputs, node.attrs, node.shape, node.dtype, node.kind = op, inputs(pool), NO_ATTRS, shape, dtype, kind
            trace.append(node)
            pool.append(node)
        for t, place in zip(values, recipe.results):
            t._storage.write(pool[place])
        if config.eager:
            after_record()

    def _compute(self, source: Tensor, values: Sequence[Tensor], old: Sequence[Tensor]) -> None:
        for t, result in zip(values, self._function(self._numbers, source, *old), strict=True):
            dispatch.assign(t, result)

    def _learn(self, source: Tensor, values: Sequence[Tensor]) -> _Recipe:
        recipes = self._recipes
        if len(recipes) >= MAX_RECIPES:
            recipes.clear()
        layouts = tuple([t._layout or dispatch.layout_of(t) for t in (source, *values)])
        if layouts not in recipes:
            recipes[layouts] = _Recipe(self._function, self._numbers, source, values)
        return recipes[layouts]


_recipes: dict[tuple, dict[tuple, _Recipe]] = {}
"""By the function and the sorts of its numbers, then by the layouts of the tensors."""
MAX_RECIPES = 1024

_new = object.__new__


class _Symbol:
    """Stands for a value while a recipe is written: ``place`` is where the value will be in the pool."""

    __slots__ = ("place", "program")

    def __init__(self, program: _Recipe, place: int) -> None:
        self.program, self.place = program, place


class _Recipe:
    """How tensors of certain layouts are updated with certain sorts of numbers, in nodes.

    The pool that nodes take their inputs from is: ``None``, the source, the old contents, the numbers, and the nodes.

    ``by_nodes``   whether it is done in nodes; else tensors are computed
    ``steps``      op, function of the pool that gives the inputs, and kind of each node
    ``results``    where the new contents are in the pool
    """

    __slots__ = ("by_nodes", "dtype", "pool", "results", "shape", "steps")

    def __init__(self, function: Callable, numbers: tuple, source: Tensor, values: Sequence[Tensor]) -> None:
        self.shape, self.dtype = shape, dtype = values[0]._shape, values[0]._dtype
        self.by_nodes = (
            (dtype is float32 or dtype is float64)  # half precision is rounded after each operation, as in PyTorch
            and all(t._shape == shape and t._dtype is dtype and _is_plain(t) for t in values)
            and (source._shape == shape or not source._shape) and source._dtype is dtype
        )  # fmt: skip
        self.steps: list[tuple] = []
        if self.by_nodes:
            tensors = [graph.leaf(None, shape, dtype) for _ in (source, *values)]  # type: ignore[arg-type]
            self.pool: list = [None, *tensors, *numbers]
            symbols = [None if x is None else _Symbol(self, place) for place, x in enumerate(self.pool)]
            results = function(tuple(symbols[1 + len(tensors) :]), *symbols[1 : 1 + len(tensors)])
            self.results = [result.place for result in results]
            del self.pool

    def add(self, op: EngineOp, inputs: tuple) -> _Symbol:
        """Writes down a formula that is called."""
        places = [0 if x is None else x.place for x in inputs]
        pick = itemgetter(*places) if len(places) > 1 else partial(_alone, places[0])
        node = _new(Node)
        node.op, node.inputs, node.attrs, node.shape, node.dtype = op, pick(self.pool), NO_ATTRS, self.shape, self.dtype
        self.steps.append((op, pick, kind_of(node)))
        self.pool.append(node)
        return _Symbol(self, len(self.pool) - 1)


def _alone(place: int, pool: list) -> tuple:
    return (pool[place],)


def _is_plain(t: Tensor) -> bool:
    """Whether a tensor is all of its memory, as it lies there."""
    node = t._storage.node
    return t._strides is None and not t._offset and node.shape == t._shape and node.dtype is t._dtype
