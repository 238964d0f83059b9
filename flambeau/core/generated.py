"""Functions whose text is written while the program runs: what comes again is done by code of its own.

A text is compiled once, for all functions that have it. What they differ in, such as shapes and settings, are values of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

MOST = 1 << 23
"""Characters of all texts that are kept; with more it is begun anew. Functions that are in use stay as they are."""

_makers: dict[str, Callable[..., Callable]] = {}
_characters = 0


def function_of(
    arguments: str, lines: Iterable[str], result: str, values: Mapping[str, Any], scope: Callable[[], dict[str, Any]], file: str
) -> Callable:
    """``def follow(arguments)`` with the body ``lines`` and then ``return result``.

    ``values`` are the function's own, by the names that they have in the text: defaults of further arguments, which are one tuple
    where variables of a function around it would be a cell each. What all functions know by name is in ``scope()``. ``file`` is
    where the code says that it is from.

    >>> function_of("x", ["y = x * factor"], "y + 1", {"factor": 10}, dict, "<example>")(2)
    21
    """
    global _characters
    names = sorted(values)
    given = "".join([f", {name}={name}" for name in names])
    body = "".join([f"        {line}\n" for line in lines])
    text = f"def make({', '.join(names)}):\n    def follow({arguments}{given}):\n{body}        return {result}\n    return follow"
    make = _makers.get(text)
    if make is None:
        known = scope()
        exec(compile(text, file, "exec"), known)
        if _characters > MOST:
            forget()
        make = _makers[text] = known["make"]
        _characters += len(text)
    return make(*[values[name] for name in names])


def forget() -> None:
    """Lets go of all texts."""
    global _characters
    _makers.clear()
    _characters = 0
