"""Single numbers: those that optimizers are given, and those that they keep in their state."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dispatch
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
    if value.__class__ is float or value.__class__ is int:
        return value
    if not isinstance(value, Tensor):
        return value.item() if isinstance(value, np.generic) else value
    return _to_scalar(value) if value.requires_grad and is_grad_enabled() else value.item()


# Step counts and their like are 0-dim tensors in `state`, as in PyTorch, and users read, edit,
# save and load them there. The updates read and write them through the memory that they share
# with NumPy: nothing is recorded for it, no pending graph has to run, and what the user wrote is
# always what is read.


def new_scalar(value: float, fused: bool | None = False) -> Tensor:
    """A 0-dim tensor for `state`, of the dtype that PyTorch gives step counts."""
    wide = get_default_dtype() == float64 and not fused
    return dispatch.wrap(np.array(value, (float64 if wide else float32).np))


def _memory(scalar: Tensor) -> tuple[Any, np.ndarray, Any]:
    """``(storage, array, memory)``: the memory of a 0-dim tensor, found once for each storage that the tensor is given.

    ``memory[()]`` is a Python number where ``array`` is of a type that Python has, and faster than NumPy by far.
    """
    try:
        found = scalar._memory  # type: ignore[attr-defined]
        if found[0] is scalar._storage:
            return found
    except AttributeError:
        pass
    array = scalar.numpy().reshape(())
    memory = memoryview(array) if array.dtype.char in "fd" else array
    found = scalar._memory = (scalar._storage, array, memory)  # type: ignore[attr-defined]
    return found


def read(scalar: Tensor) -> float:
    """The number in a 0-dim state tensor."""
    return float(_memory(scalar)[2][()])


def write(scalar: Tensor, value: float) -> None:
    """Puts a number into a 0-dim state tensor, in place."""
    _memory(scalar)[2][()] = value


def advance(step: Tensor) -> float:
    """Adds one to a step count, in place, and returns the new count."""
    memory = _memory(step)[2]
    memory[()] = count = float(memory[()]) + 1.0
    return count


def scale(scalar: Tensor, factor: float) -> float:
    """Multiplies a 0-dim state tensor, in place and in its own precision, and returns the product."""
    array = _memory(scalar)[1]
    array *= factor
    return array.item()
