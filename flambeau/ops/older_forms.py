"""Older forms of calls, which have numbers among the tensors that they scale: ``x.add_(2, y)`` for ``x.add_(y, alpha=2)``.

Source: https://github.com/pytorch/pytorch/blob/main/tools/autograd/deprecated.yaml
"""

from __future__ import annotations

from typing import Any

from flambeau.core.errors import warn_once

_NUMBERS = {
    "add": ("alpha",), "sub": ("alpha",), "rsub": ("alpha",), "addcmul": ("value",), "addcdiv": ("value",), "addmm": ("beta", "alpha"), "addmv": ("beta", "alpha"), "addr": ("beta", "alpha"),
    "addbmm": ("beta", "alpha"), "baddbmm": ("beta", "alpha"), "sspaddmm": ("beta", "alpha"),
}  # fmt: skip
"""What the numbers of a call are, in their order."""


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, complex))


def as_today(name: str, positional: int, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    """The arguments of a call as they are given today, if it is one of the older forms; ``positional``: how many tensors the op
    takes."""
    names = _NUMBERS.get(name)
    if names is None or kwargs:
        return None
    numbers = [a for a in args if _is_number(a)]
    tensors = tuple(a for a in args if not _is_number(a))
    if (
        len(tensors) == 1 and len(numbers) == 2 and name in ("add", "sub", "rsub")
    ):  # add(input, 2, alpha), which is none of the older ones
        return (*tensors, numbers[0]), {"alpha": numbers[1]}
    if not 0 < len(numbers) <= len(names) or len(tensors) != positional or _is_number(args[-1]):
        return None
    given = dict(zip(names, numbers, strict=False))
    warn_once(
        f"This overload of {name} is deprecated:\n\t{name}({', '.join(f'Number {n}' for n in given)}, Tensor ...)\nConsider using one of the following "
        f"signatures instead:\n\t{name}(Tensor ..., *, {', '.join(f'Number {n}' for n in names)})"
    )
    return tensors, given
