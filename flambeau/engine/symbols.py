"""Sizes as symbols: what is computed with them is written down, and what is decided by them becomes a guard.

A :class:`Symbol` stands for a size of one trace and behaves as the number that it is there. Arithmetic with symbols gives
symbols, and a table, :class:`Symbols`, keeps the formulas. A comparison is answered for the sizes at hand; the question
and the answer are kept too. So code that knows nothing of symbols, such as the passes that make a plan, can be run on them:
afterwards the table says for which other sizes it would have gone the same way, and what it would have computed for these.

Whatever needs a plain number (``range(n)``, ``float(n)``) fixes that size: the guard says that it is this number.

    >>> from flambeau.engine.symbols import Symbols
    >>> table = Symbols([6, 4, 6])
    >>> rows, columns = table.in_symbols((6, 4))
    >>> size = rows * columns if rows > columns else columns
    >>> table.fit([7, 5, 7]).value_of((size, rows))
    (35, 7)
    >>> table.fit([5, 7, 5])        # there it would have been something else
    Traceback (most recent call last):
        ...
    flambeau.engine.symbols.Unfit

The idea is that of PyTorch's symbolic shapes (``torch.fx.experimental.symbolic_shapes``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any


class Unfit(Exception):
    """What was decided for some sizes does not hold for others."""


class Symbols:
    """The formulas and guards of one run of some code on symbols.

    There is one symbol for all ``sizes`` that are equal, which is a guard too. Numbers below 2 stay numbers: what has one
    element, or none, is different in kind. So do sizes that have been the same so far, if it is said which have ``varied``: there
    are fewer formulas and guards then.

    A formula is (function, place, place) among the values, the first of which are those of the symbols; a constant is one
    that has no function. A guard is (question, place, place), with the answer.
    """

    def __init__(self, sizes: Sequence[int], varied: Iterable[int] | None = None) -> None:
        changing = dict.fromkeys(sizes if varied is None else [sizes[k] for k in varied])
        distinct = [n for n in changing if n > 1]
        fixed = dict.fromkeys(sizes).keys() - set(distinct)
        self._hints: list = [*fixed, *distinct]
        places = {n: k for k, n in enumerate(self._hints)}
        self._fixed = tuple(fixed)
        self._firsts = [sizes.index(n) for n in distinct]
        self._placed = operator.itemgetter(0, *[places[n] for n in sizes])  # what the sizes are where the values are known
        self._formulas: dict[tuple, int] = {}  # in the order in which they were met
        self._guards: dict[tuple, bool] = {}
        self._found: dict[tuple, int] = {}  # as formulas, but what is found in this way is asked for when all guards hold
        self._symbols = {n: Symbol(self, places[n]) for n in distinct}
        self._steps: _Steps | None = None  # once it has been fitted; from then on there are no new places for constants

    def in_symbols(self, x: Any) -> Any:
        """``x`` with symbols in place of the sizes that have one; tuples are gone through."""
        if x.__class__ is int:
            return self._symbols.get(x, x)
        return tuple([self.in_symbols(part) for part in x]) if isinstance(x, tuple) else x

    def compute(self, function: Callable, a: Any, b: Any) -> Any:
        """The symbol for ``function(a, b)``, one or both of which are symbols."""
        return self._written(self._formulas, function, a, b)

    def find(self, function: Callable, a: Any, b: Any) -> Symbol:
        """The symbol for what ``function`` finds for ``a`` and ``b``: no number that anything is computed of."""
        return self._written(self._found, function, a, b)

    def _written(self, down: dict[tuple, int], function: Callable, a: Any, b: Any) -> Symbol:
        key = function, self._place(a), self._place(b)
        place = down.get(key)
        if place is None:
            value = function(self._hints[key[1]], self._hints[key[2]])
            place = down[key] = len(self._hints)
            self._hints.append(value)
        return Symbol(self, place)

    def decide(self, question: Callable, a: Any, b: Any) -> bool:
        """The answer to a comparison, for the sizes at hand."""
        key = question, self._place(a), self._place(b)
        answer = self._guards.get(key)
        if answer is None:
            answer = self._guards[key] = question(self._hints[key[1]], self._hints[key[2]])
        return answer

    def hint(self, place: int) -> Any:
        return self._hints[place]

    def here(self) -> Sizes:
        """The numbers that symbols are in the trace at hand."""
        return Sizes(self, self._hints)

    def _place(self, x: Any) -> int:
        if x.__class__ is Symbol:
            return x.place
        key = None, x.__class__, x
        place = self._formulas.get(key)
        if place is None:
            place = self._formulas[key] = len(self._hints)
            self._hints.append(x)
        return place

    def fit(self, sizes: Sequence[int]) -> Sizes:
        """What symbols and formulas are for other sizes, in the same order; ``Unfit`` where a guard does not hold for them."""
        steps = self._steps
        if steps is None or steps.count != len(self._hints) + len(self._guards):
            steps = self._steps = _Steps(self._hints, self._formulas, self._guards, self._found)
        given = [sizes[i] for i in self._firsts]
        values = steps.values.copy()
        first = len(self._fixed)
        values[first : first + len(given)] = given
        if given and min(given) < 2 or values and self._placed(values)[1:] != tuple(sizes):
            raise Unfit
        try:
            for place, function, a, b in steps.formulas:
                values[place] = function(values[a], values[b])
        except ZeroDivisionError:
            raise Unfit from None
        if [question(values[a], values[b]) for question, a, b in steps.guards] != steps.answers:
            raise Unfit
        for place, function, a, b in steps.found:
            values[place] = function(values[a], values[b])
        return Sizes(self, values)

    def getter(self, x: Any) -> Callable[[Sizes], Any]:
        """What gives ``x`` for sizes that are fit later on: as :meth:`Sizes.value_of`, in few steps."""
        if (
            self._steps is None
            and x.__class__ is tuple
            and not any([isinstance(part, (tuple, list)) for part in x])
            and has_symbols(x)
        ):
            places = [self._place(part) for part in x]
            pick = operator.itemgetter(*places) if len(places) > 1 else lambda values: (values[places[0]],)
            return lambda sizes: pick(sizes.values)
        return (lambda sizes: sizes.value_of(x)) if has_symbols(x) else lambda sizes: x

    def __str__(self) -> str:
        names = [repr(n) for n in self._fixed] + [f"s{i}" for i in range(len(self._firsts))]
        for (function, a, b), _ in sorted([*self._formulas.items(), *self._found.items()], key=operator.itemgetter(1)):
            name = getattr(function, "__name__", "found")
            names.append(repr(b) if function is None else f"{name}({names[a]}, {names[b]})")
        guards = [f"{q.__name__}({names[a]}, {names[b]}) is {answer}" for (q, a, b), answer in self._guards.items()]
        return "\n".join([f"sizes {self._hints[len(self._fixed) : len(self._fixed) + len(self._firsts)]}", *guards])


class _Steps:
    """What is to be done to fit other sizes: ``values`` holds the constants, in their places, and ``count`` says what was there."""

    def __init__(self, hints: list, formulas: dict, guards: dict, found: dict) -> None:
        self.count = len(hints) + len(guards)
        self.values = list(hints)
        self.formulas = [(place, *key) for key, place in formulas.items() if key[0] is not None]
        self.guards = list(guards)
        self.answers = list(guards.values())
        self.found = [(place, *key) for key, place in found.items()]


class Sizes:
    """Numbers for the symbols of a table."""

    __slots__ = ("table", "values")

    def __init__(self, table: Symbols, values: list) -> None:
        self.table = table
        self.values = values

    def value_of(self, x: Any) -> Any:
        """``x`` with numbers in place of symbols; tuples and lists are gone through."""
        kind = x.__class__
        if kind is Symbol:
            return self.values[x.place]
        if kind is tuple or kind is list:
            return kind([self.values[part.place] if part.__class__ is Symbol else self.value_of(part) for part in x])
        if isinstance(x, tuple):  # with names
            return x._make([self.value_of(part) for part in x])  # type: ignore[attr-defined]
        return x


class Symbol:
    """A size, or what was computed from sizes."""

    __slots__ = ("_table", "place")

    def __init__(self, table: Symbols, place: int) -> None:
        self._table = table
        self.place = place

    @property
    def hint(self) -> Any:
        """The number that it is in the trace at hand, for choices that are a matter of speed alone: no guard comes of it."""
        return self._table.hint(self.place)

    def fixed(self) -> Any:
        """The number that it is, from now on."""
        value = self.hint
        self._table.decide(operator.eq, self, value)
        return value

    def whole(self) -> Symbol:
        """The symbol without what is behind the point."""
        return self._table.compute(_whole, self, None)

    def __hash__(self) -> int:
        # Equal sizes are compared, which is a guard. Different ones may be taken for different: that loses speed at most.
        return hash(self.hint)

    def __index__(self) -> int:
        return operator.index(self.fixed())

    def __int__(self) -> int:
        return int(self.fixed())

    def __float__(self) -> float:
        return float(self.fixed())

    def __bool__(self) -> bool:
        return self._table.decide(operator.ne, self, 0)

    def __neg__(self):
        return self._table.compute(operator.sub, 0, self)

    def __abs__(self):
        return -self if self._table.decide(operator.lt, self, 0) else self

    def __repr__(self) -> str:
        return f"<{self.hint}>"


def _arithmetic(function: Callable) -> tuple[Callable, Callable]:
    def forward(self, other):
        return self._table.compute(function, self, other) if other.__class__ in _NUMBERS else NotImplemented

    def backward(self, other):
        return self._table.compute(function, other, self) if other.__class__ in _NUMBERS else NotImplemented

    return forward, backward


def _comparison(question: Callable) -> Callable:
    def compare(self, other):
        if other.__class__ not in _NUMBERS:
            return NotImplemented
        if other.__class__ is Symbol and (other._table is not self._table or other.place == self.place):
            return question(0, 0) if other._table is self._table else NotImplemented
        return self._table.decide(question, self, other)

    return compare


_NUMBERS = (Symbol, int, float, bool)

for _name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "lshift"):
    _forward, _backward = _arithmetic(getattr(operator, _name))
    setattr(Symbol, f"__{_name}__", _forward)
    setattr(Symbol, f"__r{_name}__", _backward)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Symbol, f"__{_name}__", _comparison(getattr(operator, _name)))


def hint_of(x: Any) -> Any:
    """``x``, or the number that the symbol ``x`` is in the trace at hand; see :attr:`Symbol.hint`."""
    return x.hint if x.__class__ is Symbol else x


def alike(a: Any, b: Any) -> bool:
    """Whether two sizes are equal, for choices that they allow but do not ask for: that they differ is no guard."""
    return hint_of(a) == hint_of(b) and a == b


def has_symbols(x: Any) -> bool:
    """Whether there is a symbol in ``x``; tuples and lists are gone through."""
    return x.__class__ is Symbol or isinstance(x, (tuple, list)) and any(map(has_symbols, x))


def computed(function: Callable, a: Any, b: Any = None) -> Any:
    """``function(a, b)``, a number, for which any numbers will do: it becomes a formula, whatever it asks them."""
    table = _table_of(a, b)
    return function(a, b) if table is None else table.compute(function, a, b)


def found(function: Callable, a: Any, b: Any = None) -> Any:
    """``function(a, b)``, such as the address of what is made for these numbers, which is done only where all guards hold."""
    table = _table_of(a, b)
    return function(a, b) if table is None else table.find(function, a, b)


def _table_of(a: Any, b: Any) -> Symbols | None:
    return a._table if a.__class__ is Symbol else b._table if b.__class__ is Symbol else None


def whole(x: Any) -> Any:
    """``int(x)``, which of a symbol is one."""
    return x.whole() if x.__class__ is Symbol else int(x)


def _whole(x: Any, _: None) -> int:
    return int(x)
