"""The error for a call in which something else stands where a tensor belongs, in PyTorch's words.

It is looked for where a call has failed, by the annotations of the op's function, so calls that work pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from flambeau import dispatch

_TAKES_VARARGS = 0x04  # of a code object's flags: the function takes *args
_NUMBERS = (int, float, complex)
_WITH_NUMBERS = frozenset(["Number", "int", "float", "complex"])
_SPACES = ("fft", "linalg", "special")
"""Namespaces of which PyTorch's errors speak as part of a function's name: ``fft_ifft()``."""


def wrong_tensor(function: Callable, args: tuple, kwargs: dict, name: str = "") -> TypeError | None:
    """The error for the first argument of an op that should be a tensor and is not; ``None`` where all are.

    ``function`` is a public function of the op or a method, which counts positions without the tensor that it is called on;
    ``name`` is that of a method derived from it, such as ``add_``.
    """
    op = function.op  # type: ignore[attr-defined]
    if op.short_name.startswith("_"):
        return None  # it is part of a public op, which knows what the user wrote
    name, is_method = name_in_errors(function, name)
    for place, argument, kind, given in given_to(op.check, args, kwargs):
        single, several, numbers = _takes(kind)
        if several and isinstance(given, (list, tuple)):
            for i, x in enumerate(given):
                if not isinstance(x, dispatch.Tensor):
                    return TypeError(f"expected Tensor as element {i} in argument {place or 0}, but got {type_name(x)}")
        elif single and not (isinstance(given, dispatch.Tensor) or numbers and isinstance(given, _NUMBERS)):
            if place == 0 and is_method:
                return TypeError(
                    f"descriptor '{name}' for 'torch._C.TensorBase' objects doesn't apply to a '{type_name(given)}' object"
                )
            where = "" if place is None else f" (position {place + (not is_method)})"
            return TypeError(f"{name}(): argument '{argument}'{where} must be Tensor, not {type_name(given)}")
        elif several and not isinstance(given, (list, tuple)) and not single:
            where = "" if place is None else f" (position {place + (not is_method)})"
            return TypeError(f"{name}(): argument '{argument}'{where} must be tuple of Tensors, not {type_name(given)}")
    return None


def name_in_errors(function: Callable, name: str = "") -> tuple[str, bool]:
    """How errors call a public function or method, and whether it is a method, whose positions do not count its tensor."""
    op = function.op  # type: ignore[attr-defined]
    is_method = bool(name) or op.name.startswith("Tensor.") or function.__qualname__.startswith("Tensor.")
    space = op.name.rpartition(".")[0]
    return name or (f"{space}_{op.short_name}" if space in _SPACES and not is_method else op.short_name), is_method


def type_name(value: Any) -> str:
    """The name of a value's type as C programs see it: NumPy's have their module's before it."""
    kind = type(value)
    return f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__


def given_to(check: Callable, args: tuple, kwargs: dict) -> Iterator[tuple[int | None, str, str, Any]]:
    """The place of each argument of a call (``None``: given by its name), its name, its annotation and what was given."""
    code, kinds = check.__code__, check.__annotations__  # type: ignore[attr-defined]
    names = code.co_varnames[: code.co_argcount]
    for place, (name, given) in [*enumerate(zip(names, args, strict=False)), *[(None, item) for item in kwargs.items()]]:
        kind = kinds.get(name, "")
        if given is not None or "None" not in kind:
            yield place, name, kind, given
    if code.co_flags & _TAKES_VARARGS and len(args) > len(names):
        name = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
        rest = args[len(names) :]
        if "Sequence[Tensor]" in kinds.get(name, ""):
            yield len(names), name, "Sequence[Tensor]", rest[0] if len(rest) == 1 and isinstance(rest[0], (list, tuple)) else rest


@lru_cache(256)
def _takes(kind: str) -> tuple[bool, bool, bool]:
    """Whether an annotation says a tensor, a sequence of tensors, and numbers beside it; nothing else must be among them."""
    parts = set(kind.split(" | ")) - {"None"}
    numbers = bool(parts & _WITH_NUMBERS)
    rest = parts - _WITH_NUMBERS - {"bool"}
    single, several = "Tensor" in rest, "Sequence[Tensor]" in rest
    return (False, False, False) if rest - {"Tensor", "Sequence[Tensor]"} else (single, several, numbers)
