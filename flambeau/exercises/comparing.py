"""Numbers against numbers: what differs, where, and whether a known slip explains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.diagnosis.language import Text
from flambeau.exercises.answer import Answer

Slips = Sequence[tuple[Any, Text]]
"""Values that come out of known slips, each with what to do about it."""


def array(value: Any) -> np.ndarray:
    """The numbers of a tensor, an array, or Python numbers."""
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    return np.asarray(value)


def agree(answer: Answer, name: str, what: Text, got: Any, right: Any, slips: Slips = (), rtol: float = 1e-4) -> None:
    """Raises ``Wrong`` where ``got``, which ``name`` has given as ``what``, is another than ``right``.

    Args:
        rtol: how far off it may be, as a part of the largest number in ``right``.
    """
    try:
        found = array(got).astype(np.float64)
    except (TypeError, ValueError):
        kind = type(got).__name__
        raise answer.wrong(name, Text(f"{what.en} is of type {kind}, not numbers", f"{what.zh}的类型是 {kind},不是数")) from None
    wanted = array(right).astype(np.float64)
    fix = next((fix for slip, fix in slips if _near(found, array(slip), rtol)), None)
    if found.shape != wanted.shape:
        raise answer.wrong(
            name,
            Text(
                f"{what.en} has the shape {found.shape}, but should have {wanted.shape}",
                f"{what.zh}的形状是 {found.shape},应为 {wanted.shape}",
            ),
            fix,
        )
    if _near(found, wanted, rtol):
        return
    place = np.unravel_index(int(np.argmax(np.nan_to_num(np.abs(found - wanted), nan=np.inf))), wanted.shape)
    index = f"[{', '.join(map(str, place))}]" if place else ""
    raise answer.wrong(
        name,
        Text(
            f"{what.en} is {found[place]:.6g}, but should be {wanted[place]:.6g}" + (f" (at {index})" if index else ""),
            f"{what.zh}是 {found[place]:.6g},应为 {wanted[place]:.6g}" + (f"(位置 {index})" if index else ""),
        ),
        fix or _by_its_size(found, wanted, rtol),
    )


def _near(one: np.ndarray, other: np.ndarray, rtol: float) -> bool:
    if one.shape != other.shape:
        return False
    largest = float(np.max(np.abs(other), initial=0.0))
    return bool(np.allclose(one, other, rtol=rtol, atol=rtol * largest if np.isfinite(largest) else 0.0, equal_nan=True))


def _by_its_size(found: np.ndarray, wanted: np.ndarray, rtol: float) -> Text | None:
    """What may be said where all numbers are too large or too small by one factor."""
    squares = float((wanted * wanted).sum())
    factor = float((found * wanted).sum()) / squares if squares and np.isfinite(found).all() else 0.0
    if factor == 0.0 or not _near(found, factor * wanted, rtol):
        return None
    if abs(factor + 1) < rtol:
        return Text("all of it has the wrong sign", "所有数的符号都反了")
    return Text(
        f"all of it is {factor:.4g} times what it should be: a factor is missing", f"所有数都是应有值的 {factor:.4g} 倍:差一个因子"
    )


def measured(function: Callable[..., float], arguments: Sequence[np.ndarray], which: int, eps: float = 1e-6) -> np.ndarray:
    """The gradient of ``function(*arguments)`` with respect to one of them, by moving each of its numbers to both sides.

    >>> measured(lambda x: float((x * x).sum()), [np.array([1.0, -2.0])], 0).round(3)
    array([ 2., -4.])
    """
    moved = [a.copy() for a in arguments]
    gradient = np.zeros_like(moved[which])
    for place in np.ndindex(gradient.shape):
        there = moved[which][place]
        moved[which][place] = there + eps
        more = function(*moved)
        moved[which][place] = there - eps
        gradient[place] = (more - function(*moved)) / (2 * eps)
        moved[which][place] = there
    return gradient
