"""What is remembered of an op's calls, beside its record."""

from __future__ import annotations

from typing import Any


class CallCache:
    """The part of a record that changes while programs run: what has been learned of calls, and what is made of the record when it
    is first needed. Everything else in a record is what its file says, from import on.

    ``recipes``     by their key, the functions that make calls like earlier ones again (see ``tensor/recipes.py``)
    ``by_layout``   how many leading arguments a recipe may know by their layouts alone, or as numbers whose values do not matter
    ``numbers``     arguments that are numbers for the kernel, by place and by name: recipes do not depend on their values ...
    ``closed``      ... but for these keys of calls, which depend on them all the same
    ``seen``        keys of calls that have no recipe yet: in which trace, and how often
    ``fresh``       a trace, and how many calls in it had layouts that were new, so that they were not remembered; ...
    ``skipped``     ... and of all traces in which there were some, how many have not been taken for later calls
    ``patience``    of a composite, how often it is looked for a recipe in vain (see ``tensor/composites.py``)
    ``rules``       what the tape makes of the gradients, and ``node_type`` the class of its entries (see ``autograd/entries.py``)
    ``tuple_type``  the class of named tuples that an op with several results returns
    """

    __slots__ = (
        "by_layout",
        "closed",
        "fresh",
        "node_type",
        "numbers",
        "patience",
        "recipes",
        "rules",
        "seen",
        "skipped",
        "tuple_type",
    )

    def __init__(self, by_layout: int, numbers: frozenset[int | str]) -> None:
        self.by_layout = by_layout
        self.numbers = numbers
        self.recipes: dict = {}
        self.closed: set = set()
        self.seen: dict = {}
        self.fresh = (-1, 0)
        self.skipped: dict[int, int] = {}
        self.patience = 64
        self.rules: Any = None
        self.node_type: Any = None
        self.tuple_type: type | None = None
