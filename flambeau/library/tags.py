"""``torch.Tag``: what operators may be marked with."""

from __future__ import annotations

from enum import Enum

__all__ = ["Tag"]

_NAMES = (
    "core cudagraph_unsafe data_dependent_output dynamic_output_shape flexible_layout generated inplace inplace_view "
    "maybe_aliasing_or_mutating needs_contiguous_strides needs_exact_strides needs_fixed_stride_order nondeterministic_bitwise "
    "nondeterministic_seeded out out_variant pointwise pt2_compliant_tag reduction view_copy"
)
Tag = Enum("Tag", _NAMES.split(), module="torch")  # type: ignore[misc]
Tag.__doc__ = "A mark of an operator, for those who transform programs; it changes nothing here."
