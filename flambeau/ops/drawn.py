"""Samples on the tape: what is drawn depends on its parameters, but not in a way that has a derivative.

PyTorch gives the parameters gradients of zeros, so that a program may run backward through a sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau import dispatch
from flambeau.dispatch import grad_mode
from flambeau.ops.record import op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


def _none_at_all(g, shape, dtype):
    return g.new_zeros(shape, dtype=dtype)


@op(
    method=False,
    tensors="samples first second",
    kernel=lambda samples, first, second, entry: samples,
    grad={
        "first": lambda g, first_shape, first_dtype: _none_at_all(g, first_shape, first_dtype),
        "second": lambda g, second_shape, second_dtype: _none_at_all(g, second_shape, second_dtype),
    },
    overload=lambda inputs, attrs: attrs["entry"],
)
def _drawn(samples: Tensor, first: Tensor, second: Tensor, entry):
    return samples.shape, samples.dtype, (samples, first, second), {"entry": entry}


def drawn_with(samples: Any, entry: str, first: Any, second: Any = None) -> Any:
    """``samples``, as computed from parameters where these are tensors that gradients are asked of; ``entry``: the name on the
    tape."""
    on_tape = grad_mode.enabled and any([isinstance(p, dispatch.Tensor) and p.requires_grad for p in (first, second)])
    return _drawn(samples, first, second, entry) if on_tape else samples
