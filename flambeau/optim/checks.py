"""Checks of the options that optimizers are given, with PyTorch's messages."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import Tensor


def check_lr(lr: float | Tensor, message: str = "Invalid learning rate:") -> None:
    """Raises ValueError unless ``lr`` is a number, or a tensor of one number, >= 0."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, got shape {tuple(lr.shape)}")
    check_non_negative(message, lr)


def check_non_negative(message: str, value: Any) -> None:
    """Raises ValueError, its text beginning with ``message`` and the value, unless value >= 0."""
    if not 0.0 <= value:
        raise ValueError(f"{message} {value} (expected a number >= 0)")


def check_betas(betas: tuple[Any, Any]) -> None:
    """Raises ValueError unless both decay rates lie in [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]} (expected 0 <= beta < 1)")
