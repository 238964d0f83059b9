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
from typing import TYPE_CHECKING, Any
from weakref import ref

from flambeau import dispatch
from flambeau.core import config
from flambeau.core.dtypes import float32, float64
from flambeau.core.generated import function_of
from flambeau.dispatch import grad_mode
from flambeau.engine import graph
from flambeau.engine.graph import NO_ATTRS, EngineOp, Node
from flambeau.engine.run import after_record
from flambeau.engine.trace import kind_of
from flambeau.ops.record import Op, registry
from flambeau.tensor.reading import is_plain, read
from flambeau.tensor.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.engine.lowering import Body


def _padded(record: Op, function: Callable) -> Callable:
    """``function`` with ``None`` for the settings that a call leaves out."""
    count = len(record.tensors)
    return lambda *values: function(*values, *(None,) * (count - len(values)))


def _record(name: str) -> Op:
    if name not in registry:
        raise AttributeError(f"formulas are made of ops: there is none called {name}")
    return registry[name]


class _Arrays:
    """The operations of formulas on NumPy arrays: the kernels of op records."""

    def __getattr__(self, name: str) -> Callable:
        record = _record(name)
        assert record.kernel is not None
        self.__dict__[name] = kernel = _padded(record, record.kernel)
        return kernel


class _Loop:
    """The operations of formulas on the values of a loop: the lowerings of op records."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Callable:
        record = _record(name)
        assert record.lower is not None
        return _padded(record, partial(record.lower, self._body))


class _Tensors:
    """The operations of formulas on tensors: the ops themselves, with tensors in place of numbers too."""

    def __getattr__(self, name: str) -> Callable:
        self.__dict__[name] = function = self._on_tensors(_record(name))
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
        self._op = EngineOp(function.__name__, partial(function, ARRAYS), lambda body, *values: function(_Loop(body), *values))

    def __call__(self, first: Any, *others: Any) -> Any:
        if first.__class__ is _Symbol:
            return first.recipe.add(self, (first, *others))
        return self._compose(first, *others)

    def node(self, inputs: tuple, shape, dtype) -> Node:
        """A node of the formula, which is not recorded, on values of one shape and dtype."""
        node = object.__new__(Node)
        node.op, node.inputs, node.attrs, node.shape, node.dtype = self._op, inputs, NO_ATTRS, shape, dtype
        kind_of(node)
        return node


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
        key = values[0]._layout, len(values)
        follow = self._recipes[key] if key in self._recipes else self._learn(values)
        if follow is None or not follow(self._numbers, source, *values):
            self._compute(source, values, values)
        if config.eager or len(graph.trace) >= config.max_pending_nodes:
            after_record()

    def _compute(self, source: Tensor, values: Sequence[Tensor], old: Sequence[Tensor]) -> None:
        for t, result in zip(values, self._function(self._numbers, source, *old), strict=True):
            if hasattr(type(t), "_intercept"):  # its class says what it is to take a value
                t.copy_(result)
            else:
                dispatch.assign(t, result)

    def _learn(self, values: Sequence[Tensor]) -> Callable | None:
        recipes = self._recipes
        if len(recipes) >= MAX_RECIPES:
            recipes.clear()
        first, *others = [t._layout or dispatch.layout_of(t) for t in values]
        key = first, len(values)
        if key not in recipes:
            shape, dtype = values[0]._shape, values[0]._dtype
            plain = [is_plain(t) and t._shape == shape and t._dtype is dtype for t in values]
            if (dtype is float32 or dtype is float64) and all(plain):
                recipes[key] = _Recipe(self, shape, dtype, others).follow()
            elif dtype is not float32 and dtype is not float64 or not plain[0]:
                recipes[key] = None  # half precision is rounded after each operation, as in PyTorch
            else:
                return None
        return recipes[key]


_recipes: dict[tuple, dict[tuple, Callable | None]] = {}
"""By the function and the sorts of its numbers, then by the first tensor's layout and how many there are:
``follow(numbers, source, *values)``, which makes the nodes of an update and tells whether it could; ``None`` where
tensors are to be computed."""
MAX_RECIPES = 1024


class _Symbol:
    """Stands for a value while a recipe is written: ``place`` is where the value is in the pool."""

    __slots__ = ("place", "recipe")

    def __init__(self, recipe: _Recipe, place: int) -> None:
        self.recipe, self.place = recipe, place


class _Recipe:
    """How tensors of one layout are updated, in nodes: straight-line code, since it is run for each parameter and step.

    ``pool``   what there is, in order: ``None``, the source, the old contents, the numbers, the nodes made
    ``made``   op, the places of the inputs, and kind of each node
    """

    __slots__ = ("dtype", "layouts", "made", "numbers", "pool", "results", "shape")

    def __init__(self, update: Update, shape, dtype, layouts: list) -> None:
        self.shape, self.dtype, self.layouts, self.numbers = shape, dtype, layouts, len(update._numbers)
        count = 1 + len(layouts)
        self.made: list[tuple] = []
        self.pool: list = [None, *[graph.leaf(None, shape, dtype)] * (1 + count), *update._numbers]  # type: ignore[arg-type]
        symbols = [None if x is None else _Symbol(self, place) for place, x in enumerate(self.pool)]
        results = update._function(tuple(symbols[2 + count :]), *symbols[1 : 2 + count])
        self.results = [result.place for result in results]

    def add(self, called: formula, inputs: tuple) -> _Symbol:
        """Writes down a formula that is called."""
        places = [0 if x is None else x.place for x in inputs]
        node = called.node(tuple([self.pool[place] for place in places]), self.shape, self.dtype)
        self.made.append((node.op, places, node.kind))
        self.pool.append(node)
        return _Symbol(self, len(self.pool) - 1)

    def follow(self) -> Callable:
        """The function of ``(numbers, source, *values)``; its text is shared by recipes of the same form."""
        tensors, old = range(1 + len(self.layouts)), 3 + len(self.layouts)
        layouts = {f"layout{i}": layout for i, layout in enumerate(self.layouts, 1)}
        lines = ["if source._dtype is not dtype or source._shape != shape and source._shape: return False"]
        for i in tensors:
            if i:  # the first one's layout is known: the recipe was found by it
                lines += [f"if t{i}._layout is not layout{i} and layout_of(t{i}) is not layout{i}: return False"]
            lines += [f"s{i} = t{i}._storage", f"if s{i}.exposed and s{i}.is_shared(): return False"]
        lines += ["x0, x1 = None, read(source)", *[f"x{2 + i} = s{i}.node" for i in tensors]]
        if self.numbers:
            lines += [f"{''.join(f'x{old + i}, ' for i in range(self.numbers))}= numbers"]
        for k, (_, places, _) in enumerate(self.made):
            x = f"x{old + self.numbers + k}"
            lines += [
                f"{x} = new(Node)",
                f"{x}.inputs = ({''.join(f'x{place}, ' for place in places)})",
                f"{x}.op, {x}.attrs, {x}.shape, {x}.dtype, {x}.kind = op{k}, attrs, shape, dtype, kind{k}",
                f"append({x})",
            ]
        ready = "s{0}.buffer is None or s{0}.windows or graph.fallible"  # if not, there is nothing to prepare
        lines += [f"w{i} = s{i}.prepare() if {ready.format(i)} else (ref(s{i}),)" for i in tensors]
        for i, place in enumerate(self.results):  # no calls: a signal handler finds all of them written, or none
            lines += [f"s{i}.node = x{place}", f"s{i}.version += 1"]
        lines += [f"graph.written += {' + '.join([f'w{i}' for i in tensors])}"]
        values: dict[str, Any] = {"shape": self.shape, "dtype": self.dtype, **layouts}
        for k, (op, _, kind) in enumerate(self.made):
            values |= {f"op{k}": op, f"kind{k}": kind}
        arguments = f"numbers, source, {', '.join(f't{i}' for i in tensors)}"
        return function_of(arguments, lines, "True", values, lambda: {**_SCOPE, "layout_of": dispatch.layout_of}, "<update>")


_SCOPE: dict[str, Any] = {
    "new": object.__new__, "Node": Node, "attrs": NO_ATTRS, "append": graph.trace.append, "read": read, "graph": graph, "ref": ref,
}  # fmt: skip
"""What the functions know by name."""
