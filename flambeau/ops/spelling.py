"""Other forms of a call: NumPy's names of arguments, those of further overloads, and those of old programs
(:mod:`flambeau.ops.older_forms`).

They are looked for where a call does not fit, so calls as PyTorch documents them pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.ops.older_forms import as_today

_TAKES_VARARGS = 0x04  # of a code object's flags: the function takes *args

SPELLINGS: dict[str, tuple[str, ...]] = {
    "axis": ("dim",), "keepdims": ("keepdim",), "x": ("input",), "a": ("input",), "x1": ("input",), "x2": ("other", "src"), "other": ("src",), "input2": ("L",),
    "split_size": ("split_size_or_sections",), "axis0": ("dim0",), "axis1": ("dim1",), "test_element": ("test_elements",), "element": ("elements",),
}  # fmt: skip
"""Names that NumPy has for arguments, and those of overloads that are one function here, by which names they may stand for."""


def respelled(names: tuple[str, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords by the names that a function with arguments ``names`` has for them."""
    found = {}
    for key, value in kwargs.items():
        meant = [key] if key in names else [name for name in SPELLINGS.get(key, ()) if name in names]
        if not meant and (key == "input" or "input" in SPELLINGS.get(key, ())):
            meant = [names[0]]  # which has another name here
        found[meant[0] if meant and meant[0] not in kwargs else key] = value
    return found


def in_other_words(name: str, check: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    """The arguments of a call of the op ``name`` that does not fit, as ``check`` takes them; ``None`` where that would be the same
    call."""
    code = check.__code__  # type: ignore[attr-defined]
    n = code.co_argcount
    names, keywords = code.co_varnames[:n], code.co_varnames[n : n + code.co_kwonlyargcount]
    variadic = code.co_varnames[n + len(keywords)] if code.co_flags & _TAKES_VARARGS else None
    settings = respelled((*names, *keywords, *([variadic] if variadic else [])), kwargs) if names else dict(kwargs)
    if variadic in settings:  # flip(x, dims=(0, 1)) for flip(x, 0, 1)
        leading = [settings.pop(name) for name in names[len(args) :] if name in settings]
        args = (*args, *leading, settings.pop(variadic))
    elif (older := as_today(name, n, args, settings)) is not None:
        args, settings = older
    return None if settings.keys() == kwargs.keys() else (args, settings)
