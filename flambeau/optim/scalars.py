"""Single numbers: those that optimizers are given, and those that they keep in their state."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.autograd import is_grad_enabled
from flambeau.core.dtypes import float32, float64, get_default_dtype
from flambeau.tensor import Tensor


def _get_value(value: Any) -> Any:
    """The Python number in ``value`` where it is a tensor, else ``value`` itself."""
    return value.item() if isinstance(value, Tensor) else value


def _to_scalar(value: Any) -> Any:
    """``value``, where it is a tensor of one element without its dimensions."""
    return value.squeeze() if isinstance(value, Tensor) and value.dim() != 0 else value


def hyperparameter(value: Any) -> Any:
    """An option as the update functions want it.

    A tensor that gradients must reach (``differentiable=True``, a learned learning rate) stays a
    tensor without dimensions; all else becomes a Python number, so that the updates do their
    scalar arithmetic in double precision and record nothing for it.
    """
    if not isinstance(value, Tensor):
        return value
    return _to_scalar(value) if value.requires_grad and is_grad_enabled() else value.item()


# Step counts and their like are 0-dim tensors in `state`, as in PyTorch, and users read, edit,
# save and load them there. The updates read and write them through the memory that they share
# with NumPy: nothing is recorded for it, no pending graph has to run, and what the user wrote is
# always what is read.


def new_scalar(value: float, fused: bool | None = False) -> Tensor:
    """A 0-dim tensor for `state`, of the dtype that PyTorch gives step counts."""
    wide = get_default_dtype() == float64 and not fused
    return ops.full((), float(value), dtype=float64 if wide else float32)


def read(scalar: Tensor) -> float:
    """The number in a 0-dim state tensor."""
    return scalar.numpy().item()


def write(scalar: Tensor, value: float) -> None:
    """Puts a number into a 0-dim state tensor, in place."""
    scalar.numpy()[()] = value


def advance(step: Tensor) -> float:
    """Adds one to a step count, in place, and returns the new count."""
    count = step.numpy()
    count += 1
    return count.item()


def scale(scalar: Tensor, factor: float) -> float:
    """Multiplies a 0-dim state tensor, in place, and returns the product."""
    product = scalar.numpy()
    product *= factor
    return product.item()
