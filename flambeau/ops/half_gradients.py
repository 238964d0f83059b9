"""Gradients in half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau import dispatch
from flambeau.core import dtypes

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

__all__ = ["rounded_once"]


def rounded_once(rule: Callable, g: Tensor, *values: Any) -> Tensor:
    """``rule(g, *values)``, a gradient that PyTorch computes by one kernel: of half precision it is computed in float32 and
    rounded at the end. The ops that such a rule is made of would round each.
    """
    dtype = g.dtype
    if dtype is not dtypes.float16 and dtype is not dtypes.bfloat16:
        return rule(g, *values)
    wide = [v.to(dtypes.float32) if isinstance(v, dispatch.Tensor) else v for v in (g, *values)]
    return rule(*wide).to(dtype)
