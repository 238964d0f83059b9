"""``torch.nn.functional``: filled from the op records.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html
"""

from __future__ import annotations

import math
import warnings

from flambeau import ops
from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.ops import namespace
from flambeau.tensor.methods import inplace_function
from flambeau.tensor.tensor import Tensor

_functions = namespace("nn.functional")
globals().update(_functions)
for _name, _function in _functions.items():
    if _function.op.inplace:
        globals()[_name + "_"] = inplace_function(_function.op, _name)
__all__ = sorted(_functions)

GRID_SAMPLE_INTERPOLATION_MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}
"""The modes of :func:`grid_sample` as :func:`torch.grid_sampler` takes them."""
GRID_SAMPLE_PADDING_MODES = {"zeros": 0, "border": 1, "reflection": 2}
"""What it takes outside of the input."""


def _canonical_mask(
    mask: Tensor | None, mask_name: str, other_type: Dtype | None, other_name: str, target_type: Dtype, check_other: bool = True
) -> Tensor | None:
    """A mask of attention as numbers that are added to the scores: of bools, minus infinity where it is True.

    Raises:
        AssertionError: for a mask of integers.
    """
    if mask is None:
        return None
    if mask.dtype is not dtypes.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype is not other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both instead.", stacklevel=2
        )
    return mask if mask.is_floating_point() else ops.zeros_like(mask, dtype=target_type).masked_fill_(mask, -math.inf)


def _none_or_dtype(input: Tensor | None) -> Dtype | None:
    """The dtype of a mask, if there is one."""
    if input is None:
        return None
    if isinstance(input, Tensor):
        return input.dtype
    raise RuntimeError("input to _none_or_dtype() must be None or torch.Tensor")
