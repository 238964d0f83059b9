"""Kernels that are told their sizes: what they are told, for all sizes, by code that is written for one size.

What a kernel must be told (``words``) is made of sizes by ordinary code. For sizes that change at every step that would be most of
what a plan costs, so this code is run on symbols (:mod:`flambeau.engine.symbols`), once for each way that it goes; for other sizes
the guards of such a way are looked at, and its formulas give the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from flambeau.engine.symbols import Sizes, Symbol, Symbols, Unfit
from flambeau.engine.trace import picker

Words = Sequence[int]
Make = Callable[[Sequence], tuple[Callable[[], int] | int, Words]]

MAX_NUMBERS, MAX_WAYS = 256, 16
"""Of one sort of kernel, and of one sort and the same constants."""


class Sort:
    """Kernels that differ in their sizes alone.

    ``make(numbers)`` gives the address of the one for some sizes (or what does, where finding it must not look at symbols), and
    its words. ``known`` are those that were made; ``ways`` there are by which of the numbers are constants, and these.
    """

    __slots__ = ("known", "make", "ways")

    def __init__(self, make: Make) -> None:
        self.make = make
        self.known: dict[tuple[int, ...], tuple[int, Words]] = {}
        self.ways: dict[tuple, list[Way]] = {}


class Way(NamedTuple):
    """One way that making the words goes: the guards and formulas, the address of the kernel, and what gives the words."""

    table: Symbols
    address: int
    words: Callable[[Sizes], Words]


class Sized:
    """The kernels of one step, for other sizes each time. What has been the same so far, such as the widths of layers, is constant:
    only the rest are symbols."""

    __slots__ = ("_constants", "_first", "_fixed", "_sort", "_varying", "_ways", "places")

    def __init__(self, sort: Sort) -> None:
        self._sort = sort
        self._first: tuple[int, ...] | None = None
        self.places: tuple[int, ...] = ()  # those of the numbers that are symbols
        self._fixed = self._varying = picker(())
        self._constants: tuple[int, ...] = ()
        self._ways: list[Way] = []

    def kernel(self, numbers: tuple[int, ...]) -> tuple[int, Words]:
        """The address of the kernel for these sizes, and the words that follow its pointers."""
        known = self._sort.known
        made = known.get(numbers)
        if made is None:
            if len(known) >= MAX_NUMBERS:
                known.clear()
            made = known[numbers] = self._fitted(numbers)
        if self._first is None:
            self._first = numbers
        return made

    def _fitted(self, numbers: tuple[int, ...]) -> tuple[int, Words]:
        first = self._first
        if first is None:
            return self._made(numbers)
        if not self.places or self._fixed(numbers) != self._constants:
            self._vary(first, numbers)
        varying = self._varying(numbers)
        ways = self._ways
        for k, way in enumerate(ways):
            with suppress(Unfit):
                sizes = way.table.fit(varying)
                if k:  # the next numbers are likely to go the same way
                    ways.insert(0, ways.pop(k))
                return way.address, way.words(sizes)
        if len(ways) >= MAX_WAYS:
            return self._made(numbers)
        table = Symbols(varying)
        mixed: list = list(numbers)
        for place, symbol in zip(self.places, table.in_symbols(varying)):
            mixed[place] = symbol
        address, words = self._sort.make(mixed)
        way = Way(table, _number(address), table.getter(tuple(words)))
        ways.insert(0, way)
        return way.address, way.words(table.here())

    def _made(self, numbers: tuple[int, ...]) -> tuple[int, Words]:
        address, words = self._sort.make(numbers)
        return _number(address), words

    def _vary(self, first: tuple[int, ...], numbers: tuple[int, ...]) -> None:
        """From now on what differs from the first numbers is a symbol, too."""
        varied = {k for k, (a, b) in enumerate(zip(first, numbers, strict=True)) if a != b}
        self.places = tuple(sorted(varied.union(self.places)))
        self._varying = picker(self.places)
        self._fixed = picker([k for k in range(len(first)) if k not in self.places])
        self._constants = self._fixed(first)
        self._ways = self._sort.ways.setdefault((self.places, self._constants), [])


def _number(address: Callable[[], int] | int) -> int:
    return address() if callable(address) else address


# --- descriptions of kernels ---------------------------------------------------------------------------------


def numbers_in(spec: Any) -> tuple:
    """The sizes in a description of a kernel: all whole numbers in it, which may be symbols; tuples are gone through."""
    numbers: list = []
    _apart(spec, numbers)
    return tuple(numbers)


def sized(kernel: Callable[[Any], tuple[int, Words]], spec: Any, memo: dict) -> Sized:
    """The kernels that ``kernel(spec)`` gives for descriptions that differ from ``spec`` in sizes alone."""
    form = _apart(spec, [])
    key = "sized", kernel, form
    sort: Sort | None = memo.get(key)
    if sort is None:
        sort = memo[key] = Sort(lambda numbers: kernel(_together(form, iter(numbers))))
    return Sized(sort)


def _apart(x: Any, numbers: list) -> Any:
    """``x`` without its sizes, as a key; these are appended to ``numbers``."""
    kind = x.__class__
    if kind is int or kind is Symbol:
        numbers.append(x)
        return int
    if isinstance(x, tuple):
        return _Parts((kind if hasattr(kind, "_make") else tuple, *[_apart(part, numbers) for part in x]))
    return (x, repr(x)) if kind is float else (x, kind)  # 0.0 and -0.0, and 1 and True, are different things


class _Parts(tuple):
    """The class of a tuple, and what is in it."""

    __slots__ = ()


def _together(form: Any, numbers: Iterator) -> Any:
    """What :func:`_apart` made ``form`` of, with these sizes."""
    if form is int:
        return next(numbers)
    if form.__class__ is not _Parts:
        return form[0]
    kind, *parts = form
    given = [_together(part, numbers) for part in parts]
    return tuple(given) if kind is tuple else kind._make(given)
