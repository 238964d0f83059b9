"""How losses are reduced: PyTorch's numbers for the words, and the words for the two arguments that there were before.

Source: PyTorch's ``torch.nn._reduction``, which libraries with losses of their own import.
"""

from __future__ import annotations

import warnings

__all__ = ["get_enum", "legacy_get_enum", "legacy_get_string"]

_NUMBERS = {"none": 0, "mean": 1, "sum": 2}


def get_enum(reduction: str) -> int:
    """The number of a word.

    >>> get_enum("sum")
    2

    Raises:
        ValueError: there is no such reduction.
    """
    if reduction == "elementwise_mean":
        warnings.warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", stacklevel=2)
        reduction = "mean"
    if reduction not in _NUMBERS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return _NUMBERS[reduction]


def legacy_get_string(size_average: bool | None, reduce: bool | None, emit_warning: bool = True, *, stacklevel: int = 2) -> str:
    """The ``reduction`` that the two old arguments mean; ``None`` stands for True."""
    if reduce is not None and not reduce:
        reduction = "none"
    elif size_average is None or size_average:
        reduction = "mean"
    else:
        reduction = "sum"
    if emit_warning:
        text = f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead."
        warnings.warn(text, stacklevel=stacklevel)
    return reduction


def legacy_get_enum(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> int:
    """The reduction that the two old arguments mean, as a number."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning, stacklevel=3))
